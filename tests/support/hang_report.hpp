// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>

namespace dmawire::test {

/// Where a process that does not end hangs, as far as the kernel tells: the state of each of its
/// threads, the function it sleeps in, and the TCP sockets of every network namespace with a name.
std::string describe_hang(pid_t pid);

}  // namespace dmawire::test
