// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/error.hpp>

namespace dmawire {
class Capture;
class Device;
}  // namespace dmawire

namespace dmawire::commands {

/// What may help, or explain, when capturing ended with this errno.
[[nodiscard]] const char* capturing_advice(int code);
/// What to tell of a capture that has failed.
[[nodiscard]] Error capturing_error(const Capture& capture, const Device& device);

}  // namespace dmawire::commands
