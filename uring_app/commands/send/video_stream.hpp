// SPDX-License-Identifier: MIT
#pragma once

#include "frame_stream.hpp"
#include "options.hpp"

namespace dmawire::commands {

/// Sends what a camera captures, a node of V4L2's. Throws Error where it cannot begin.
[[nodiscard]] StreamOutcome stream_from_camera(const SendOptions& options);

}  // namespace dmawire::commands
