// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>

#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>

namespace dmawire {

class Device;
class RingHost;
class Sender;

/// A frame that a device has filled.
struct CapturedFrame {
  Frame frame;
  std::size_t length;                  ///< bytes that the device wrote
  std::uint64_t sequence;              ///< the frame's number since the start
  std::chrono::nanoseconds timestamp;  ///< when it was complete, CLOCK_MONOTONIC
  std::uint32_t lost;                  ///< frames between the one before and this one
};

/// What a capture has done so far.
struct CaptureStatistics {
  std::uint64_t captured = 0;  ///< frames
  std::uint64_t bytes = 0;     ///< of those
  std::uint64_t lost = 0;    ///< frames that the device had no room for, seen by those behind them
  std::uint64_t failed = 0;  ///< frames that went wrong
  std::uint64_t canceled = 0;  ///< frames that came back empty when the device was stopped or gone
};

/// Has a device fill the frames of a pool.
///
/// A frame belongs to one of user, device and network: give() takes frames out of the pool and
/// hands them to the device, next() yields them when they are filled, and whoever is given such a
/// frame is its holder until it returns to the pool. Giving is a request of an io_uring and taking
/// its completion, and that ring may be a sender's: then one system call does for the device, for
/// the network and for both waits.
///
///     capture.give();
///     capture.start();
///     for (;;) {
///       while (auto captured = capture.next()) {
///         sender.send(std::move(captured->frame), captured->length);
///       }
///       capture.give();
///       sender.wait();
///     }
///
/// Not thread-safe but for stop(). From give() on nothing throws but start(): this is the data
/// path. Errors are those of uapi.h: ENODEV (the device is gone), EIO (it failed, and not for one
/// frame only), ECANCELED (somebody else stopped it), and those of what was asked wrongly.
class Capture {
 public:
  /// On a ring of its own. Device and pool must outlive it. Throws Error: also if frames do not
  /// begin and end as the device wants it, see make_capture_pool().
  Capture(const Device& device, FramePool& pool);
  /// On the ring of a sender from the same pool, which must outlive it too and have room for as
  /// many requests of a guest as the pool has frames. Throws Error, of the kind `impossible` if the
  /// sender has no ring (`msg`).
  Capture(const Device& device, FramePool& pool, Sender& sender);
  /// Stops the device, waits until it has given everything back, and detaches the buffers.
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  static constexpr std::uint32_t all = ~std::uint32_t{0};

  /// Hands free frames of the pool to the device, `most` at most and never more than it takes. They
  /// are its own with the next system call of the ring. Answers the error that ended the capture,
  /// if one has.
  std::error_code give(std::uint32_t most = all) noexcept;
  /// Lets the device begin, with what was given; `rate` frames a second, or as many as it pleases.
  /// Throws Error.
  void start(std::uint32_t rate = 0);
  /// The next frame that is filled, in the order of completion. Never waits.
  [[nodiscard]] std::optional<CapturedFrame> next() noexcept;
  /// Waits until next() has a frame, or the capture has ended; a signal ends the wait too, and so
  /// does a ReadWatch on its ring. With a sender it is the sender that waits, for both.
  std::error_code wait() noexcept;

  /// Stops the device, and gives it nothing from now on. Any thread may call it, and a signal
  /// handler: what the device had comes back and ends waits.
  void stop() noexcept;
  /// Stops the device and waits until everything is back. What was filled by then is still there
  /// for next().
  void finish() noexcept;

  /// Frames that are the device's now.
  [[nodiscard]] std::uint32_t given() const noexcept;
  /// Why nothing more comes.
  [[nodiscard]] std::error_code failure() const noexcept;
  [[nodiscard]] const CaptureStatistics& statistics() const noexcept;

  /// The library's own: the ring for others to take part in.
  [[nodiscard]] RingHost& ring_host() noexcept;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

/// A pool of frames that the device can fill: they begin on pages, and on what else it demands.
/// `frame_length` is rounded up to the device's alignment. Throws Error, of the kind `impossible`
/// if the device does not capture, or the machine has no such memory.
[[nodiscard]] FramePool make_capture_pool(const Device& device, std::uint32_t frames,
                                          std::size_t frame_length,
                                          Backing backing = Backing::pages);

}  // namespace dmawire
