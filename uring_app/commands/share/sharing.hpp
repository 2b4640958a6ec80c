// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <dmawire/frame_pool.hpp>
#include <dmawire/share_server.hpp>

#include "../stop_signal.hpp"
#include "options.hpp"
#include "report.hpp"

namespace dmawire::commands {

/// Shares what a device captures until there are as many frames as were asked for, a signal comes,
/// or the device fails. Throws Error where it cannot begin.
[[nodiscard]] ShareReport share_device(const ShareOptions& options);

/// Shares a file, or standard input, as fast as its fastest client takes it; waits while there is
/// none. Throws Error where it cannot begin or the input cannot be read.
[[nodiscard]] ShareReport share_file(const ShareOptions& options);

/// What both have in common.
class Sharing {
 public:
  /// The pool must outlive it. Throws Error.
  Sharing(const ShareOptions& options, FramePool& pool);

  ShareServer& server() noexcept { return server_; }
  StopSignal& stop() noexcept { return stop_; }

  /// Tells clients that this is the end and waits until all frames are home, or for a signal.
  void finish(dmawire_share_reason reason);
  [[nodiscard]] ShareReport report() const;

 private:
  using Clock = std::chrono::steady_clock;

  FramePool& pool_;
  ShareServer server_;
  StopSignal stop_;
  const Clock::time_point start_ = Clock::now();
};

/// Bytes of a frame, if nobody says otherwise.
constexpr std::uint64_t usual_frame = 64UL * 1024;

}  // namespace dmawire::commands
