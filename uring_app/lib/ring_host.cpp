// SPDX-License-Identifier: MIT
#include "ring_host.hpp"

#include <fmt/format.h>

#include <algorithm>

#include <dmawire/error.hpp>
#include <dmawire/sender.hpp>

namespace dmawire {

RingHost& RingHost::of(Sender& sender, std::string_view purpose) {
  RingHost* const host = sender.ring_host();
  if (host == nullptr) {
    throw Error(0, fmt::format("the sender has no io_uring {}", purpose),
                "choose another path than msg", Error::Kind::impossible);
  }
  return *host;
}

std::uint32_t RingHost::join(RingClient& client) {
  const auto free = std::find(clients_.begin() + 1, clients_.end(), nullptr);
  if (free == clients_.end()) {
    throw Error(0, "too many parties want to use one io_uring");
  }
  *free = &client;
  return static_cast<std::uint32_t>(free - clients_.begin());
}

std::optional<RingHost::FixedPlace> RingHost::fixed_place(std::uint32_t /*frame*/) const noexcept {
  return std::nullopt;
}

}  // namespace dmawire
