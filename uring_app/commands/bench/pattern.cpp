// SPDX-License-Identifier: MIT
#include "pattern.hpp"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace dmawire::commands::bench {
namespace {

constexpr std::size_t word_size = sizeof(std::uint64_t);

/// One step of splitmix64.
std::uint64_t mix(std::uint64_t value) noexcept {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

void put(std::span<std::byte> to, std::uint64_t word) noexcept {
  std::memcpy(to.data(), &word, std::min(to.size(), word_size));
}

}  // namespace

void fill_pattern(std::span<std::byte> frame, std::uint64_t index) noexcept {
  const std::size_t body = frame.size() < word_size ? frame.size() : frame.size() - word_size;
  for (std::size_t offset = 0; offset < body; offset += word_size) {
    put(frame.subspan(offset, std::min(word_size, body - offset)), mix((index << 32) + offset));
  }
  if (body < frame.size()) {
    put(frame.subspan(body), XXH3_64bits(frame.data(), body));
  }
}

bool is_pattern(std::span<const std::byte> frame) noexcept {
  if (frame.size() < word_size) {
    return true;
  }
  const std::size_t body = frame.size() - word_size;
  std::uint64_t expected = 0;
  std::memcpy(&expected, frame.data() + body, word_size);
  return XXH3_64bits(frame.data(), body) == expected;
}

}  // namespace dmawire::commands::bench
