// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace dmawire::test {

/// A frame of `length` bytes as devices with DMAWIRE_FEATURE_FRAME_HEADER make them, of which the
/// first `checked` are covered by its checksum.
inline std::string make_frame(std::uint64_t sequence, std::size_t length, std::size_t checked) {
  std::string frame(length, static_cast<char>(sequence));
  dmawire_frame_header header{};
  header.magic = DMAWIRE_FRAME_MAGIC;
  header.length = static_cast<__u32>(length);
  header.sequence = sequence;
  header.timestamp = 1;
  header.checked = static_cast<__u32>(checked);
  std::memcpy(frame.data(), &header, sizeof(header));
  header.checksum = XXH64(frame.data(), checked, 0);
  std::memcpy(frame.data(), &header, sizeof(header));
  return frame;
}

inline std::string make_frame(std::uint64_t sequence, std::size_t length) {
  return make_frame(sequence, length, length);
}

}  // namespace dmawire::test
