// SPDX-License-Identifier: MIT
#include <dmawire/sender.hpp>

#include <algorithm>

#include <dmawire/error.hpp>

#include "msg_sender.hpp"
#include "ring_sender.hpp"

namespace dmawire {
namespace {

bool any_has(const FramePool& pool, Buffer::Pages pages) {
  return std::any_of(pool.buffers().begin(), pool.buffers().end(),
                     [pages](const Buffer& one) { return one.pages() == pages; });
}

/// What a path could only find out by failing, some of it late, or never.
void check_memory(Path path, const FramePool& pool) {
  if (path == Path::fixed && any_has(pool, Buffer::Pages::looked_up)) {
    throw Error(
        0,
        "registering pins for long, and the kernel cannot so pin memory of a CMA area, which "
        "this is or, being another exporter's, may be",
        "plain sends from it, and direct if it is dmawire's; --backing contig takes other "
        "memory",
        Error::Kind::impossible);
  }
  if (path != Path::copy && any_has(pool, Buffer::Pages::none)) {
    throw Error(0, "the memory's mapping has no pages to send from",
                "copy sends from it; dmawire's has pages, but for --backing coherent",
                Error::Kind::impossible);
  }
}

}  // namespace

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
  check_memory(path, pool);
  if (path != Path::msg) {
    return std::make_unique<RingSender>(path, sockets, pool, options);
  }
  if (sockets.size() != 1) {
    throw Error(0, "msg sends over one connection", {}, Error::Kind::impossible);
  }
  return std::make_unique<MsgSender>(sockets[0], pool, options);
}

}  // namespace dmawire
