// SPDX-License-Identifier: MIT
#include <dmawire/video_capture.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <limits>
#include <utility>
#include <vector>

#include <dmawire/cpu_access.hpp>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/read_watch.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/video_device.hpp>

#include "own_ring.hpp"
#include "ring_host.hpp"

namespace dmawire {
namespace {

const char* start_advice(int code) noexcept {
  switch (code) {
    case EBUSY:
      return "another program captures from it";
    case EPIPE:
    case ENOLINK:
      return "what feeds it is not set up for this format (media-ctl)";
    case ENOSPC:
      return "its bus has no room for so much: choose a smaller size or a lower --rate";
    default:
      return "";
  }
}

std::vector<Buffer> make_frames(const Device& device, Backing backing, std::size_t length,
                                std::uint32_t count) {
  const Layout layout = usual_layout(Exporter::dmawire, length);
  std::vector<Buffer> frames;
  while (frames.size() < count) {
    frames.push_back(make_buffer(device, backing, length, DMAWIRE_FROM_DEVICE, layout));
  }
  return frames;
}

/// What the camera answers to being given them; after that it has none.
std::error_code refusal_of(const VideoDevice& video, const std::vector<Buffer>& frames) {
  std::error_code refusal;
  for (std::uint32_t i = 0; i < frames.size() && !refusal; ++i) {
    refusal = video.queue(i, frames[i]);
  }
  (void)video.stop();
  return refusal;
}

}  // namespace

/// Frame i of the pool is buffer i of the camera, so that it is mapped for the camera once.
class VideoCapture::Engine {
 public:
  static std::unique_ptr<Engine> with_own_ring(const VideoDevice& device, FramePool& pool) {
    auto own = std::make_unique<OwnRing>(requests);
    RingHost& host = *own;
    return std::make_unique<Engine>(device, pool, std::move(own), host);
  }
  Engine(const VideoDevice& device, FramePool& pool, std::unique_ptr<OwnRing> own, RingHost& host)
      : device_(device),
        pool_(pool),
        own_(std::move(own)),
        host_(host),
        frames_(pool.size()),
        accesses_(pool.size()) {
    arrived_.reserve(pool.size());
    check_pool();
    if (const std::uint32_t count = device.request_buffers(pool.size()); count < pool.size()) {
      device.release_buffers();
      throw Error(
          0, fmt::format("{} takes {} frames, the pool has {}", device.node(), count, pool.size()));
    }
    try {
      watch_.emplace(host_, device.fd());
    } catch (...) {
      device.release_buffers();
      throw;
    }
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() {
    finish();
    device_.release_buffers();
  }

  std::error_code give(std::uint32_t most) noexcept {
    last_ = most == all ? endless : statistics_.captured + given() + most;
    while (statistics_.captured < last_ && !failure_ && !stopped_) {
      std::optional<Frame> frame = pool_.take();
      if (!frame) {
        break;
      }
      hand_over(std::move(*frame));
    }
    watch();
    return failure_;
  }

  void start(std::uint32_t rate) {
    if (failure_) {
      throw Error(failure_.value(), fmt::format("giving frames to {}", device_.node()));
    }
    if (rate > 0) {
      device_.set_rate(rate);
    }
    if (const std::error_code error = device_.start()) {
      throw Error(error.value(), fmt::format("starting {}", device_.node()),
                  start_advice(error.value()));
    }
    started_ = true;
    watch();
  }

  std::optional<CapturedFrame> next() noexcept {
    if (first_arrived_ < arrived_.size()) {
      return std::move(arrived_[first_arrived_++]);
    }
    if (!watch_ || watch_->armed()) {
      return std::nullopt;
    }
    std::optional<CapturedFrame> captured = take_filled();
    if (!captured) {
      watch();
    }
    return captured;
  }

  std::error_code wait() noexcept {
    if (watch_ && watch_->armed() && !failure_) {
      if (const int status = host_.drive(1); status < 0) {
        fail(-status);
      }
    }
    return failure_;
  }

  void stop() noexcept {
    stopped_ = true;
    (void)device_.stop();
  }

  void finish() noexcept {
    while (std::optional<CapturedFrame> captured = take_filled()) {
      arrived_.push_back(std::move(*captured));
    }
    stop();
    watch_.reset();
    for (std::optional<Frame>& frame : frames_) {
      if (frame) {
        ++statistics_.canceled;
        frame.reset();
      }
    }
    queued_ = 0;
  }

  [[nodiscard]] std::uint32_t given() const noexcept {
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(queued_, last_ - statistics_.captured));
  }
  [[nodiscard]] std::error_code failure() const noexcept { return failure_; }
  [[nodiscard]] const CaptureStatistics& statistics() const noexcept { return statistics_; }

 private:
  static constexpr std::uint64_t endless = std::numeric_limits<std::uint64_t>::max();

  void check_pool() const {
    bool fits = pool_.frame_length() >= device_.format().length;
    for (std::uint32_t frame = 0; frame < pool_.size(); ++frame) {
      fits = fits && pool_.place(frame).buffer == frame && pool_.place(frame).offset == 0;
    }
    if (!fits) {
      throw Error(
          0,
          fmt::format("frames of {} bytes are not what {} can fill", pool_.frame_length(),
                      device_.node()),
          fmt::format("each is a buffer of its own here, of {} bytes", device_.format().length));
    }
  }

  void hand_over(Frame frame) noexcept {
    const std::uint32_t index = frame.index();
    accesses_[index].reset();
    if (const std::error_code error = device_.queue(index, frame.buffer())) {
      fail(error.value());
      return;
    }
    frames_[index].emplace(std::move(frame));
    ++queued_;
  }

  /// The next frame that the camera has filled and that is good.
  std::optional<CapturedFrame> take_filled() noexcept {
    VideoDevice::Filled filled{};
    while (started_ && given() > 0) {
      if (const std::error_code error = device_.dequeue(filled)) {
        // Whoever stopped it knows.
        if (error.value() != EAGAIN && !stopped_) {
          fail(error.value());
        }
        break;
      }
      --queued_;
      Frame frame = std::move(*frames_[filled.index]);
      frames_[filled.index].reset();
      count_lost(filled.sequence);
      if (filled.damaged) {
        count_damaged();
        continue;
      }
      if (filled.offset != 0) {
        fail(EOPNOTSUPP);
        break;
      }
      // V4L2 leaves it to the exporter, and to us, that the CPU and the network see what is there.
      if (accesses_[filled.index].emplace(frame.buffer(), CpuAccess::Intent::read).error()) {
        count_damaged();
        continue;
      }
      failed_in_a_row_ = 0;
      ++statistics_.captured;
      statistics_.bytes += filled.length;
      return CapturedFrame{std::move(frame), filled.length, filled.sequence, filled.timestamp,
                           std::exchange(lost_, 0)};
    }
    return std::nullopt;
  }

  /// Numbers wrap, and those of some drivers stand still.
  void count_lost(std::uint32_t sequence) noexcept {
    const std::uint32_t gap = sequence - next_sequence_;
    if (static_cast<std::int32_t>(gap) > 0) {
      lost_ += gap;
      statistics_.lost += gap;
    }
    next_sequence_ = sequence + 1;
  }

  /// One frame may go wrong. When none goes right any more, the camera has failed.
  void count_damaged() noexcept {
    ++statistics_.failed;
    if (++failed_in_a_row_ >= pool_.size()) {
      fail(EIO);
    }
  }

  /// Has the ring tell when there is something to take: with one request for one wake-up, which
  /// goes along with a system call that is made anyway. It looks before it waits, so nothing is
  /// missed, and the ring's completions stay bounded, unlike those of a multishot poll.
  void watch() noexcept {
    if (watch_ && started_ && !stopped_ && given() > 0 && !failure_) {
      watch_->arm();
    }
  }

  void fail(int code) noexcept {
    if (!failure_) {
      failure_ = {code, std::system_category()};
    }
  }

  const VideoDevice& device_;
  FramePool& pool_;
  std::unique_ptr<OwnRing> own_;  ///< if it is no sender's
  RingHost& host_;
  std::optional<ReadWatch> watch_;                  ///< until finish()
  std::vector<std::optional<Frame>> frames_;        ///< the camera's, by index
  std::vector<std::optional<CpuAccess>> accesses_;  ///< from taking a frame to giving it
  std::vector<CapturedFrame> arrived_;              ///< taken by finish()
  std::size_t first_arrived_ = 0;
  std::uint32_t queued_ = 0;
  std::uint64_t last_ = 0;  ///< frame that is wanted
  std::uint32_t next_sequence_ = 0;
  std::uint32_t lost_ = 0;  ///< since the last frame that was good
  std::uint32_t failed_in_a_row_ = 0;
  bool started_ = false;
  std::atomic<bool> stopped_ = false;
  CaptureStatistics statistics_;
  std::error_code failure_;
};

VideoCapture::VideoCapture(const VideoDevice& device, FramePool& pool)
    : engine_(Engine::with_own_ring(device, pool)) {}

VideoCapture::VideoCapture(const VideoDevice& device, FramePool& pool, Sender& sender)
    : engine_(std::make_unique<Engine>(device, pool, nullptr,
                                       RingHost::of(sender, "to capture with"))) {}

VideoCapture::~VideoCapture() = default;

std::error_code VideoCapture::give(std::uint32_t most) noexcept {
  return engine_->give(most);
}

void VideoCapture::start(std::uint32_t rate) {
  engine_->start(rate);
}

std::optional<CapturedFrame> VideoCapture::next() noexcept {
  return engine_->next();
}

std::error_code VideoCapture::wait() noexcept {
  return engine_->wait();
}

void VideoCapture::stop() noexcept {
  engine_->stop();
}

void VideoCapture::finish() noexcept {
  engine_->finish();
}

std::uint32_t VideoCapture::given() const noexcept {
  return engine_->given();
}

std::error_code VideoCapture::failure() const noexcept {
  return engine_->failure();
}

const CaptureStatistics& VideoCapture::statistics() const noexcept {
  return engine_->statistics();
}

FramePool make_video_pool(const VideoDevice& video, std::uint32_t frames, Backing backing) {
  const Device device;
  const std::size_t length = video.format().length;
  const std::uint32_t count = video.request_buffers(frames);
  std::vector<Buffer> buffers;
  std::error_code refusal;
  try {
    buffers = make_frames(device, backing, length, count);
    refusal = refusal_of(video, buffers);
    // A camera may want frames in one piece; by chance some of them lie so.
    if (refusal && backing == Backing::pages) {
      backing = Backing::contig;
      buffers.clear();
      buffers = make_frames(device, backing, length, count);
      refusal = refusal_of(video, buffers);
    }
  } catch (...) {
    video.release_buffers();
    throw;
  }
  video.release_buffers();
  if (refusal) {
    throw Error(refusal.value(),
                fmt::format("{} does not take frames of {} bytes of --backing {}", video.node(),
                            length, name(backing)),
                backing == Backing::contig ? "the kernel's log may tell why (dmesg)"
                                           : "many devices want one piece: --backing contig",
                Error::Kind::impossible);
  }
  return FramePool::one_in_each(std::move(buffers), length, 0);
}

}  // namespace dmawire
