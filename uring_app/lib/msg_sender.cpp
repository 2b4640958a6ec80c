// SPDX-License-Identifier: MIT
#include "msg_sender.hpp"

#include <linux/errqueue.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {
namespace {

/// A frame may need several calls; this many per frame in flight are kept track of.
constexpr std::uint32_t calls_per_frame = 4;

/// The notification that an error-queue message carries, or nothing.
const sock_extended_err* find_notification(msghdr& message) noexcept {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    const bool ip_error = (header->cmsg_level == SOL_IP && header->cmsg_type == IP_RECVERR) ||
                          (header->cmsg_level == SOL_IPV6 && header->cmsg_type == IPV6_RECVERR);
    if (!ip_error) {
      continue;
    }
    const auto* error = reinterpret_cast<const sock_extended_err*>(CMSG_DATA(header));
    if (error->ee_errno == 0 && error->ee_origin == SO_EE_ORIGIN_ZEROCOPY) {
      return error;
    }
  }
  return nullptr;
}

}  // namespace

MsgSender::MsgSender(int socket, FramePool& pool, const Options& options)
    : socket_(socket),
      pool_(pool),
      ledger_(pool, options.observer),
      depth_(std::clamp(options.depth, 1U, pool.size())),
      batch_(options.batch),
      calls_(std::size_t{depth_} * calls_per_frame) {
  const int on = 1;
  if (::setsockopt(socket_, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)) < 0) {
    throw Error(errno, "setting SO_ZEROCOPY on the socket", "this kernel or protocol lacks it",
                Error::Kind::impossible);
  }
  statistics_.usage_reported = true;
}

std::error_code MsgSender::send_to(std::uint32_t /*connection*/, Frame frame,
                                   std::size_t length) noexcept {
  if (failure_) {
    return failure_;
  }
  ledger_.push(unsent_, std::move(frame), static_cast<std::uint32_t>(length));
  if (++queued_ % batch_ == 0 && blocked_ == Blocked::no) {
    start();
  }
  return failure_;
}

std::error_code MsgSender::progress() noexcept {
  reap();
  blocked_ = Blocked::no;
  start();
  return failure_;
}

std::error_code MsgSender::wait() noexcept {
  (void)progress();  // what is queued may be less than a batch
  while (!failure_ && pool_.available() == 0 && (busy() || notifications_due() > 0)) {
    sleep();
    (void)progress();
  }
  return failure_;
}

std::error_code MsgSender::finish() noexcept {
  (void)progress();
  while (!failure_ && (busy() || notifications_due() > 0)) {
    sleep();
    (void)progress();
  }
  return failure_;
}

Sender::Wakeup MsgSender::wakeup() const noexcept {
  // Notifications show as POLLERR, which is always reported.
  const short events = blocked_ == Blocked::socket_full ? POLLOUT : short{0};
  return {socket_, events};
}

void MsgSender::sleep() noexcept {
  const Wakeup wanted = wakeup();
  pollfd entry{.fd = wanted.fd, .events = wanted.events, .revents = 0};
  ++statistics_.system_calls;
  if (sys().poll(&entry, 1, -1) < 0 && errno != EINTR) {
    fail(errno);
  }
  if (entry.revents & POLLHUP) {
    // Both directions are shut: the peer is gone, what it did not acknowledge never will be.
    int code = 0;
    socklen_t size = sizeof(code);
    ::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &code, &size);
    reap();
    if (busy() || notifications_due() > 0) {
      fail(code != 0 ? code : EPIPE);
    }
  }
}

bool MsgSender::window_open() const noexcept {
  return in_flight_ < depth_ && notifications_due() < calls_.size();
}

void MsgSender::start() noexcept {
  ledger_.tick();
  while (!failure_ && !unsent_.empty() && blocked_ == Blocked::no) {
    if (window_open()) {
      send_some(unsent_.head);
    } else {
      blocked_ = Blocked::notifications_needed;
    }
  }
}

void MsgSender::send_some(std::uint32_t frame) noexcept {
  const FrameLedger::Entry& entry = ledger_[frame];
  iovec vector{&pool_.bytes(frame)[entry.sent], entry.unsent()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;

  ++statistics_.system_calls;
  const ssize_t sent = sys().sendmsg(socket_, &message, MSG_ZEROCOPY | MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) {
    ++statistics_.sends;
    statistics_.bytes += static_cast<std::uint64_t>(sent);
    calls_[next_id_++ % calls_.size()] = {.frame = frame, .notified = false};
    in_flight_ += ledger_.hold(frame) ? 1 : 0;
    statistics_.frames += ledger_.sent(unsent_, frame, static_cast<std::uint32_t>(sent));
  } else if (errno == EAGAIN) {
    blocked_ = Blocked::socket_full;
  } else if (errno == ENOBUFS && notifications_due() > 0) {
    // net.core.optmem_max bounds the notifications outstanding on a socket.
    ++statistics_.retries;
    blocked_ = Blocked::notifications_needed;
  } else if (errno != EINTR) {
    fail(errno);
  }
}

void MsgSender::reap() noexcept {
  ledger_.tick();
  while (notifications_due() > 0) {
    std::array<std::byte, 256> control;
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ++statistics_.system_calls;
    if (sys().recvmsg(socket_, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
      if (errno == EINTR) {
        continue;
      }
      if (errno != EAGAIN) {
        fail(errno);
      }
      return;
    }
    if (const sock_extended_err* range = find_notification(message)) {
      handle_notifications(range->ee_info, range->ee_data,
                           (range->ee_code & SO_EE_CODE_ZEROCOPY_COPIED) != 0);
    }
  }
}

/// Both ends are included, and the numbers wrap.
void MsgSender::handle_notifications(std::uint32_t first, std::uint32_t last,
                                     bool copied) noexcept {
  for (std::uint32_t id = first; id != last + 1; ++id) {
    Call& call = calls_[id % calls_.size()];
    call.notified = true;
    in_flight_ -= ledger_.let_go(call.frame) ? 1 : 0;
    ++statistics_.notifications;
    ++(copied ? statistics_.copied : statistics_.zero_copied);
  }
  while (notifications_due() > 0 && calls_[oldest_id_ % calls_.size()].notified) {
    ++oldest_id_;
  }
}

void MsgSender::fail(int code) noexcept {
  if (!failure_) {
    failure_ = {code, std::system_category()};
  }
}

}  // namespace dmawire
