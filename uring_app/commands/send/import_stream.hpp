// SPDX-License-Identifier: MIT
#pragma once

#include "device_stream.hpp"
#include "options.hpp"

namespace dmawire::commands {

/// Sends, records or both what the owner of a socket lends, until it ends that, there are as many
/// frames as were asked for, a signal comes, or owner, network or disk fail. Throws Error where it
/// cannot begin.
[[nodiscard]] StreamOutcome stream_from_owner(const SendOptions& options);

}  // namespace dmawire::commands
