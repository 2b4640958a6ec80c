// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <thread>

namespace dmawire::test {

/// Waits until @p condition is true; false if it is not within a minute. For work in the
/// background, which takes milliseconds, or seconds in a guest that waits for its host.
template <typename Condition>
[[nodiscard]] bool eventually(const Condition& condition) {
  using namespace std::chrono_literals;
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

}  // namespace dmawire::test
