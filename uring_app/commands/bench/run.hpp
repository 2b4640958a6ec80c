// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/sender.hpp>
#include <functional>
#include <optional>
#include <string>

#include "memory.hpp"
#include "peer.hpp"
#include "plan.hpp"

namespace dmawire::commands::bench {

/// How much one run sends.
struct Amount {
  std::uint64_t bytes = 0;
  std::optional<double> seconds;  ///< instead of `bytes`
};

/// What one run of one case gave.
struct Measurement {
  SenderStatistics statistics;
  double seconds = 0;
  double busy_seconds = 0;    ///< of the whole machine
  double thread_seconds = 0;  ///< of the thread that sent
  std::optional<Received> received;
  std::string device;          ///< that the route leaves by
  std::string chosen;          ///< the path that was taken
  std::string reason;          ///< why, if the sender chose
  std::optional<bool> intact;  ///< whether what arrived is what was sent, if that was asked
};

/// Called now and then with the bytes sent so far.
using OnProgress = std::function<void(std::uint64_t bytes)>;

/// Sends once and measures it. Throws Error.
[[nodiscard]] Measurement run_once(const Case& what, const Amount& amount, const Place& place,
                                   Memory& memory, bool verify, const OnProgress& on_progress);

}  // namespace dmawire::commands::bench
