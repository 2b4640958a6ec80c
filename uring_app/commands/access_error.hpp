// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/cpu_access.hpp>

namespace dmawire::commands {

/// Throws Error if the CPU may not touch the memory.
void throw_if_none(const CpuAccess& access);

}  // namespace dmawire::commands
