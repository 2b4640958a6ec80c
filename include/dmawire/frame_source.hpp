// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>

#include <dmawire/frame_pool.hpp>

namespace dmawire {

/// A frame that a device has filled.
struct CapturedFrame {
  Frame frame;
  std::size_t length;                  ///< bytes that the device wrote
  std::uint64_t sequence;              ///< the frame's number since the start
  std::chrono::nanoseconds timestamp;  ///< when it was complete, CLOCK_MONOTONIC
  std::uint32_t lost;                  ///< frames between the one before and this one
};

/// Counters of a capture.
struct CaptureStatistics {
  std::uint64_t captured = 0;  ///< frames
  std::uint64_t bytes = 0;     ///< of these
  std::uint64_t lost = 0;      ///< frames without a queued buffer, seen by the frames after them
  std::uint64_t failed = 0;    ///< frames that went wrong
  std::uint64_t canceled = 0;  ///< frames that came back empty when the device was stopped or gone
};

/// Source of filled frames of a pool, on a ring of its own or a sender's: a device of dmawire
/// (Capture), or a camera (VideoCapture).
///
/// A frame belongs to one of user, device and network: give() takes frames out of the pool and
/// queues them to the device, next() yields them when they are filled, and the caller then holds
/// the frame until it returns to the pool.
///
///     source.give();
///     source.start(rate);
///     for (;;) {
///       while (auto captured = source.next()) {
///         sender.send(std::move(captured->frame), captured->length);
///       }
///       source.give();
///       sender.wait();
///     }
///
/// Not thread-safe but for stop(). From give() on nothing throws but start(): this is the data
/// path.
class FrameSource {
 public:
  virtual ~FrameSource() = default;
  FrameSource(const FrameSource&) = delete;
  FrameSource& operator=(const FrameSource&) = delete;

  static constexpr std::uint32_t all = ~std::uint32_t{0};

  /// Queues free frames of the pool to the device, `most` at most and never more than its queue
  /// holds. Returns the error that ended the capture, if any.
  virtual std::error_code give(std::uint32_t most) noexcept = 0;
  /// Starts the device, with the queued frames; at `rate` frames a second, or, if 0, at its own
  /// rate. Throws Error.
  virtual void start(std::uint32_t rate) = 0;
  /// The next frame that is filled, in the order of completion. Never waits.
  [[nodiscard]] virtual std::optional<CapturedFrame> next() noexcept = 0;
  /// Waits until next() may have a frame, or the capture has ended; a signal ends the wait too.
  /// With a sender it is the sender that waits, for both.
  virtual std::error_code wait() noexcept = 0;

  /// Stops the device, and queues nothing from now on. Any thread may call it, and a signal
  /// handler: queued frames complete and end waits.
  virtual void stop() noexcept = 0;
  /// Stops the device and waits until all frames have completed. Frames filled by then are still
  /// returned by next().
  virtual void finish() noexcept = 0;

  /// Frames that are queued now, to be filled.
  [[nodiscard]] virtual std::uint32_t given() const noexcept = 0;
  /// How many more may be queued, so that the device captures `count` in all.
  [[nodiscard]] std::uint32_t wanted_of(std::uint64_t count) const noexcept {
    const std::uint64_t taken = std::min(statistics().captured + given(), count);
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(count - taken, all));
  }
  /// The error that ended the capture.
  [[nodiscard]] virtual std::error_code failure() const noexcept = 0;
  [[nodiscard]] virtual const CaptureStatistics& statistics() const noexcept = 0;

 protected:
  FrameSource() = default;
};

}  // namespace dmawire
