// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>

namespace dmawire {
class FrameSource;
}

namespace dmawire::commands {

/// While it lives, the first SIGINT or SIGTERM stops a capture, and a second one does what it
/// always does. One at a time.
class StopOnSignal {
 public:
  explicit StopOnSignal(FrameSource& source);
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  /// Whether a signal came.
  [[nodiscard]] bool caught() const noexcept;

 private:
  struct sigaction interrupt_before_ {};
  struct sigaction terminate_before_ {};
};

}  // namespace dmawire::commands
