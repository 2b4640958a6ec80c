// SPDX-License-Identifier: MIT
#include <dmawire/mapping.hpp>

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {

namespace {

void* map(void* place, std::size_t length, int flags, int fd, std::uint64_t offset = 0) {
  void* const address =
      sys().mmap(place, length, PROT_READ | PROT_WRITE, flags, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) {
    const int code = errno;
    throw Error(code, fmt::format("mapping a buffer of {} bytes", length));
  }
  return address;
}

/// Reserves addresses of which `length` begin at a multiple of `alignment`, and gives those before
/// and behind them back.
void* reserve(std::size_t length, std::size_t alignment) {
  auto* const begin = static_cast<std::byte*>(
      map(nullptr, length + alignment, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1));
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(begin) & (alignment - 1);
  if (before > 0) {
    ::munmap(begin, before);
  }
  ::munmap(begin + before + length, alignment - before);
  return begin + before;
}

}  // namespace

Mapping::Mapping(int fd, std::size_t length, std::size_t alignment) {
  constexpr std::size_t page = 4096;  // what every mapping is aligned to
  if (alignment <= page) {
    bytes_ = {static_cast<std::byte*>(map(nullptr, length, MAP_SHARED, fd)), length};
    return;
  }
  void* const place = reserve(length, alignment);
  try {
    bytes_ = {static_cast<std::byte*>(map(place, length, MAP_SHARED | MAP_FIXED, fd)), length};
  } catch (const Error&) {
    ::munmap(place, length);
    throw;
  }
}

Mapping Mapping::at(int fd, std::size_t length, std::uint64_t offset) {
  Mapping mapping;
  mapping.bytes_ = {static_cast<std::byte*>(map(nullptr, length, MAP_SHARED, fd, offset)), length};
  return mapping;
}

Mapping Mapping::anonymous(std::size_t length) {
  Mapping mapping;
  mapping.bytes_ = {static_cast<std::byte*>(map(nullptr, length, MAP_PRIVATE | MAP_ANONYMOUS, -1)),
                    length};
  return mapping;
}

Mapping Mapping::view(const Mapping& other) noexcept {
  Mapping mapping;
  mapping.bytes_ = other.bytes_;
  mapping.owned_ = false;
  return mapping;
}

Mapping::Mapping(Mapping&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), owned_(other.owned_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    unmap();
    bytes_ = std::exchange(other.bytes_, {});
    owned_ = other.owned_;
  }
  return *this;
}

Mapping::~Mapping() {
  unmap();
}

void Mapping::unmap() noexcept {
  if (owned_ && !bytes_.empty()) {
    ::munmap(bytes_.data(), bytes_.size());
  }
}

}  // namespace dmawire
