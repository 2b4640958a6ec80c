// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include <dmawire/uapi.h>
#include <dmawire/buffer.hpp>
#include <dmawire/mapping.hpp>
#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// An open /dev/dmawireN. Needs the module; errors as in uapi.h.
///
/// Any thread may call any function of it. Buffers outlive the device they were created on.
class Device {
 public:
  static constexpr const char* default_node = "/dev/dmawire0";

  /// "/dev/dmawire3" for 3.
  [[nodiscard]] static std::string node_of(unsigned number);
  /// The nodes there are, by number.
  [[nodiscard]] static std::vector<std::string> nodes();

  /// Throws Error, with advice where the module is not loaded or the node may not be opened.
  explicit Device(std::string node = default_node);

  /// A zeroed buffer of `length` bytes rounded up to whole pages, or to the folios of `flags`
  /// (DMAWIRE_CREATE_*). Throws Error, of the kind `impossible` if device or kernel do not support
  /// this memory.
  [[nodiscard]] Buffer create(std::size_t length, dmawire_direction direction,
                              std::uint32_t flags = 0,
                              dmawire_backing backing = DMAWIRE_BACKING_PAGES) const;
  /// The memory of a memfd, all of it, as a buffer; it is sealed so that it cannot shrink. Counts
  /// against the limit of locked memory. Throws Error.
  [[nodiscard]] Buffer create_from(const Buffer& memfd, dmawire_direction direction) const;
  /// Memory of this process as a buffer, which takes it over. Counts against the limit of locked
  /// memory. Throws Error.
  [[nodiscard]] Buffer create_from(Mapping memory, dmawire_direction direction) const;
  /// A dma-buf of dmawire that another process has created. Throws Error (EXDEV: another
  /// exporter's).
  [[nodiscard]] Buffer adopt(UniqueFd dma_buf) const;
  /// Limits and memory in use. Throws Error.
  [[nodiscard]] dmawire_info info() const;
  /// Layout and uses of a dma-buf of dmawire. Throws Error (EXDEV: another exporter's).
  [[nodiscard]] dmawire_query query(int dma_buf_fd) const;

  /// Attaches a dma-buf of dmawire for the device to write to; returns the index of the attachment.
  /// Throws Error.
  [[nodiscard]] std::uint32_t attach(int dma_buf_fd) const;
  [[nodiscard]] std::error_code detach(std::uint32_t index) const noexcept;
  /// Starts the device at `rate` frames a second, or, if 0, at its own rate. Throws Error.
  void start(std::uint32_t rate) const;
  /// Stops the device, if it is running: all queued ranges complete. A signal handler may call it.
  [[nodiscard]] std::error_code stop() const noexcept;

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] const std::string& node() const noexcept { return node_; }

 private:
  /// The request with the kernel's answer. Throws Error.
  [[nodiscard]] dmawire_create ask_to_create(dmawire_create request) const;

  std::string node_;
  UniqueFd fd_;
};

}  // namespace dmawire
