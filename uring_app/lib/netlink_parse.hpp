// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace dmawire {

/// What NETLINK_ROUTE answers to RTM_GETROUTE.
struct RouteReply {
  int error = 0;                   ///< an errno, if it refused
  std::optional<unsigned> device;  ///< the index of the one that the route leaves by, if it has one
};

/// Nothing, if it is no answer at all.
[[nodiscard]] std::optional<RouteReply> parse_route_reply(std::span<const std::byte> packet);

/// "0-3,8-11", as the kernel lists CPUs. Nothing, if it is no such list.
[[nodiscard]] std::optional<std::vector<int>> parse_cpu_list(std::string_view text);

}  // namespace dmawire
