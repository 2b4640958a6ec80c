// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>

namespace dmawire {

/// A shared, writable mapping of a file descriptor. Move-only; unmaps at the end of its life.
///
/// The mapping keeps what it maps alive: the descriptor may be closed before it.
class Mapping {
 public:
  Mapping() noexcept = default;
  /// Maps `length` bytes from offset 0. Throws Error.
  Mapping(int fd, std::size_t length);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  void unmap() noexcept;

  std::span<std::byte> bytes_;
};

}  // namespace dmawire
