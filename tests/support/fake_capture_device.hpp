// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include <dmawire/unique_fd.hpp>

#include "fake_sys.hpp"

namespace dmawire::test {

/// A /dev/dmawireN with a device that captures, in user space: it answers the library's ioctls and,
/// whenever the library enters an io_uring, takes the captures out of the submission queue and
/// completes them as far as there are frames. Its dma-bufs are memfds. One at a time.
class FakeCaptureDevice {
 public:
  FakeCaptureDevice() {
    state() = {};
    fake_->open = [](const char*, int flags) { return ::open("/dev/null", flags); };
    fake_->ioctl = ioctl;
    fake_->ring_submit_and_wait = [](io_uring* ring, unsigned wait_for) {
      return enter(ring, [&] { return ::io_uring_submit_and_wait(ring, wait_for); });
    };
    fake_->ring_wait_for_at_most = [](io_uring* ring, unsigned, unsigned) {
      return enter(ring, [&] { return ::io_uring_submit_and_wait(ring, 1); });
    };
  }
  ~FakeCaptureDevice() { state() = {}; }
  FakeCaptureDevice(const FakeCaptureDevice&) = delete;
  FakeCaptureDevice& operator=(const FakeCaptureDevice&) = delete;

  /// Frames that the device makes when it runs and has room.
  static void make(std::uint64_t frames) { state().frames = frames; }
  /// The next frames are lost.
  static void lose(std::uint32_t frames) {
    state().lost = frames;
    state().sequence += frames;
  }
  /// The next `count` captures complete with an error, queued ones included.
  static void fail(int code, std::uint64_t count) {
    state().failure = code;
    state().failures = count;
  }
  /// The error of every ioctl of this number from now on.
  static void refuse(unsigned long command, int code) { state().refusals[command] = code; }
  /// Attaching succeeds this many times more.
  static void refuse_attach_after(unsigned count, int code) {
    state().attaches_left = count;
    state().attach_error = code;
  }
  static dmawire_info& info() { return state().info; }

  static bool running() { return state().running; }
  static std::size_t given() { return state().given.size(); }
  static std::size_t attached() { return state().buffers.size(); }
  static std::uint32_t rate() { return state().rate; }

 private:
  struct Given {
    std::uint64_t user_data;
    dmawire_uring_capture* request;
  };
  struct State {
    dmawire_info info = usual_info();
    std::map<unsigned long, int> refusals;
    unsigned attaches_left = ~0U;
    int attach_error = 0;
    std::map<std::uint32_t, UniqueFd> buffers;
    std::uint32_t next_index = 0;
    bool running = false;
    std::uint32_t rate = 0;
    std::uint64_t frames = 0;
    std::uint64_t sequence = 0;
    std::uint32_t lost = 0;
    int failure = 0;
    std::uint64_t failures = 0;
    std::deque<Given> given;
    std::map<std::uint64_t, int> results;  ///< by user_data, of completions to come
  };

  static State& state() {
    static State the_state;
    return the_state;
  }

  static dmawire_info usual_info() {
    dmawire_info info{};
    info.out_features = DMAWIRE_FEATURE_CAPTURE | DMAWIRE_FEATURE_RATE;
    info.out_max_captures = 1024;
    info.out_max_segments = ~0U;
    info.out_alignment = 64;
    std::strcpy(info.out_driver, "fake");
    return info;
  }

  static int ioctl(int fd, unsigned long command, void* argument) {
    State& now = state();
    if (const auto refusal = now.refusals.find(command); refusal != now.refusals.end()) {
      errno = refusal->second;
      return -1;
    }
    switch (command) {
      case DMAWIRE_IOC_INFO:
        *static_cast<dmawire_info*>(argument) = now.info;
        return 0;
      case DMAWIRE_IOC_CREATE: {
        auto* create = static_cast<dmawire_create*>(argument);
        create->out_length = (create->length + 4095) / 4096 * 4096;
        create->out_fd = ::memfd_create("fake", MFD_CLOEXEC);
        return ::ftruncate(create->out_fd, static_cast<off_t>(create->out_length));
      }
      case DMAWIRE_IOC_ATTACH: {
        if (now.attaches_left-- == 0) {
          errno = now.attach_error;
          return -1;
        }
        auto* attach = static_cast<dmawire_attach*>(argument);
        attach->out_index = now.next_index++;
        now.buffers[attach->out_index] = UniqueFd{::dup(attach->fd)};
        return 0;
      }
      case DMAWIRE_IOC_DETACH:
        now.buffers.erase(static_cast<dmawire_detach*>(argument)->index);
        return 0;
      case DMAWIRE_IOC_START:
        now.rate = static_cast<dmawire_start*>(argument)->rate;
        now.running = true;
        return 0;
      case DMAWIRE_IOC_STOP:
        now.running = false;
        fail(ECANCELED, now.given.size());
        return 0;
      default:
        return ::ioctl(fd, command, argument);
    }
  }

  template <typename Enter>
  static int enter(io_uring* ring, Enter real) {
    take_captures(ring);
    ::io_uring_submit(ring);  // makes room in the submission queue for captures that complete
    complete_captures(ring);
    const int status = real();
    put_results(ring);
    return status;
  }

  static void take_captures(io_uring* ring) {
    for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; ++i) {
      io_uring_sqe& sqe = ring->sq.sqes[i & *ring->sq.kring_mask];
      if (sqe.opcode == IORING_OP_URING_CMD && sqe.cmd_op == DMAWIRE_URING_CMD_CAPTURE) {
        // NOLINTNEXTLINE(performance-no-int-to-ptr): this is how the kernel gets it
        auto* request = reinterpret_cast<dmawire_uring_capture*>(sqe.addr);
        state().given.push_back({sqe.user_data, request});
        io_uring_prep_nop(&sqe);
        sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
      }
    }
  }

  static void complete_captures(io_uring* ring) {
    State& now = state();
    while (!now.given.empty() && (now.failures > 0 || (now.running && now.frames > 0))) {
      io_uring_sqe* sqe = io_uring_get_sqe(ring);
      if (sqe == nullptr) {
        return;
      }
      const Given given = now.given.front();
      now.given.pop_front();
      io_uring_prep_nop(sqe);
      sqe->user_data = given.user_data;
      if (now.failures > 0) {
        --now.failures;
        now.results[given.user_data] = -now.failure;
      } else {
        --now.frames;
        now.results[given.user_data] = fill(*given.request);
      }
    }
  }

  /// A frame: its number, as often as there is room.
  static int fill(dmawire_uring_capture& request) {
    State& now = state();
    request.out_sequence = now.sequence++;
    request.out_timestamp = 1000 + request.out_sequence;
    request.out_lost = std::exchange(now.lost, 0);
    const std::vector<std::uint64_t> words(request.length / sizeof(std::uint64_t),
                                           request.out_sequence);
    const auto length = static_cast<ssize_t>(words.size() * sizeof(std::uint64_t));
    EXPECT_EQ(::pwrite(now.buffers.at(request.index).get(), words.data(),
                       static_cast<std::size_t>(length), static_cast<off_t>(request.offset)),
              length);
    return static_cast<int>(length);
  }

  static void put_results(io_uring* ring) {
    unsigned head;
    io_uring_cqe* cqe;
    io_uring_for_each_cqe(ring, head, cqe) {
      const auto result = state().results.find(cqe->user_data);
      if (result != state().results.end()) {
        cqe->res = result->second;
        state().results.erase(result);
      }
    }
  }

  FakeSys fake_;
};

}  // namespace dmawire::test
