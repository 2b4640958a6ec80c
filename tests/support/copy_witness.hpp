// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace dmawire::test {

/// Counts how often the kernel copied the payload of a zero-copy packet, without asking the sender:
/// a kprobe on skb_copy_ubufs(), through which every such copy goes. System-wide.
class CopyWitness {
 public:
  CopyWitness();
  ~CopyWitness();
  CopyWitness(const CopyWitness&) = delete;
  CopyWitness& operator=(const CopyWitness&) = delete;

  /// Copies since this was made.
  [[nodiscard]] std::uint64_t copies() const;
};

}  // namespace dmawire::test
