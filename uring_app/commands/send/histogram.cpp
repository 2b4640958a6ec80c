// SPDX-License-Identifier: MIT
#include "histogram.hpp"

#include <algorithm>
#include <cmath>

namespace dmawire::commands {

std::chrono::nanoseconds Histogram::percentile(double percent) const noexcept {
  const auto wanted =
      static_cast<std::uint64_t>(std::ceil(percent / 100 * static_cast<double>(count_)));
  std::uint64_t passed = 0;
  for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
    passed += counts_[bucket];
    if (passed > 0 && passed >= wanted) {
      return std::chrono::nanoseconds{std::min(last_of(bucket), max_)};
    }
  }
  return {};
}

}  // namespace dmawire::commands
