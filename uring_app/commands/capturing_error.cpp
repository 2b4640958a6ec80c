// SPDX-License-Identifier: MIT
#include "capturing_error.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <dmawire/capture.hpp>
#include <dmawire/device.hpp>

namespace dmawire::commands {

const char* capturing_advice(int code) {
  switch (code) {
    case ENODEV:
      return "the device is gone: unplugged, or its driver was unbound; all that it captured "
             "before was taken";
    case EIO:
      return "the device failed, the kernel's log may tell how (dmesg); all that it captured "
             "before was taken";
    case ECANCELED:
      return "something else stopped the device";
    default:
      return "";
  }
}

Error capturing_error(const Capture& capture, const Device& device) {
  const int code = capture.failure().value();
  return {code,
          fmt::format("capturing from {}, after {} frames", device.node(),
                      capture.statistics().captured),
          capturing_advice(code)};
}

}  // namespace dmawire::commands
