// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <string>
#include <utility>
#include <vector>

#include <dmawire/unique_fd.hpp>

namespace dmawire::test {

/// Makes the kernel's slab allocations, page allocations and copies from and to user memory fail,
/// one at a time and for the calling thread only. While it lives all of these places count, with
/// any GFP flags.
class FaultInjection {
 public:
  FaultInjection();
  ~FaultInjection();
  FaultInjection(const FaultInjection&) = delete;
  FaultInjection& operator=(const FaultInjection&) = delete;

  /// Why this kernel cannot do it, or empty.
  [[nodiscard]] const std::string& missing() const noexcept { return missing_; }

  /// Calls @p body and lets the @p nth place that it comes by fail; whether there were so many.
  /// @p body must not touch memory for the first time: that would count.
  template <std::invocable Body>
  bool fail_nth(unsigned nth, Body body) {
    arm(nth);
    body();
    return disarm();
  }

 private:
  void arm(unsigned nth);
  bool disarm();
  void set(const std::string& knob, const std::string& value);

  std::string missing_;
  UniqueFd nth_;
  std::vector<std::pair<std::string, std::string>> before_;
};

}  // namespace dmawire::test
