// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>

#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/frame_source.hpp>
#include <dmawire/read_watch.hpp>

namespace dmawire {

class Sender;
class VideoDevice;

/// Has a camera fill the frames of a pool, as FrameSource says.
///
/// give() and next() queue and dequeue frames by V4L2's ioctls. The wait is a request to poll the
/// node on an io_uring. The ring may be a sender's: one system call then waits for the camera and
/// the network. The camera does not write to a frame that the network holds: the frame is queued
/// again once it is back in its pool. Some cameras begin only with several frames: all frames are
/// queued to them, and no more are dequeued than give() was asked to queue.
///
/// Errors: ENODEV (the camera is gone), EPIPE (its stream has ended), EIO (it failed, and not for
/// one frame only), EOPNOTSUPP (frames do not begin where their memory does), and V4L2's errors
/// for a frame that it does not accept.
class VideoCapture final : public FrameSource {
 public:
  /// Requests that it has on its ring at a time.
  static constexpr std::uint32_t requests = ReadWatch::max_requests;

  /// On a ring of its own. Device and pool must outlive it. Throws Error: also if the device does
  /// not take the pool's frames, see make_video_pool().
  VideoCapture(const VideoDevice& device, FramePool& pool);
  /// On the ring of a sender from the same pool, which must outlive it too and have room for
  /// `requests` of a guest. Throws Error, of the kind `impossible` if the sender has no ring
  /// (`msg`).
  VideoCapture(const VideoDevice& device, FramePool& pool, Sender& sender);
  /// Stops the camera and has it release the pool's memory.
  ~VideoCapture() override;

  std::error_code give(std::uint32_t most = all) noexcept override;
  void start(std::uint32_t rate = 0) override;
  [[nodiscard]] std::optional<CapturedFrame> next() noexcept override;
  std::error_code wait() noexcept override;
  /// V4L2 drops filled frames that are not dequeued by then; finish() dequeues them first.
  void stop() noexcept override;
  void finish() noexcept override;
  [[nodiscard]] std::uint32_t given() const noexcept override;
  [[nodiscard]] std::error_code failure() const noexcept override;
  [[nodiscard]] const CaptureStatistics& statistics() const noexcept override;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

/// A pool of up to `frames` frames that the camera can fill in its present format, and as many as
/// it takes: each is a dma-buf of its own. Where `backing` is `pages` and the camera demands memory
/// in one piece, it is `contig`. Throws Error, of the kind `impossible` if the camera takes no such
/// memory, or the machine cannot provide it.
[[nodiscard]] FramePool make_video_pool(const VideoDevice& device, std::uint32_t frames,
                                        Backing backing = Backing::pages);

}  // namespace dmawire
