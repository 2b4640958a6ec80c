// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// Counts, in the kernel, how often a packet's zero-copy payload was copied after all: calls of
/// skb_copy_ubufs() on the whole machine, from the construction on. Independent of the reports of
/// io_uring. Data that is copied before it becomes a packet (a device without scatter-gather) is
/// not counted.
class CopyCounter {
 public:
  /// Throws Error, of the kind `impossible`, without CAP_PERFMON or where the kernel cannot probe
  /// functions (CONFIG_KPROBE_EVENTS).
  CopyCounter();

  /// Throws Error.
  [[nodiscard]] std::uint64_t count() const;

 private:
  std::vector<UniqueFd> counters_;  ///< one for each CPU
};

}  // namespace dmawire
