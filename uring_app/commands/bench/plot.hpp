// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>

#include "row.hpp"

namespace dmawire::commands::bench {

/// The rows as an SVG: CPU time per GiB and throughput over the size of a frame, a line for every
/// path and whatever else differs, whiskers from the least to the greatest of the repeats. For
/// light and dark backgrounds. Rows without figures are left out.
[[nodiscard]] std::string format_plot(std::span<const Row> rows);

}  // namespace dmawire::commands::bench
