// SPDX-License-Identifier: MIT
#include <dmawire/sender.hpp>

#include <dmawire/error.hpp>

#include "msg_sender.hpp"
#include "ring_sender.hpp"

namespace dmawire {

std::string_view name(Path path) noexcept {
  switch (path) {
    case Path::direct:
      return "direct";
    case Path::fixed:
      return "fixed";
    case Path::plain:
      return "plain";
    case Path::msg:
      return "msg";
    case Path::copy:
      break;
  }
  return "copy";
}

std::unique_ptr<Sender> make_sender(Path path, std::span<const int> sockets, FramePool& pool,
                                    const Sender::Options& options) {
  if (path != Path::msg) {
    return std::make_unique<RingSender>(path, sockets, pool, options);
  }
  if (sockets.size() != 1) {
    throw Error(0, "msg sends over one connection", {}, Error::Kind::impossible);
  }
  return std::make_unique<MsgSender>(sockets[0], pool, options);
}

}  // namespace dmawire
