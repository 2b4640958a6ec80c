// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <dmawire/copy_counter.hpp>
#include <optional>

#include "report.hpp"

namespace dmawire::commands {

/// CPU time that this process has used.
[[nodiscard]] double cpu_seconds();

/// Measures what a transfer takes, from its own construction on.
class Meter {
 public:
  /// Throws Error if copies are to be counted and cannot be.
  explicit Meter(bool counts_copies);

  void read_into(SendReport& report) const;

 private:
  using Clock = std::chrono::steady_clock;

  std::optional<CopyCounter> copies_;
  double cpu_start_;
  Clock::time_point start_;
};

}  // namespace dmawire::commands
