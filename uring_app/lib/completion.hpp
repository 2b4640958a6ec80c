// SPDX-License-Identifier: MIT
#pragma once

#include <liburing.h>

#include <cstdint>

#include <dmawire/sender.hpp>

#include "io_uring_compat.hpp"

namespace dmawire {

/// What goes into a request's user_data and comes back in its completions. A notification has a
/// user_data of its own where the kernel allows it (sqe->addr3, Linux 7.0).
struct RequestTag {
  std::uint32_t request;     ///< index of the request's record, below 2^28
  std::uint32_t sequence;    ///< which request, counted from 0 and wrapping
  std::uint32_t client = 0;  ///< whose request it is, below 8: see RingHost

  static constexpr std::uint64_t notification_bit = std::uint64_t{1} << 31;
  static constexpr unsigned client_shift = 28;
  static constexpr std::uint32_t max_clients = 8;

  [[nodiscard]] std::uint64_t pack() const noexcept {
    return std::uint64_t{sequence} << 32 | std::uint64_t{client} << client_shift | request;
  }
  [[nodiscard]] std::uint64_t pack_notification() const noexcept {
    return pack() | notification_bit;
  }
};

/// A CQE in our words: the only place that knows what its fields mean.
class Completion {
 public:
  Completion() noexcept = default;
  explicit Completion(const io_uring_cqe& cqe) noexcept
      : user_data_(cqe.user_data), result_(cqe.res), flags_(cqe.flags) {}

  [[nodiscard]] std::uint32_t request() const noexcept {
    return static_cast<std::uint32_t>(user_data_) & ((1U << RequestTag::client_shift) - 1);
  }
  [[nodiscard]] std::uint32_t client() const noexcept {
    return static_cast<std::uint32_t>(user_data_ >> RequestTag::client_shift) %
           RequestTag::max_clients;
  }
  [[nodiscard]] std::uint32_t sequence() const noexcept {
    return static_cast<std::uint32_t>(user_data_ >> 32);
  }
  /// The kernel lets go of the memory; this is not the result of the request.
  [[nodiscard]] bool notification() const noexcept { return (flags_ & IORING_CQE_F_NOTIF) != 0; }
  /// Bytes, or -errno; 0 for a notification.
  [[nodiscard]] int result() const noexcept { return notification() ? 0 : result_; }
  /// Of a notification: the kernel's "copied" flag.
  [[nodiscard]] bool flagged_copied() const noexcept {
    return notification() &&
           (static_cast<std::uint32_t>(result_) & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
  }
  /// Of a result: another CQE follows (notification, or next of a multishot).
  [[nodiscard]] bool more() const noexcept { return (flags_ & IORING_CQE_F_MORE) != 0; }
  /// Of a result: buffer() names the provided buffer used.
  [[nodiscard]] bool has_buffer() const noexcept { return (flags_ & IORING_CQE_F_BUFFER) != 0; }
  [[nodiscard]] std::uint16_t buffer() const noexcept {
    return static_cast<std::uint16_t>(flags_ >> IORING_CQE_BUFFER_SHIFT);
  }

 private:
  std::uint64_t user_data_ = 0;
  std::int32_t result_ = 0;
  std::uint32_t flags_ = 0;
};

/// Turns the kernel's "copied" flags into zero-copied, copied and merged.
///
/// Sends that share a packet are notified together: the first of them carries the verdict, the
/// others are flagged "copied" whatever happened. The kernel posts such a group in one go, first
/// one first, so a flag is taken as merged if, since the last CQE that was no notification, one of
/// an earlier send came without it. Where everything is copied nothing comes without it.
class UsageTally {
 public:
  void add(std::uint32_t sequence, bool flagged_copied, SenderStatistics& statistics) noexcept {
    if (!flagged_copied) {
      ++statistics.zero_copied;
      if (!in_run_) {
        in_run_ = true;
        first_ = sequence;
      }
      return;
    }
    // Sequences wrap: "later" is a positive distance.
    const bool later = in_run_ && static_cast<std::int32_t>(sequence - first_) > 0;
    ++(later ? statistics.merged : statistics.copied);
  }
  /// A CQE that is no notification, or the notification of a send that failed, ends the run.
  void end_run() noexcept { in_run_ = false; }

 private:
  bool in_run_ = false;
  std::uint32_t first_ = 0;
};

}  // namespace dmawire
