// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "plan.hpp"
#include "row.hpp"

namespace dmawire::commands::bench {

/// Measures the CPU's first touch of every page of new memory: with each page mapped when it is
/// touched, by a fault, and with all of them mapped before (MADV_POPULATE_WRITE). For each source,
/// layout and backing of the plan and each amount of memory; interleaved, medians. Rows as for
/// transfers, with keys of their own. Throws Error if nothing could be measured.
[[nodiscard]] std::vector<Row> measure_population(const Plan& plan,
                                                  const std::vector<std::uint64_t>& amounts,
                                                  std::uint32_t repeats);

[[nodiscard]] std::string format_population_table(std::span<const Row> rows);

}  // namespace dmawire::commands::bench
