// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <istream>
#include <optional>
#include <string_view>

/// Files of /proc, taken apart.
namespace dmawire::commands::bench {

/// Of /proc/stat: for how many ticks all CPUs together did not work.
[[nodiscard]] std::optional<double> parse_idle_ticks(std::istream& stat);

/// A field of a file such as /proc/self/status, in bytes (they are written in KiB); 0 if it is not
/// there or no number.
[[nodiscard]] std::uint64_t parse_kernel_field(std::istream& file, std::string_view field);

}  // namespace dmawire::commands::bench
