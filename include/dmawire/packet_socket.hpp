// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// Unix sockets of type SOCK_SEQPACKET, by their names in the file system.

/// A listening socket; accept() on it never waits. Replaces a socket of that name that has no
/// listener. Throws Error.
[[nodiscard]] UniqueFd listen_packets(const std::string& path);

/// A connection to a listening socket; never waits for it. Throws Error.
[[nodiscard]] UniqueFd connect_packets(const std::string& path);

}  // namespace dmawire
