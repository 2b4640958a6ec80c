// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <dmawire/error.hpp>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "memory.hpp"
#include "plan.hpp"
#include "table.hpp"

namespace dmawire::commands::bench {

/// What was measured of one kind and amount of memory (`what.size` is all of it).
template <typename Run>
struct Series {
  Case what;
  std::vector<Run> runs;
  std::optional<Error> failure;  ///< then it was not measured any further

  template <typename Member>
  [[nodiscard]] double middle(Member Run::*member) const {
    std::vector<double> values;
    std::transform(runs.begin(), runs.end(), std::back_inserter(values),
                   [&](const Run& run) { return static_cast<double>(run.*member); });
    return median(std::move(values));
  }
};

/// Measures all cases in turn, `repeats` times. Throws Error if none could be measured.
template <typename Run>
[[nodiscard]] std::vector<Series<Run>> measure_in_turn(const std::vector<Case>& cases,
                                                       std::uint32_t repeats,
                                                       Run (*measure)(const Case&)) {
  std::vector<Series<Run>> all;
  std::transform(cases.begin(), cases.end(), std::back_inserter(all),
                 [](const Case& what) { return Series<Run>{.what = what}; });
  for (std::uint32_t i = 0; i < repeats; ++i) {
    for (Series<Run>& one : all) {
      if (one.failure) {
        continue;
      }
      try {
        check_available(one.what);
        one.runs.push_back(measure(one.what));
      } catch (const Error& error) {
        one.failure = error;
      }
    }
  }
  if (std::all_of(all.begin(), all.end(),
                  [](const Series<Run>& one) { return one.failure.has_value(); })) {
    throw Error(*all.front().failure);
  }
  return all;
}

}  // namespace dmawire::commands::bench
