// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>

namespace dmawire::test {

/// Where a process that does not end hangs, as far as the kernel tells: what each of its threads
/// does, in which function it sleeps, and the TCP sockets of every network namespace with a name.
std::string describe_hang(pid_t pid);

}  // namespace dmawire::test
