// SPDX-License-Identifier: MIT
#pragma once

#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "executor.hpp"

namespace dmawire::fuzz {

inline Pointer pointer_of(const Call& call) {
  return static_cast<Pointer>(static_cast<std::uint64_t>(call.get("ptr")) % pointers);
}

/// Whether the kernel sees the struct that the call has, and the call the kernel's answer.
inline bool is_as_written(Pointer pointer) {
  return pointer == Pointer::good || pointer == Pointer::odd;
}

/// The `size` field that a call passes in its struct.
template <typename T>
std::uint32_t size_of_struct(const Call& call) {
  const std::int64_t size = call.get("size");
  return size == -1 ? sizeof(T) : static_cast<std::uint32_t>(size);
}

template <typename T>
Sized sized(const Call& call) {
  return {size_of_struct<T>(call), call.get("tail") == 0};
}

/// An ioctl with its result ignored.
template <typename T>
void tell(int fd, unsigned long command, T argument) {
  argument.size = sizeof(argument);
  ::ioctl(fd, command, &argument);
}

/// Places the call's struct, followed by extra bytes if `size` is larger than the struct: up to a
/// page, the last byte not zero if there is a `tail`.
template <typename T>
std::uint64_t Executor::place(const Call& call, const T& argument) {
  std::array<std::byte, 4097> bytes{};
  std::size_t length = sizeof(T);
  std::memcpy(bytes.data(), &argument, sizeof(T));
  if constexpr (requires { argument.size; }) {
    length = std::clamp<std::size_t>(argument.size, sizeof(T), bytes.size() - 1);
    bytes[length] = std::byte{0xff};  // no business of the kernel's
    if (length > sizeof(T) && call.get("tail") != 0) {
      bytes[length - 1] = std::byte{1};
    }
  }
  return arguments_.place({bytes.data(), std::min(length + 1, bytes.size())}, pointer_of(call),
                          arena::area(0));
}

}  // namespace dmawire::fuzz
