// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>

#include "row.hpp"

namespace dmawire::commands::bench {

/// The rows for people: what is the same in all of them stands above the table.
[[nodiscard]] std::string format_table(std::span<const Row> rows);
/// The rows with all their keys, the keys first.
[[nodiscard]] std::string format_csv(std::span<const Row> rows);

/// A table of cells; the first row is the head. Columns of numbers are right-aligned.
[[nodiscard]] std::string format_cells(const std::vector<std::vector<std::string>>& cells);

}  // namespace dmawire::commands::bench
