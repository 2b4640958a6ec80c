// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>

namespace dmawire {

/// Notified by a sender when frames leave and when they come back. It is on the data path, so its
/// functions must be quick.
///
/// Frames are named by their index in the pool, times are CLOCK_MONOTONIC's, read once for all
/// that one system call starts or brings.
class FrameObserver {
 public:
  /// The first request that names the frame is about to be handed to the kernel.
  virtual void started(std::uint32_t frame, std::chrono::nanoseconds now) noexcept = 0;
  /// All of the frame has been sent and the kernel has released it.
  virtual void done(std::uint32_t frame, std::chrono::nanoseconds now) noexcept = 0;

 protected:
  ~FrameObserver() = default;
};

}  // namespace dmawire
