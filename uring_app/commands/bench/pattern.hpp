// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace dmawire::commands::bench {

/// Fills a frame with bytes that are different for each `index` and end in a hash of the others, so
/// that whoever gets it alone can tell whether it is whole. Shorter frames than a hash have none.
void fill_pattern(std::span<std::byte> frame, std::uint64_t index) noexcept;

/// Whether these are such bytes.
[[nodiscard]] bool is_pattern(std::span<const std::byte> frame) noexcept;

}  // namespace dmawire::commands::bench
