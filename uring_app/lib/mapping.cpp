// SPDX-License-Identifier: MIT
#include <dmawire/mapping.hpp>

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {

Mapping::Mapping(int fd, std::size_t length) {
  void* address = sys().mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) {
    throw Error(errno, fmt::format("mapping a buffer of {} bytes", length));
  }
  bytes_ = {static_cast<std::byte*>(address), length};
}

Mapping::Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    unmap();
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

Mapping::~Mapping() {
  unmap();
}

void Mapping::unmap() noexcept {
  if (!bytes_.empty()) {
    ::munmap(bytes_.data(), bytes_.size());
  }
}

}  // namespace dmawire
