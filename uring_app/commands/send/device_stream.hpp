// SPDX-License-Identifier: MIT
#pragma once

#include "frame_stream.hpp"
#include "options.hpp"

namespace dmawire::commands {

/// Sends what /dev/dmawireN captures. Throws Error where it cannot begin.
[[nodiscard]] StreamOutcome stream_from_device(const SendOptions& options);

}  // namespace dmawire::commands
