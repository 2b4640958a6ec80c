// SPDX-License-Identifier: MIT
#pragma once

#include <liburing.h>

#include <cstdint>

#include <dmawire/sender.hpp>

namespace dmawire {

/// What goes into a request's user_data and comes back in its completions. A notification has a
/// user_data of its own where the kernel allows it (sqe->addr3, Linux 7.0).
struct RequestTag {
  std::uint32_t request;   ///< index of the request's record, below 2^31
  std::uint32_t sequence;  ///< which request, counted from 0 and wrapping

  static constexpr std::uint64_t notification_bit = std::uint64_t{1} << 31;

  [[nodiscard]] std::uint64_t pack() const noexcept {
    return std::uint64_t{sequence} << 32 | request;
  }
  [[nodiscard]] std::uint64_t pack_notification() const noexcept {
    return pack() | notification_bit;
  }
};

/// A CQE in our words.
struct Completion {
  RequestTag tag;
  int result;           ///< bytes, or -errno; 0 for a notification
  bool notification;    ///< the kernel lets go of the memory; not the result of the request
  bool flagged_copied;  ///< of a notification: the kernel's "copied" flag
  bool more;            ///< of a result: another CQE follows (notification, or next of a multishot)
  bool has_buffer;      ///< of a result: `buffer` names the provided buffer used
  std::uint16_t buffer;
};

[[nodiscard]] Completion parse(const io_uring_cqe& cqe) noexcept;

/// Turns the kernel's "copied" flags into zero-copied, copied and merged.
///
/// Sends that share a packet are notified together: the first of them carries the verdict, the
/// others are flagged "copied" whatever happened. The kernel posts such a group in one go, first
/// one first, so a flag is taken as merged if, since the last CQE that was no notification, one of
/// an earlier send came without it. Where everything is copied nothing comes without it.
class UsageTally {
 public:
  void add(std::uint32_t sequence, bool flagged_copied, SenderStatistics& statistics) noexcept;
  /// A CQE that is no notification, or the notification of a send that failed, ends the run.
  void end_run() noexcept { in_run_ = false; }

 private:
  bool in_run_ = false;
  std::uint32_t first_ = 0;
};

}  // namespace dmawire
