// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// Sockets of this machine, of packets in order (SOCK_SEQPACKET), by their names in the file
/// system.

/// A listening one, which never waits in accept(). The name of a socket without listener
/// is taken over. Throws Error.
[[nodiscard]] UniqueFd listen_packets(const std::string& path);

/// A connection to one, which never waits for it either. Throws Error.
[[nodiscard]] UniqueFd connect_packets(const std::string& path);

}  // namespace dmawire
