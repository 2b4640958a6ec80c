// SPDX-License-Identifier: MIT
#include "share_message.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <utility>

#include "sys.hpp"

namespace dmawire::share {
namespace {

constexpr std::size_t control_size = CMSG_SPACE(max_entries * sizeof(int));

std::error_code error(int code) noexcept {
  return {code, std::system_category()};
}

/// Bytes of the struct, and of an entry, of each type of message.
struct Shape {
  std::size_t fixed;
  std::size_t entry;
};
std::optional<Shape> shape_of(std::uint32_t type) noexcept {
  switch (type) {
    case DMAWIRE_SHARE_HELLO:
      return Shape{sizeof(dmawire_share_hello), 0};
    case DMAWIRE_SHARE_WELCOME:
      return Shape{sizeof(dmawire_share_welcome), 0};
    case DMAWIRE_SHARE_BUFFERS:
      return Shape{sizeof(dmawire_share_header), sizeof(dmawire_share_buffer)};
    case DMAWIRE_SHARE_FRAMES:
      return Shape{sizeof(dmawire_share_header), sizeof(dmawire_share_frame)};
    case DMAWIRE_SHARE_DONE:
      return Shape{sizeof(dmawire_share_header), sizeof(__u32)};
    case DMAWIRE_SHARE_END:
      return Shape{sizeof(dmawire_share_end), 0};
    default:
      return {};
  }
}

}  // namespace

std::error_code Outgoing::send(int socket) const noexcept {
  iovec range{const_cast<std::byte*>(bytes_.data()), size_};
  msghdr message{};
  message.msg_iov = &range;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<std::byte, control_size> control{};
  if (descriptor_count_ > 0) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptor_count_ * sizeof(int));
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptor_count_ * sizeof(int));
    std::memcpy(CMSG_DATA(rights), descriptors_.data(), descriptor_count_ * sizeof(int));
  }
  while (sys().sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) {
      return error(errno);
    }
  }
  return {};
}

std::optional<dmawire_share_header> parse_header(std::span<const std::byte> packet) noexcept {
  if (packet.size() < sizeof(dmawire_share_header)) {
    return {};
  }
  const auto header = as<dmawire_share_header>(packet);
  const auto shape = shape_of(header.type);
  if (!shape || header.reserved != 0 || header.size != packet.size() ||
      header.count > max_entries || (header.count > 0) != (shape->entry > 0) ||
      header.size != shape->fixed + header.count * shape->entry) {
    return {};
  }
  return header;
}

std::error_code Incoming::receive(int socket, Descriptors descriptors) noexcept {
  for (std::size_t i = 0; i < descriptor_count_; ++i) {
    descriptors_[i].reset();
  }
  descriptor_count_ = 0;
  iovec range{bytes_.data(), bytes_.size()};
  msghdr message{};
  message.msg_iov = &range;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<std::byte, control_size> control;
  if (descriptors == Descriptors::some) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  ssize_t length;
  // A peer that closed without reading all is told first; what it sent before that is behind it.
  bool reset = false;
  while ((length = sys().recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) < 0) {
    if (errno != EINTR && (errno != ECONNRESET || std::exchange(reset, true))) {
      return error(errno);
    }
  }
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count && descriptor_count_ < max_entries; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
      descriptors_[descriptor_count_++].reset(fd);
    }
  }
  if (length == 0) {
    return error(ECONNRESET);
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return error(descriptors == Descriptors::some ? EMFILE : EPROTO);
  }
  const auto header = parse_header(std::span{bytes_}.first(static_cast<std::size_t>(length)));
  if ((message.msg_flags & MSG_TRUNC) != 0 || !header) {
    return error(EPROTO);
  }
  header_ = *header;
  return {};
}

}  // namespace dmawire::share
