// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <dmawire/frame_observer.hpp>
#include <vector>

#include "histogram.hpp"

namespace dmawire::commands {

/// How long frames take from their completion by the device to the request that sends them, and to
/// the moment at which the kernel has let go of them.
class FrameLatency final : public FrameObserver {
 public:
  explicit FrameLatency(std::uint32_t frames) : completed_(frames) {}

  /// The device completed a frame, of this index in its pool, at `timestamp`.
  void captured(std::uint32_t frame, std::chrono::nanoseconds timestamp) noexcept {
    completed_[frame] = timestamp;
  }
  void started(std::uint32_t frame, std::chrono::nanoseconds now) noexcept override {
    to_send_.add(now - completed_[frame]);
  }
  void done(std::uint32_t frame, std::chrono::nanoseconds now) noexcept override {
    to_done_.add(now - completed_[frame]);
  }

  [[nodiscard]] const Histogram& to_send() const noexcept { return to_send_; }
  [[nodiscard]] const Histogram& to_done() const noexcept { return to_done_; }

 private:
  std::vector<std::chrono::nanoseconds> completed_;  ///< by frame
  Histogram to_send_;
  Histogram to_done_;
};

}  // namespace dmawire::commands
