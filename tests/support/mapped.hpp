// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace dmawire::test {

/// Owns a mapping, or the errno that mmap() gave.
class Mapped {
 public:
  Mapped() = default;
  Mapped(int fd, size_t length, off_t offset = 0, int protection = PROT_READ | PROT_WRITE,
         int flags = MAP_SHARED)
      : data_(mmap(nullptr, length, protection, flags, fd, offset)),
        length_(length),
        error_(data_ == MAP_FAILED ? errno : 0) {}
  Mapped(Mapped&& other) noexcept { swap(other); }
  Mapped& operator=(Mapped&& other) noexcept {
    swap(other);
    return *this;
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() { reset(); }

  void reset() {
    if (data_ != MAP_FAILED)
      munmap(data_, length_);
    data_ = MAP_FAILED;
  }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] size_t size() const { return length_; }
  [[nodiscard]] std::span<uint8_t> bytes() const { return {static_cast<uint8_t*>(data_), length_}; }
  [[nodiscard]] std::span<uint64_t> words() const {
    return {static_cast<uint64_t*>(data_), length_ / sizeof(uint64_t)};
  }

 private:
  void swap(Mapped& other) {
    std::swap(data_, other.data_);
    std::swap(length_, other.length_);
    std::swap(error_, other.error_);
  }

  void* data_ = MAP_FAILED;
  size_t length_ = 0;
  int error_ = 0;
};

/// Writes a text that differs in every word, at every place, and returns it.
inline std::string fill(const Mapped& mapping) {
  for (size_t i = 0; i < mapping.words().size(); ++i)
    mapping.words()[i] = (i + 1) * 0x9e3779b97f4a7c15;
  return {reinterpret_cast<const char*>(mapping.data()), mapping.size()};
}

}  // namespace dmawire::test
