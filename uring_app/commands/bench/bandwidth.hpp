// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/device.hpp>
#include <span>
#include <string>
#include <vector>

#include "row.hpp"

namespace dmawire::commands::bench {

/// Measures how fast the CPU reads and writes memory that a device writes to: coherent memory, and
/// pages that are synced before and after. For each length of a buffer; interleaved, medians. Rows
/// as for transfers, with keys of their own. Throws Error if the device has no coherent memory.
[[nodiscard]] std::vector<Row> measure_bandwidth(const Device& device,
                                                 const std::vector<std::uint64_t>& lengths,
                                                 std::uint32_t repeats);

[[nodiscard]] std::string format_bandwidth_table(std::span<const Row> rows);

}  // namespace dmawire::commands::bench
