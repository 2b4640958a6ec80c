// SPDX-License-Identifier: MIT
#include "completion.hpp"

#include "io_uring_compat.hpp"

namespace dmawire {

Completion parse(const io_uring_cqe& cqe) noexcept {
  const bool notification = cqe.flags & IORING_CQE_F_NOTIF;
  const auto flags = static_cast<std::uint32_t>(cqe.res);
  return {
      .tag = {.request = static_cast<std::uint32_t>(cqe.user_data & ~RequestTag::notification_bit),
              .sequence = static_cast<std::uint32_t>(cqe.user_data >> 32)},
      .result = notification ? 0 : cqe.res,
      .notification = notification,
      .flagged_copied = notification && (flags & IORING_NOTIF_USAGE_ZC_COPIED),
      .more = (cqe.flags & IORING_CQE_F_MORE) != 0,
      .has_buffer = (cqe.flags & IORING_CQE_F_BUFFER) != 0,
      .buffer = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT),
  };
}

void UsageTally::add(std::uint32_t sequence, bool flagged_copied,
                     SenderStatistics& statistics) noexcept {
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

}  // namespace dmawire
