// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <dmawire/unique_fd.hpp>

#include "fake_sys.hpp"

namespace dmawire::test {

/// A V4L2 camera in user space: it answers the library's ioctls, and its node is an eventfd, which
/// can be polled. It fills memfds; requests for dma-bufs are answered with memfds, too. One at a
/// time.
class FakeCamera {
 public:
  static constexpr std::uint32_t width = 40;
  static constexpr std::uint32_t height = 30;
  static constexpr std::size_t frame_length = std::size_t{2} * width * height;

  FakeCamera() {
    state() = {};
    fake_->open = [](const char*, int) { return ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); };
    fake_->ioctl = ioctl;
  }
  ~FakeCamera() { state() = {}; }
  FakeCamera(const FakeCamera&) = delete;
  FakeCamera& operator=(const FakeCamera&) = delete;

  struct State {
    std::uint32_t capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
    std::uint32_t rate_capability = V4L2_CAP_TIMEPERFRAME;
    std::uint32_t max_buffers = 8;
    std::uint32_t least_buffers = 2;
    std::uint32_t pixels = V4L2_PIX_FMT_YUYV;
    std::uint8_t memory_planes = 1;
    std::uint32_t timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    std::uint32_t sequence = 0;
    std::uint32_t data_offset = 0;          ///< of the frames to come
    unsigned damaged = 0;                   ///< the next frames
    bool wants_one_piece = false;           ///< it accepts only contiguous buffers
    unsigned by_chance = 0;                 ///< the next buffers are contiguous, with any backing
    std::map<unsigned long, int> refusals;  ///< the error of every ioctl of this number

    int node = -1;  ///< as it was seen last
    std::uint32_t buffers = 0;
    std::uint32_t rate = 0;
    bool streaming = false;
    unsigned imports = 0;              ///< of buffers other than the one before
    unsigned syncs = 0;                ///< accesses of the CPU under way
    std::map<std::uint32_t, int> fds;  ///< by buffer
    std::vector<int> contiguous;       ///< dma-bufs that are
    std::deque<std::uint32_t> queued;
    std::deque<v4l2_buffer> done;
    std::map<std::uint32_t, v4l2_plane> planes;  ///< of the completed buffers, by index
  };
  static State& state() {
    static State the_state;
    return the_state;
  }

  /// Makes frames: their bytes are their number. Frames without a queued buffer are lost.
  static void make(unsigned frames) {
    State& now = state();
    for (; frames > 0; --frames, ++now.sequence) {
      if (now.streaming && !now.queued.empty()) {
        const std::uint32_t index = now.queued.front();
        now.queued.pop_front();
        fill(index);
      }
    }
  }

 private:
  static bool multi_planar() { return (state().capabilities & V4L2_CAP_VIDEO_CAPTURE_MPLANE) != 0; }

  static void fill(std::uint32_t index) {
    State& now = state();
    const std::string bytes(frame_length, static_cast<char>(now.sequence));
    if (::pwrite(now.fds.at(index), bytes.data(), bytes.size(), 0) < 0) {
      std::abort();
    }
    v4l2_buffer buffer{};
    buffer.index = index;
    buffer.sequence = now.sequence;
    buffer.timestamp = {.tv_sec = 2, .tv_usec = now.sequence};
    buffer.flags = now.timestamp_flags;
    if (now.damaged > 0) {
      --now.damaged;
      buffer.flags |= V4L2_BUF_FLAG_ERROR;
    }
    buffer.bytesused = frame_length;
    now.planes[index].bytesused = frame_length;
    now.planes[index].data_offset = now.data_offset;
    now.done.push_back(buffer);
    wake();
  }

  static void wake() { (void)::eventfd_write(state().node, 1); }
  static void calm() {
    eventfd_t count = 0;
    (void)::eventfd_read(state().node, &count);
  }

  static int refuse(int code) {
    errno = code;
    return -1;
  }

  static int ioctl(int fd, unsigned long command, void* argument) {
    State& now = state();
    if (const auto refusal = now.refusals.find(command); refusal != now.refusals.end()) {
      return refuse(refusal->second);
    }
    switch (command) {
      case DMAWIRE_IOC_CREATE:
        return create(*static_cast<dmawire_create*>(argument));
      case DMAWIRE_IOC_QUERY:
        return 0;  // nothing is known of the memory
      case DMA_BUF_IOCTL_SYNC:
        now.syncs +=
            (static_cast<dma_buf_sync*>(argument)->flags & DMA_BUF_SYNC_END) != 0 ? -1U : 1;
        return 0;
      case VIDIOC_QUERYCAP:
        now.node = fd;
        *static_cast<v4l2_capability*>(argument) = {.capabilities = V4L2_CAP_DEVICE_CAPS,
                                                    .device_caps = now.capabilities};
        return 0;
      case VIDIOC_ENUM_FMT:
        return enumerate(*static_cast<v4l2_fmtdesc*>(argument));
      case VIDIOC_G_FMT:
      case VIDIOC_S_FMT:
        return format(*static_cast<v4l2_format*>(argument), command == VIDIOC_S_FMT);
      case VIDIOC_G_PARM:
        static_cast<v4l2_streamparm*>(argument)->parm.capture.capability = now.rate_capability;
        return 0;
      case VIDIOC_S_PARM:
        now.rate = static_cast<v4l2_streamparm*>(argument)->parm.capture.timeperframe.denominator;
        return 0;
      case VIDIOC_REQBUFS: {
        auto& request = *static_cast<v4l2_requestbuffers*>(argument);
        if (request.count > 0) {
          request.count = std::clamp(request.count, now.least_buffers, now.max_buffers);
        }
        now.buffers = request.count;
        now.fds.clear();
        return 0;
      }
      case VIDIOC_QBUF:
        return queue(*static_cast<v4l2_buffer*>(argument));
      case VIDIOC_DQBUF:
        return dequeue(*static_cast<v4l2_buffer*>(argument));
      case VIDIOC_STREAMON:
        calm();
        now.streaming = true;
        return 0;
      case VIDIOC_STREAMOFF:
        now.streaming = false;
        now.queued.clear();
        now.done.clear();
        wake();
        return 0;
      default:
        return ::ioctl(fd, command, argument);
    }
  }

  static int create(dmawire_create& request) {
    request.out_length = (request.length + 4095) / 4096 * 4096;
    request.out_fd = ::memfd_create("fake", MFD_CLOEXEC);
    unsigned& by_chance = state().by_chance;
    const bool lucky = by_chance > 0;
    by_chance -= lucky ? 1 : 0;
    if (lucky || request.backing == DMAWIRE_BACKING_CONTIG) {
      state().contiguous.push_back(request.out_fd);
    }
    return ::ftruncate(request.out_fd, static_cast<off_t>(request.out_length));
  }

  static int enumerate(v4l2_fmtdesc& offer) {
    if (offer.index > 1) {
      return refuse(EINVAL);
    }
    offer.pixelformat = offer.index == 0 ? V4L2_PIX_FMT_YUYV : V4L2_PIX_FMT_Y16_BE;
    return 0;
  }

  /// It knows two formats and one size.
  static int format(v4l2_format& format, bool set) {
    State& now = state();
    const std::uint32_t wanted =
        multi_planar() ? format.fmt.pix_mp.pixelformat : format.fmt.pix.pixelformat;
    if (set) {
      now.pixels = wanted == V4L2_PIX_FMT_Y16_BE ? wanted : V4L2_PIX_FMT_YUYV;
    }
    if (multi_planar()) {
      v4l2_pix_format_mplane& pixels = format.fmt.pix_mp;
      pixels = {.width = width, .height = height, .pixelformat = now.pixels};
      pixels.num_planes = now.memory_planes;
      pixels.plane_fmt[0].sizeimage = frame_length;
    } else {
      format.fmt.pix = {.width = width, .height = height, .pixelformat = now.pixels};
      format.fmt.pix.sizeimage = frame_length;
    }
    return 0;
  }

  static int queue(v4l2_buffer& buffer) {
    State& now = state();
    const int fd = multi_planar() ? buffer.m.planes[0].m.fd : buffer.m.fd;
    const std::size_t length = multi_planar() ? buffer.m.planes[0].length : buffer.length;
    if (buffer.index >= now.buffers || length < frame_length ||
        buffer.memory != V4L2_MEMORY_DMABUF) {
      return refuse(EINVAL);
    }
    if (now.wants_one_piece &&
        std::find(now.contiguous.begin(), now.contiguous.end(), fd) == now.contiguous.end()) {
      return refuse(EFAULT);
    }
    const auto before = now.fds.find(buffer.index);
    now.imports += before == now.fds.end() || before->second != fd ? 1 : 0;
    now.fds[buffer.index] = fd;
    now.queued.push_back(buffer.index);
    return 0;
  }

  static int dequeue(v4l2_buffer& buffer) {
    State& now = state();
    if (!now.streaming) {
      return refuse(EINVAL);
    }
    if (now.done.empty()) {
      return refuse(EAGAIN);
    }
    v4l2_plane* const planes = buffer.m.planes;
    buffer = now.done.front();
    now.done.pop_front();
    if (multi_planar()) {
      *planes = now.planes[buffer.index];
    }
    if (now.done.empty()) {
      calm();
    }
    return 0;
  }

  FakeSys fake_;
};

}  // namespace dmawire::test
