// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace dmawire::commands::bench {

/// A moment: the clock, and how much the machine and this thread have worked so far, in seconds.
struct Moment {
  double wall;
  double busy;    ///< all CPUs: whatever they did but idle
  double thread;  ///< of the calling thread

  [[nodiscard]] static Moment now();
};

/// CLOCK_MONOTONIC.
[[nodiscard]] double clock_seconds() noexcept;

/// "instructions" in a guest whose time counts them (`ci/vm --icount` says so), else "real".
[[nodiscard]] std::string clock_name();
[[nodiscard]] std::string kernel_release();

/// The network device that a connected socket's packets leave by, or "unknown".
[[nodiscard]] std::string device_of(int socket);

/// The global IPv4 address of a device that is up in this network namespace, or "".
[[nodiscard]] std::string own_address();

}  // namespace dmawire::commands::bench
