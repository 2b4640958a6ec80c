// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "peer.hpp"

namespace dmawire::commands::bench {

/// What bench and its receiving process tell each other, one packet each. The child speaks first:
/// where it listens; when all are connected; what it received. The parent says when UDP is over.
struct Message {
  enum class Kind : std::uint32_t { listening, connected, received, failed, stop } kind;
  std::uint16_t port = 0;
  std::uint16_t impossible = 0;  ///< of `failed`: 1 if what was asked for cannot be had here
  Received received;
  std::array<char, 512> text = {};  ///< an address, or what failed

  [[nodiscard]] std::string text_string() const;
};

void set_text(Message& message, const std::string& text);

/// A packet as it came; nothing, if it is not all of a message.
[[nodiscard]] std::optional<Message> parse_message(std::span<const std::byte> packet);

}  // namespace dmawire::commands::bench
