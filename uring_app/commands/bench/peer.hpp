// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/stream.hpp>
#include <dmawire/unique_fd.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "plan.hpp"

namespace dmawire::commands::bench {

/// What goes over the wire in one run.
struct Traffic {
  Protocol protocol;
  std::uint32_t connections;
  bool verify;  ///< the receiver reads what it gets; else it only counts
};

/// What arrived.
struct Received {
  std::uint64_t bytes = 0;
  std::uint64_t damaged = 0;  ///< datagrams that were not what a frame holds (when verifying)
  std::uint64_t hash = 0;     ///< TCP: the sum of the streams' XXH3 (when verifying)
  double cpu_seconds = 0;
};

/// Where the receiver is.
struct Place {
  std::optional<Endpoint> remote;  ///< somebody else's; none: a child process of our own
  std::string netns;               ///< the child's network namespace, or ""
  std::string address;             ///< the child's, or "" to find one
};

/// The other end of one run, connected. Its sockets live as long as it does.
class Peer {
 public:
  virtual ~Peer() = default;

  [[nodiscard]] virtual std::span<const UniqueFd> sockets() const noexcept = 0;
  /// To be called when everything is sent: waits until it has arrived, as far as that can be known.
  virtual void wait_for_the_rest() = 0;
  /// What arrived, if that can be known. After wait_for_the_rest().
  [[nodiscard]] virtual std::optional<Received> received() = 0;
};

/// Throws Error.
[[nodiscard]] std::unique_ptr<Peer> start_peer(const Place& place, const Traffic& traffic);

/// Puts this process into a network namespace, as `ip netns` names it. Throws Error.
void enter_namespace(const std::string& name);

}  // namespace dmawire::commands::bench
