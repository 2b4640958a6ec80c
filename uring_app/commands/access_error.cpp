// SPDX-License-Identifier: MIT
#include "access_error.hpp"

#include <cerrno>
#include <dmawire/error.hpp>

namespace dmawire::commands {

void throw_if_none(const CpuAccess& access) {
  if (const int code = access.error().value(); code != 0) {
    throw Error(code, "beginning access by the CPU to a dma-buf",
                code == ETIMEDOUT
                    ? "a device still uses it, or another program holds it up: one of "
                      "its fences does not signal"
                    : "");
  }
}

}  // namespace dmawire::commands
