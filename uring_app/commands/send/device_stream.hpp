// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/error.hpp>
#include <optional>

#include "options.hpp"
#include "report.hpp"

namespace dmawire::commands {

/// What came of sending what a device captured. There is a report even if it ended in a failure.
struct StreamOutcome {
  SendReport report;
  std::optional<Error> failure;
};

/// Sends what a device captures until there are as many frames as were asked for, a signal comes,
/// or device, network or disk fail. Throws Error where it cannot begin.
[[nodiscard]] StreamOutcome stream_from_device(const SendOptions& options);

}  // namespace dmawire::commands
