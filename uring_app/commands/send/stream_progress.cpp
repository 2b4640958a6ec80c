// SPDX-License-Identifier: MIT
#include "stream_progress.hpp"

#include <fmt/format.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "../units.hpp"

namespace dmawire::commands {
namespace {

constexpr std::chrono::seconds interval{1};

/// Has a signal end the waits of the program every second, or none.
void tick_every(std::chrono::seconds period) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &action, nullptr);
  itimerval timer{};
  timer.it_value.tv_sec = timer.it_interval.tv_sec = period.count();
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

std::string describe(const Histogram& histogram) {
  const auto microseconds = [](std::chrono::nanoseconds duration) {
    return duration.count() / 1000;
  };
  return fmt::format("{}/{}/{} us", microseconds(histogram.percentile(50)),
                     microseconds(histogram.percentile(99)), microseconds(histogram.max()));
}

}  // namespace

StreamProgress::StreamProgress(bool asked_for)
    : drawn_anew_(::isatty(STDERR_FILENO) == 1 && !asked_for), visible_(asked_for || drawn_anew_) {
  if (visible_) {
    tick_every(interval);
  }
}

StreamProgress::~StreamProgress() {
  if (visible_) {
    tick_every({});
  }
  if (drawn_anew_) {
    fmt::print(stderr, "\r\x1b[K");
  }
}

void StreamProgress::update(const CaptureStatistics& capture, const SenderStatistics& sender,
                            std::uint64_t recorded_bytes, const FrameLatency& latency) {
  if (!visible_) {
    return;
  }
  const Clock::time_point now = Clock::now();
  if (now - last_ < interval) {
    return;
  }
  const double seconds = std::chrono::duration<double>(now - last_).count();
  const auto rate =
      static_cast<std::uint64_t>(static_cast<double>(sender.bytes - last_bytes_) / seconds);
  last_ = now;
  last_bytes_ = sender.bytes;
  fmt::print(
      stderr,
      "{}{} captured, {} sent, {} recorded, {} lost, {} failed, {}/s; p50/p99/max until sent "
      "{}, until let go {}{}",
      drawn_anew_ ? "\r" : "", capture.captured, sender.frames, format_size(recorded_bytes),
      capture.lost, capture.failed, format_size(rate), describe(latency.to_send()),
      describe(latency.to_done()), drawn_anew_ ? "\x1b[K" : "\n");
  std::fflush(stderr);
}

}  // namespace dmawire::commands
