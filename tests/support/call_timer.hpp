// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

namespace dmawire::test {

/// How long functions of the kernel take, called from one another or not: its function graph
/// tracer. Only one at a time, system-wide.
class CallTimer {
 public:
  explicit CallTimer(const std::vector<std::string>& functions);
  ~CallTimer();
  CallTimer(const CallTimer&) = delete;
  CallTimer& operator=(const CallTimer&) = delete;

  /// Microseconds that all calls of it took since this was made.
  [[nodiscard]] double microseconds_in(const std::string& function) const;
};

}  // namespace dmawire::test
