// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace dmawire::test {

/// Every copy of a zero-copy packet's payload goes through this function of the kernel.
inline constexpr const char* copies_payload = "skb_copy_ubufs";

/// And this one sums up a packet's payload where the network card does not.
inline constexpr const char* sums_payload = "skb_checksum_help";

/// Counts calls of a kernel function with a kprobe, independent of any caller's own statistics.
/// System-wide.
class KprobeCounter {
 public:
  explicit KprobeCounter(std::string function);
  ~KprobeCounter();
  KprobeCounter(const KprobeCounter&) = delete;
  KprobeCounter& operator=(const KprobeCounter&) = delete;

  /// Calls since this was made.
  [[nodiscard]] std::uint64_t calls() const;

 private:
  std::string function_;
};

}  // namespace dmawire::test
