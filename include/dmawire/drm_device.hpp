// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <dmawire/buffer.hpp>
#include <dmawire/mapping.hpp>
#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// An open node of DRM's: a graphics card, or the kernel's vgem. Buffers go to it and come from it
/// by PRIME, as dma-bufs.
class DrmDevice {
 public:
  /// The nodes there are, by name.
  [[nodiscard]] static std::vector<std::string> nodes();

  /// Throws Error, of the kind `impossible` if it is no node of DRM's.
  explicit DrmDevice(std::string node);

  [[nodiscard]] const std::string& node() const noexcept { return node_; }
  /// The name of its driver.
  [[nodiscard]] const std::string& driver() const noexcept { return driver_; }
  [[nodiscard]] bool imports() const noexcept { return imports_; }
  [[nodiscard]] bool exports() const noexcept { return exports_; }

  /// A GEM handle of a buffer. Move-only; released by the destructor. The device must outlive it.
  class Handle {
   public:
    Handle(Handle&& other) noexcept
        : device_(other.device_),
          handle_(std::exchange(other.handle_, 0)),
          length_(other.length_) {}
    Handle& operator=(Handle&& other) = delete;
    ~Handle();

    [[nodiscard]] std::uint32_t number() const noexcept { return handle_; }
    [[nodiscard]] std::size_t length() const noexcept { return length_; }
    /// It as a dma-buf. Throws Error.
    [[nodiscard]] Buffer to_buffer() const;
    /// The device's own mapping of it. Throws Error: EINVAL for an imported buffer, which DRM does
    /// not map.
    [[nodiscard]] Mapping map() const;

   private:
    friend class DrmDevice;
    Handle(int device, std::uint32_t handle, std::size_t length) noexcept
        : device_(device), handle_(handle), length_(length) {}

    int device_;
    std::uint32_t handle_;
    std::size_t length_;
  };

  /// Attaches a dma-buf to the device. It must have no other Handle of this DrmDevice: DRM gives
  /// both the same number, and the first release closes it for both. Throws Error, of the kind
  /// `impossible` if it does not import or cannot reach this memory.
  [[nodiscard]] Handle import(const Buffer& buffer) const;
  /// A new buffer of the device, of at least `length` bytes, that the CPU can draw in (a "dumb"
  /// buffer). Throws Error, of the kind `impossible` if the device does not support them.
  [[nodiscard]] Handle create(std::size_t length) const;

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  std::string node_;
  UniqueFd fd_;
  std::string driver_;
  bool imports_ = false;
  bool exports_ = false;
};

}  // namespace dmawire
