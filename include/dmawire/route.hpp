// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace dmawire {

/// How packets to a destination leave this network namespace, and whether they can leave without
/// their payload being copied.
struct Route {
  std::string address;  ///< the destination, as numbers
  std::string device;   ///< "eth0"
  std::string driver;   ///< "e1000e"; empty where the device does not say
  unsigned mtu = 0;     ///< bytes
  bool local = false;   ///< the destination is this network namespace itself: certainly copied
  bool copies = false;
  std::string reason;  ///< why it copies or not, and from which datagram length on it does
};

/// Asks the kernel for the route to `host`, a name or an address, and the device for its features
/// do. Sends nothing. Throws Error where there is no route.
[[nodiscard]] Route find_route(const std::string& host);
/// The same for the peer of a connected socket.
[[nodiscard]] Route find_route(int socket);

}  // namespace dmawire
