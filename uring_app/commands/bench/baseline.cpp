// SPDX-License-Identifier: MIT
#include "baseline.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace dmawire::commands::bench {
namespace {

/// What two rows must have in common to be comparable. Of those that a file of an older version
/// lacks, nothing is known and nothing demanded.
constexpr const char* identity[] = {"path",   "proto",   "size",    "depth", "connections",
                                    "source", "layout",  "backing", "data",  "gather",
                                    "batch",  "buffers", "offset",  "clock"};

bool same_case(const Row& left, const Row& right) {
  return std::all_of(std::begin(identity), std::end(identity), [&](const char* key) {
    return !left.contains(key) || !right.contains(key) || left[key] == right[key];
  });
}

std::string describe(const Row& row) {
  std::string text;
  for (const char* key : identity) {
    if (row.contains(key)) {
      const Row& value = row[key];
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key,
                          value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  return text;
}

}  // namespace

Comparison compare(std::span<const Row> now, std::span<const Row> before,
                   double tolerance_percent) {
  Comparison result;
  for (const Row& row : now) {
    const auto old = std::find_if(before.begin(), before.end(),
                                  [&](const Row& one) { return same_case(row, one); });
    if (old == before.end() || !(*old)["cpu_s_per_gib"].is_number()) {
      result.unmatched.push_back(describe(row));
      continue;
    }
    ++result.compared;
    const double was = (*old)["cpu_s_per_gib"].get<double>();
    if (!row["cpu_s_per_gib"].is_number()) {
      result.worse.push_back(fmt::format("{}: was {:.4g} CPU s/GiB, now {}", describe(row), was,
                                         row.contains("error") ? row["error"].dump() : "nothing"));
      continue;
    }
    const double is = row["cpu_s_per_gib"].get<double>();
    if (is > was * (1 + tolerance_percent / 100)) {
      result.worse.push_back(
          fmt::format("{}: {:.4g} CPU s/GiB, was {:.4g}{}", describe(row), is, was,
                      was > 0 ? fmt::format(" (+{:.1f} %)", 100 * (is / was - 1)) : ""));
    }
  }
  return result;
}

}  // namespace dmawire::commands::bench
