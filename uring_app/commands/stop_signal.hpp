// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>
#include <dmawire/unique_fd.hpp>

namespace dmawire::commands {

/// While it lives, the first SIGINT or SIGTERM is read from a descriptor, as one of the things that
/// a program waits for, and a second one does what it always does. One at a time.
class StopSignal {
 public:
  /// Throws Error.
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// Can be read when a signal has come that caught() does not know of.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Whether a signal came.
  [[nodiscard]] bool caught() noexcept;
  /// For a wait that nothing else would end: the next signal does what it always does. One that has
  /// come already is caught.
  void let_through() noexcept;

 private:
  sigset_t before_{};
  UniqueFd fd_;
  bool caught_ = false;
};

}  // namespace dmawire::commands
