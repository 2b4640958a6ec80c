// SPDX-License-Identifier: MIT
#pragma once

#include <istream>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plan.hpp"
#include "run.hpp"

namespace dmawire::commands::bench {

/// A line of the results, as --json prints it: what was measured, what came of it, and under which
/// circumstances. Every row has every key; what is not known is null.
using Row = nlohmann::ordered_json;

/// The middle of the values; of an even number, the mean of the two in the middle. Not of none.
[[nodiscard]] double median(std::vector<double> values);
/// How far apart the values are: (greatest - least) / median, or 0.
[[nodiscard]] double spread(const std::vector<double>& values);

/// The row of a case. Times and rates are medians over the runs; counts are those of the run in the
/// middle (by CPU time), so that they belong together.
[[nodiscard]] Row make_row(const Case& what, std::span<const Measurement> runs);
/// The row of a case that could not be measured.
[[nodiscard]] Row make_error_row(const Case& what, const std::string& why);

enum class RowKind { transfer, setup };
/// Rows as --json prints them; nothing, if they are not, or of the other kind.
[[nodiscard]] std::optional<std::vector<Row>> parse_rows(std::istream& text, RowKind kind);
/// Rows of a file that --json was written to. Throws Error, also if they are of the other kind.
[[nodiscard]] std::vector<Row> read_rows(const std::string& file, RowKind kind = RowKind::transfer);

}  // namespace dmawire::commands::bench
