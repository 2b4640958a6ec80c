// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace dmawire {

/// A writable mapping: shared, of a file descriptor, or of memory of this process alone. Move-only;
/// unmapped by the destructor.
///
/// The mapping keeps the buffer alive: the descriptor may be closed before it.
class Mapping {
 public:
  Mapping() noexcept = default;
  /// Maps `length` bytes from offset 0, at an address that is a multiple of `alignment`, a power of
  /// 2: huge pages can be mapped nowhere else. Throws Error.
  Mapping(int fd, std::size_t length, std::size_t alignment = 1);
  /// The same from another offset, a multiple of the page size. Throws Error.
  [[nodiscard]] static Mapping at(int fd, std::size_t length, std::uint64_t offset);
  /// New memory of this process. Throws Error.
  [[nodiscard]] static Mapping anonymous(std::size_t length);
  /// The bytes of another mapping, which must live as long. Unmaps nothing.
  [[nodiscard]] static Mapping view(const Mapping& other) noexcept;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  void unmap() noexcept;

  std::span<std::byte> bytes_;
  bool owned_ = true;
};

}  // namespace dmawire
