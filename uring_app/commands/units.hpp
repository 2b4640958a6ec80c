// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dmawire::commands {

/// "64K" -> 65536: a whole number with K, M, G or T (binary) or none. Throws std::invalid_argument
/// with a sentence that says what is wrong.
[[nodiscard]] std::uint64_t parse_size(std::string_view text);

/// "640x480" -> 640 and 480. Throws std::invalid_argument with a sentence that says what is wrong.
struct Dimensions {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};
[[nodiscard]] Dimensions parse_dimensions(std::string_view text);

/// 65536 -> "64 KiB", with at most two decimals.
[[nodiscard]] std::string format_size(std::uint64_t bytes);

/// The size of a frame: only in KiB and more if it is whole, else in bytes, so that 1472 is 1472 B.
[[nodiscard]] std::string format_frame_size(std::uint64_t bytes);

/// XXH3 hashes are written as 16 hexadecimal digits.
[[nodiscard]] std::string format_hash(std::uint64_t hash);

}  // namespace dmawire::commands
