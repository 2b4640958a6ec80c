// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/error.hpp>

namespace dmawire {
class Capture;
class Device;
}  // namespace dmawire

namespace dmawire::commands {

/// What to tell of a capture that has failed.
[[nodiscard]] Error capturing_error(const Capture& capture, const Device& device);

}  // namespace dmawire::commands
