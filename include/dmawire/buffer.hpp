// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// A piece of shareable memory: a dma-buf of any exporter, or a memfd. Owns the descriptor.
class Buffer {
 public:
  enum class Kind { dma_buf, memfd };

  /// @param length  bytes, a multiple of the page size
  Buffer(UniqueFd fd, std::size_t length, Kind kind) noexcept
      : fd_(std::move(fd)), length_(length), kind_(kind) {}

  /// A new memfd, zeroed, `length` rounded up to whole pages. Throws Error.
  [[nodiscard]] static Buffer memfd(std::size_t length);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::size_t length() const noexcept { return length_; }
  [[nodiscard]] Kind kind() const noexcept { return kind_; }

 private:
  UniqueFd fd_;
  std::size_t length_;
  Kind kind_;
};

}  // namespace dmawire
