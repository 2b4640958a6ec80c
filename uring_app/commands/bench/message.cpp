// SPDX-License-Identifier: MIT
#include "message.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace dmawire::commands::bench {

static_assert(std::is_trivially_copyable_v<Message>);

std::string Message::text_string() const {
  return {text.begin(), std::find(text.begin(), text.end(), '\0')};
}

void set_text(Message& message, const std::string& text) {
  std::copy_n(text.begin(), std::min(text.size(), message.text.size() - 1), message.text.begin());
}

std::optional<Message> parse_message(std::span<const std::byte> packet) {
  Message message{};
  if (packet.size() != sizeof(message)) {
    return {};
  }
  std::memcpy(&message, packet.data(), sizeof(message));
  return message;
}

}  // namespace dmawire::commands::bench
