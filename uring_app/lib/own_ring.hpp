// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ring_host.hpp"

namespace dmawire {

/// A ring for its clients alone, without a sender.
class OwnRing final : public RingHost {
 public:
  /// Throws Error.
  explicit OwnRing(std::uint32_t requests) : ring_(requests, 2 * requests) {}

  [[nodiscard]] int drive(unsigned wait_for) noexcept override {
    const int status = ring_.submit_and_wait(wait_for);
    ring_.for_each_completion([this](Completion completion) noexcept { dispatch(completion); });
    return status;
  }

 private:
  [[nodiscard]] Ring& ring() noexcept override { return ring_; }

  Ring ring_;
};

}  // namespace dmawire
