// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <dmawire/frame_source.hpp>
#include <dmawire/sender.hpp>

#include "frame_latency.hpp"

namespace dmawire::commands {

/// Each second a line on standard error that tells how a device's frames fare: one that is drawn
/// anew if that is a terminal, else only if asked for.
class StreamProgress {
 public:
  explicit StreamProgress(bool asked_for);
  ~StreamProgress();
  StreamProgress(const StreamProgress&) = delete;
  StreamProgress& operator=(const StreamProgress&) = delete;

  void update(const CaptureStatistics& capture, const SenderStatistics& sender,
              std::uint64_t recorded_bytes, const FrameLatency& latency);

 private:
  using Clock = std::chrono::steady_clock;

  const bool drawn_anew_;
  const bool visible_;
  Clock::time_point last_ = Clock::now();
  std::uint64_t last_bytes_ = 0;
};

}  // namespace dmawire::commands
