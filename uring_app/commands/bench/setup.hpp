// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "plan.hpp"
#include "row.hpp"

namespace dmawire::commands::bench {

/// Measures the way from nothing to "the first send is possible": memory made, then put into the
/// table of a ring. For `direct` and `fixed` of the plan, from each of its sources and layouts, for
/// each amount of memory; interleaved, medians. Rows as for transfers, with keys of their own.
/// Throws Error if nothing could be measured.
[[nodiscard]] std::vector<Row> measure_setup(const Plan& plan,
                                             const std::vector<std::uint64_t>& amounts,
                                             std::uint32_t repeats);

[[nodiscard]] std::string format_setup_table(std::span<const Row> rows);

}  // namespace dmawire::commands::bench
