// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <vector>

#include "row.hpp"

namespace dmawire::commands::bench {

/// What became of the rows since an earlier run.
struct Comparison {
  std::size_t compared = 0;
  std::vector<std::string> worse;      ///< a sentence for each row past the tolerance
  std::vector<std::string> unmatched;  ///< rows that the earlier run does not have
};

/// Compares CPU time per GiB, row by row. A row that had a figure and has none any more is worse.
[[nodiscard]] Comparison compare(std::span<const Row> now, std::span<const Row> before,
                                 double tolerance_percent);

}  // namespace dmawire::commands::bench
