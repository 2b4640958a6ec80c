// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>

#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/frame_source.hpp>

namespace dmawire {

class Device;
class RingHost;
class Sender;

/// Has a device of dmawire's fill the frames of a pool, as FrameSource says.
///
/// A frame is queued by an io_uring request and dequeued by its completion. The ring may be a
/// sender's: one system call then serves the device, the network and both waits. The device gets
/// queued frames with the next system call of the ring.
///
/// Errors as in uapi.h: ENODEV (the device is gone), EIO (it failed, not for one frame only),
/// ECANCELED (it was stopped by another caller), and errors for invalid arguments.
class Capture final : public FrameSource {
 public:
  /// On a ring of its own. Device and pool must outlive it. Throws Error: also if frames do not
  /// begin and end as the device wants it, see make_capture_pool().
  Capture(const Device& device, FramePool& pool);
  /// On the ring of a sender from the same pool, which must outlive it too and have room for as
  /// many requests of a guest as the pool has frames. Throws Error, of the kind `impossible` if the
  /// sender has no ring (`msg`).
  Capture(const Device& device, FramePool& pool, Sender& sender);
  /// Stops the device, waits until all frames have completed, and detaches the buffers.
  ~Capture() override;

  std::error_code give(std::uint32_t most = all) noexcept override;
  void start(std::uint32_t rate = 0) override;
  [[nodiscard]] std::optional<CapturedFrame> next() noexcept override;
  /// A ReadWatch on its ring ends the wait too.
  std::error_code wait() noexcept override;
  void stop() noexcept override;
  void finish() noexcept override;
  [[nodiscard]] std::uint32_t given() const noexcept override;
  [[nodiscard]] std::error_code failure() const noexcept override;
  [[nodiscard]] const CaptureStatistics& statistics() const noexcept override;

  /// The library's own: the ring for others to take part in.
  [[nodiscard]] RingHost& ring_host() noexcept;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

/// A pool of frames that the device can fill: page-aligned, and aligned as the device demands.
/// `frame_length` is rounded up to the device's alignment. Throws Error, of the kind `impossible`
/// if the device does not capture, or the machine cannot provide the memory.
[[nodiscard]] FramePool make_capture_pool(const Device& device, std::uint32_t frames,
                                          std::size_t frame_length,
                                          Backing backing = Backing::pages);

}  // namespace dmawire
