// SPDX-License-Identifier: MIT
#include <dmawire/capture.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/sender.hpp>

#include "own_ring.hpp"
#include "ring_host.hpp"

namespace dmawire {
namespace {

constexpr std::size_t page = 4096;

std::size_t round_up(std::size_t length, std::size_t unit) noexcept {
  return (length + unit - 1) / unit * unit;
}

dmawire_info info_of_capturing(const Device& device) {
  const dmawire_info info = device.info();
  if ((info.out_features & DMAWIRE_FEATURE_CAPTURE) == 0) {
    throw Error(0, fmt::format("{} does not capture", device.node()),
                "`uring_app info` lists the devices and what they can do", Error::Kind::impossible);
  }
  return info;
}

/// What frames must begin at multiples of. The ABI wants pages.
std::size_t unit_of(const dmawire_info& info) noexcept {
  return std::max<std::size_t>(page, info.out_alignment);
}

}  // namespace

/// The captures under way. A frame's request is at the frame's index; it is the kernel's until the
/// completion.
class Capture::Engine final : public RingClient {
 public:
  Engine(const Device& device, FramePool& pool, std::unique_ptr<OwnRing> own, RingHost& host)
      : device_(device),
        pool_(pool),
        own_(std::move(own)),
        host_(host),
        ranges_(pool.size()),
        arrived_(pool.size()) {
    const dmawire_info info = info_of_capturing(device);
    max_given_ = info.out_max_captures;
    const std::size_t alignment = std::max(info.out_alignment, 1U);
    if (pool.frame_length() % alignment != 0 || pool.stride() % unit_of(info) != 0) {
      throw Error(0,
                  fmt::format("frames of {} bytes, {} bytes apart, are not what {} can fill",
                              pool.frame_length(), pool.stride(), device.node()),
                  fmt::format("lengths are multiples of {} and begin at multiples of {} here",
                              alignment, unit_of(info)));
    }
    for (std::uint32_t frame = 0; frame < pool.size(); ++frame) {
      dmawire_uring_capture& request = ranges_[frame].request;
      request.size = sizeof(request);
      request.length = static_cast<__u32>(pool.frame_length());
      request.offset = pool.place(frame).offset;
    }
    number_ = host_.join(*this);
    attach();
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() {
    finish();
    host_.leave(number_);
    detach();
  }

  std::error_code give(std::uint32_t most) noexcept {
    most = std::min(most, max_given_ - std::min(given_, max_given_));
    for (; most > 0 && !failure_ && !stopped_; --most) {
      std::optional<Frame> frame = pool_.take();
      if (!frame) {
        break;
      }
      submit(std::move(*frame));
    }
    return failure_;
  }

  void start(std::uint32_t rate) {
    if (const int status = host_.drive(0); status < 0) {
      throw Error(-status, "entering an io_uring");
    }
    if (failure_) {
      throw Error(failure_.value(), fmt::format("giving frames to {}", device_.node()),
                  give_advice(failure_.value()));
    }
    device_.start(rate);
  }

  std::optional<CapturedFrame> next() noexcept {
    if (arrived_count_ == 0) {
      return std::nullopt;
    }
    Range& range = ranges_[arrived_[first_arrived_]];
    first_arrived_ = first_arrived_ + 1 == arrived_.size() ? 0 : first_arrived_ + 1;
    --arrived_count_;
    CapturedFrame captured{std::move(*range.frame), range.length, range.request.out_sequence,
                           std::chrono::nanoseconds{range.request.out_timestamp},
                           range.request.out_lost};
    range.frame.reset();
    return captured;
  }

  std::error_code wait() noexcept {
    if (arrived_count_ == 0 && host_.clients_due() > 0 && !failure_) {
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
    stopped_ = true;
    if (given_ == 0) {
      (void)device_.stop();
      return;
    }
    // What was queued must have reached the device, or stopping it would not bring it back.
    int status = host_.drive(0);
    (void)device_.stop();
    while (given_ > 0 && status == 0) {
      status = host_.drive(1);
    }
  }

  void handle(Completion completion) noexcept override {
    const std::uint32_t index = completion.request();
    Range& range = ranges_[index];
    --given_;
    if (completion.result() < 0) {
      range.frame.reset();
      handle_error(-completion.result());
      return;
    }
    failed_in_a_row_ = 0;
    ++statistics_.captured;
    statistics_.bytes += static_cast<std::uint64_t>(completion.result());
    statistics_.lost += range.request.out_lost;
    range.length = static_cast<std::size_t>(completion.result());
    const std::size_t end = first_arrived_ + arrived_count_++;
    arrived_[end < arrived_.size() ? end : end - arrived_.size()] = index;
  }

  [[nodiscard]] std::uint32_t given() const noexcept { return given_; }
  [[nodiscard]] std::error_code failure() const noexcept { return failure_; }
  [[nodiscard]] const CaptureStatistics& statistics() const noexcept { return statistics_; }
  [[nodiscard]] RingHost& host() noexcept { return host_; }

 private:
  struct Range {
    dmawire_uring_capture request{};
    std::optional<Frame> frame;  ///< the device's, or filled and not taken yet
    std::size_t length = 0;
  };

  void attach() {
    try {
      for (const Buffer& buffer : pool_.buffers()) {
        indexes_.push_back(device_.attach(buffer.fd()));
      }
    } catch (...) {
      detach();
      host_.leave(number_);
      throw;
    }
    for (std::uint32_t frame = 0; frame < pool_.size(); ++frame) {
      ranges_[frame].request.index = indexes_[pool_.place(frame).buffer];
    }
  }

  void detach() noexcept {
    for (const std::uint32_t index : indexes_) {
      (void)device_.detach(index);
    }
  }

  void submit(Frame frame) noexcept {
    const std::uint32_t index = frame.index();
    Range& range = ranges_[index];
    range.frame.emplace(std::move(frame));
    ++given_;
    io_uring_sqe* const sqe = host_.next_sqe();
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, device_.fd(), &range.request, 0, 0);
    sqe->cmd_op = DMAWIRE_URING_CMD_CAPTURE;
    sqe->user_data = RequestTag{index, 0, number_}.pack();
  }

  /// A range came back empty, or was not taken.
  void handle_error(int code) noexcept {
    switch (code) {
      case ECANCELED:
        ++statistics_.canceled;
        if (!stopped_) {
          fail(code);
        }
        break;
      case ENODEV:
        ++statistics_.canceled;
        fail(code);
        break;
      case EIO:
        // One frame may go wrong. When none goes right any more, the device has failed.
        ++statistics_.failed;
        if (++failed_in_a_row_ >= pool_.size()) {
          fail(code);
        }
        break;
      case ENOMEM:
      case EAGAIN:
        // What is under way makes room when it comes back.
        if (given_ == 0) {
          fail(code);
        }
        break;
      default:
        fail(code);
    }
  }

  void fail(int code) noexcept {
    if (!failure_) {
      failure_ = {code, std::system_category()};
    }
  }

  static const char* give_advice(int code) noexcept {
    switch (code) {
      case EINVAL:
        return "the device may be unable to take frames of so many pieces: choose a smaller --size";
      case EBUSY:
        return "another program captures from it";
      case EOPNOTSUPP:
        return "the device does not capture";
      case ENODEV:
        return "the device is gone";
      default:
        return "";
    }
  }

  const Device& device_;
  FramePool& pool_;
  std::unique_ptr<OwnRing> own_;  ///< if it is no sender's
  RingHost& host_;
  std::uint32_t number_ = 0;            ///< as a client of the host
  std::vector<std::uint32_t> indexes_;  ///< by buffer: the device's name for it
  std::vector<Range> ranges_;           ///< by frame
  std::vector<std::uint32_t> arrived_;  ///< a ring of frames that are filled
  std::size_t first_arrived_ = 0;
  std::size_t arrived_count_ = 0;
  std::uint32_t given_ = 0;
  std::uint32_t max_given_ = 0;
  std::uint32_t failed_in_a_row_ = 0;
  std::atomic<bool> stopped_ = false;
  CaptureStatistics statistics_;
  std::error_code failure_;
};

Capture::Capture(const Device& device, FramePool& pool) {
  auto own = std::make_unique<OwnRing>(pool.size() + RingHost::max_watches);
  RingHost& host = *own;
  engine_ = std::make_unique<Engine>(device, pool, std::move(own), host);
}

Capture::Capture(const Device& device, FramePool& pool, Sender& sender)
    : engine_(std::make_unique<Engine>(device, pool, nullptr,
                                       RingHost::of(sender, "to capture with"))) {}

Capture::~Capture() = default;

std::error_code Capture::give(std::uint32_t most) noexcept {
  return engine_->give(most);
}

void Capture::start(std::uint32_t rate) {
  engine_->start(rate);
}

std::optional<CapturedFrame> Capture::next() noexcept {
  return engine_->next();
}

std::error_code Capture::wait() noexcept {
  return engine_->wait();
}

void Capture::stop() noexcept {
  engine_->stop();
}

void Capture::finish() noexcept {
  engine_->finish();
}

std::uint32_t Capture::given() const noexcept {
  return engine_->given();
}

std::error_code Capture::failure() const noexcept {
  return engine_->failure();
}

const CaptureStatistics& Capture::statistics() const noexcept {
  return engine_->statistics();
}

RingHost& Capture::ring_host() noexcept {
  return engine_->host();
}

FramePool make_capture_pool(const Device& device, std::uint32_t frames, std::size_t frame_length,
                            Backing backing) {
  const dmawire_info info = info_of_capturing(device);
  const std::size_t length = round_up(frame_length, std::max(info.out_alignment, 1U));
  const std::size_t stride = round_up(length, unit_of(info));
  const std::size_t in_a_buffer =
      std::clamp<std::size_t>(usual_length(backing) / stride, 1, std::max(frames, 1U));
  // A device that takes few pieces may not get them from single pages.
  const Layout layout = info.out_max_segments < length / page
                            ? Layout::folios
                            : usual_layout(Exporter::dmawire, length);
  std::vector<Buffer> buffers;
  for (std::size_t room = 0; room < frames; room += in_a_buffer) {
    buffers.push_back(
        make_buffer(device, backing, in_a_buffer * stride, DMAWIRE_FROM_DEVICE, layout));
  }
  return {std::move(buffers), length, frames, stride};
}

}  // namespace dmawire
