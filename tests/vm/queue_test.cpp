// SPDX-License-Identifier: MIT
// Capture with the device that needs no hardware: queued ranges complete filled, once, in order,
// and they complete in every case.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <chrono>
#include <thread>
#include <vector>

#include "abi.hpp"
#include "capture_queue.hpp"
#include "capturing.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

using namespace std::chrono_literals;

constexpr uint32_t kFrame = 64 * 1024;
constexpr uint32_t kFrames = 8;

class Queue : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(queue_.attach(buffer_.get(), &index_), 0); }

  int enqueue(uint32_t frame, uint64_t user_data = 0) const {
    return queue_.enqueue(index_, uint64_t{frame} * kFrame, kFrame, user_data);
  }
  [[nodiscard]] std::span<const uint8_t> frame_at(uint64_t offset) const {
    return mapping_.bytes().subspan(offset, kFrame);
  }
  UniqueFd device_ = open_device();
  CaptureQueue queue_{device_.get()};
  UniqueFd buffer_ = create_buffer(device_.get(), uint64_t{kFrames} * kFrame);
  Mapped mapping_{buffer_.get(), uint64_t{kFrames} * kFrame};
  uint32_t index_ = 0;
};

TEST_F(Queue, FillsWhatItIsGivenInOrder) {
  for (uint32_t i = 0; i < kFrames; ++i)
    ASSERT_EQ(enqueue(i, 100 + i), 0);
  EXPECT_EQ(queue_.status().out_queued, kFrames);
  EXPECT_EQ(queue_.status().out_running, 0u);
  ASSERT_EQ(queue_.start(), 0);
  uint64_t last = 0;
  for (uint32_t i = 0; i < kFrames; ++i) {
    const dmawire_dequeue taken = queue_.dequeue();
    EXPECT_EQ(taken.out_result, static_cast<int32_t>(kFrame));
    EXPECT_EQ(taken.out_index, index_);
    EXPECT_EQ(taken.out_user_data, 100 + i);
    EXPECT_EQ(taken.out_offset, uint64_t{i} * kFrame);
    EXPECT_EQ(taken.out_sequence, i);
    EXPECT_EQ(taken.out_lost, 0u);
    EXPECT_GE(taken.out_timestamp, last);
    last = taken.out_timestamp;
    EXPECT_EQ(frame_fault(frame_at(taken.out_offset), i), "");
  }
  const dmawire_status status = queue_.status();
  EXPECT_EQ(status.out_captured, kFrames);
  EXPECT_EQ(status.out_lost, 0u);
  EXPECT_EQ(status.out_queued, 0u);
  EXPECT_EQ(status.out_running, 1u);
  EXPECT_EQ(queue_.stop(), 0);
  EXPECT_EQ(queue_.status().out_running, 0u);
}

TEST_F(Queue, GoesRoundAndRound) {
  const uint64_t rounds = fewer_if_watched(2000);
  for (uint32_t i = 0; i < kFrames; ++i)
    ASSERT_EQ(enqueue(i), 0);
  ASSERT_EQ(queue_.start(), 0);
  for (uint64_t sequence = 0; sequence < rounds; ++sequence) {
    const dmawire_dequeue taken = queue_.dequeue();
    ASSERT_EQ(taken.out_result, static_cast<int32_t>(kFrame));
    ASSERT_EQ(taken.out_sequence, sequence);
    if (sequence % 64 == 0)
      EXPECT_EQ(frame_fault(frame_at(taken.out_offset), sequence), "");
    ASSERT_EQ(queue_.enqueue(index_, taken.out_offset, kFrame), 0);
  }
}

TEST_F(Queue, TellsOfFramesThatFoundNoRoom) {
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(queue_.start(1000), 0);
  uint64_t next = 0;
  double milliseconds = 0;
  // Its thread may be kept from its CPU and be late; it catches up.
  const auto is_late = [&] { return static_cast<double>(next) < 0.8 * milliseconds; };
  for (int round = 0; round < 2 || (is_late() && milliseconds < 10'000); ++round) {
    std::this_thread::sleep_for(50ms);
    ASSERT_EQ(enqueue(0), 0);
    const dmawire_dequeue taken = queue_.dequeue();
    EXPECT_EQ(taken.out_lost, taken.out_sequence - next);
    EXPECT_EQ(frame_fault(frame_at(0), taken.out_sequence), "");
    next = taken.out_sequence + 1;
    EXPECT_EQ(queue_.status().out_captured + queue_.status().out_lost, next);
    milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  }
  EXPECT_FALSE(is_late()) << next << " frames in " << milliseconds << " ms";
  EXPECT_GT(queue_.status().out_lost, queue_.status().out_captured);
}

TEST_F(Queue, KeepsTheRateItIsTold) {
  for (uint32_t i = 0; i < kFrames; ++i)
    ASSERT_EQ(enqueue(i), 0);
  const std::chrono::nanoseconds before = std::chrono::steady_clock::now().time_since_epoch();
  ASSERT_EQ(queue_.start(100), 0);
  dmawire_dequeue last{};
  for (uint32_t i = 0; i < kFrames; ++i)
    last = queue_.dequeue();
  // From the start on: the first may be late.
  const double milliseconds =
      (static_cast<double>(last.out_timestamp) - static_cast<double>(before.count())) / 1e6;
  EXPECT_GE(milliseconds, (kFrames - 1) * 10);
  EXPECT_EQ(last.out_sequence, kFrames - 1) << "none is lost while there is room";
}

TEST_F(Queue, RefusesRangesThatAreNoneWithEinval) {
  const uint64_t size = uint64_t{kFrames} * kFrame;
  EXPECT_EQ(queue_.enqueue(index_, 0, 0), EINVAL);
  EXPECT_EQ(queue_.enqueue(index_, 1, kFrame), EINVAL) << "not at a page";
  EXPECT_EQ(queue_.enqueue(index_, 64, kFrame), EINVAL);
  EXPECT_EQ(queue_.enqueue(index_, 0, 1), EINVAL) << "not of the device's alignment";
  EXPECT_EQ(queue_.enqueue(index_, size, 64), EINVAL);
  EXPECT_EQ(queue_.enqueue(index_, size - kPage, kPage + 64), EINVAL);
  EXPECT_EQ(queue_.enqueue(index_, 0, static_cast<uint32_t>(size) + 64), EINVAL);
  EXPECT_EQ(queue_.enqueue(index_, UINT64_MAX - kPage + 1, kPage), EINVAL);
  EXPECT_EQ(queue_.enqueue(index_, 0, UINT32_MAX - 63), EINVAL);
  EXPECT_EQ(queue_.enqueue(index_ + 1, 0, kFrame), EINVAL);
  EXPECT_EQ(queue_.enqueue(UINT32_MAX, 0, kFrame), EINVAL);
  EXPECT_EQ(queue_.status().out_queued, 0u);
}

TEST_F(Queue, RefusesAPageThatIsTheDevicesAlreadyWithEbusy) {
  ASSERT_EQ(queue_.enqueue(index_, kFrame, kFrame), 0);
  EXPECT_EQ(queue_.enqueue(index_, kFrame, kFrame), EBUSY);
  EXPECT_EQ(queue_.enqueue(index_, kFrame + kPage, 64), EBUSY);
  EXPECT_EQ(queue_.enqueue(index_, kFrame - kPage, kPage + 64), EBUSY);
  EXPECT_EQ(queue_.enqueue(index_, 0, kFrame), 0);
  EXPECT_EQ(queue_.enqueue(index_, uint64_t{2} * kFrame, kFrame), 0);
  EXPECT_EQ(queue_.detach(index_), EBUSY);
}

TEST_F(Queue, LendsAPartlyCoveredPageAsAWhole) {
  ASSERT_EQ(queue_.enqueue(index_, 0, kPage + 64), 0);
  EXPECT_EQ(queue_.enqueue(index_, kPage, 64), EBUSY);
  EXPECT_EQ(queue_.enqueue(index_, 2 * kPage, 64), 0);
}

TEST_F(Queue, HoldsNoMoreThanItSaysWithEagain) {
  const uint32_t most = info(device_.get()).out_max_captures;
  const UniqueFd large = create_buffer(device_.get(), (uint64_t{most} + 1) * kPage);
  uint32_t index = 0;
  ASSERT_EQ(queue_.attach(large.get(), &index), 0);
  for (uint32_t i = 0; i < most; ++i)
    ASSERT_EQ(queue_.enqueue(index, uint64_t{i} * kPage, 64), 0) << i;
  EXPECT_EQ(queue_.enqueue(index, uint64_t{most} * kPage, 64), EAGAIN);
  ASSERT_EQ(queue_.start(), 0);
  (void)queue_.dequeue();
  EXPECT_EQ(queue_.enqueue(index, uint64_t{most} * kPage, 64), 0);
}

TEST_F(Queue, BelongsToOneOpenFileAtATime) {
  const UniqueFd other = open_device();
  const UniqueFd others_buffer = create_buffer(other.get(), kFrame);
  const CaptureQueue others{other.get()};
  dmawire_dequeue taken;
  EXPECT_EQ(others.attach(others_buffer.get()), EBUSY);
  EXPECT_EQ(others.enqueue(index_, 0, kFrame), EBUSY);
  EXPECT_EQ(others.start(), EBUSY);
  EXPECT_EQ(others.stop(), EBUSY);
  EXPECT_EQ(others.dequeue(&taken), EBUSY);
  EXPECT_EQ(others.detach(index_), EBUSY);
  ASSERT_EQ(enqueue(0), 0);
  EXPECT_EQ(others.status().out_queued, 1u) << "anyone may ask";
  ASSERT_EQ(queue_.stop(), 0);
  (void)queue_.dequeue();
  ASSERT_EQ(queue_.detach(index_), 0);
  EXPECT_EQ(others.attach(others_buffer.get()), 0) << "it belongs to nobody any more";
}

TEST_F(Queue, KeepsWhatWasNotTakenForItsOwner) {
  const UniqueFd other = open_device();
  const UniqueFd others_buffer = create_buffer(other.get(), kFrame);
  const CaptureQueue others{other.get()};
  dmawire_dequeue taken;
  ASSERT_EQ(enqueue(0, 42), 0);
  ASSERT_EQ(queue_.stop(), 0);
  ASSERT_EQ(queue_.detach(index_), 0);
  EXPECT_EQ(others.attach(others_buffer.get()), EBUSY);
  EXPECT_EQ(others.dequeue(&taken), EBUSY);
  EXPECT_EQ(queue_.dequeue().out_user_data, 42u);
  ASSERT_EQ(others.attach(others_buffer.get()), 0);
}

TEST_F(Queue, LeavesNothingToTheNextOwner) {
  ASSERT_EQ(enqueue(0, 42), 0);
  ASSERT_EQ(queue_.stop(), 0);
  device_.reset();
  const UniqueFd other = open_device();
  const CaptureQueue others{other.get()};
  ASSERT_EQ(others.attach(buffer_.get()), 0);
  dmawire_dequeue taken;
  EXPECT_EQ(others.dequeue(&taken), ECANCELED);
}

TEST_F(Queue, AttachesADmaBufOnceAndOnlyOneToWriteTo) {
  EXPECT_EQ(queue_.attach(buffer_.get()), EBUSY);
  dmawire_create request = create_request(kPage);
  request.direction = DMAWIRE_TO_DEVICE;
  ASSERT_EQ(call(device_.get(), DMAWIRE_IOC_CREATE, &request), 0);
  const UniqueFd for_reading{request.out_fd};
  EXPECT_EQ(queue_.attach(for_reading.get()), EINVAL);
  EXPECT_EQ(queue_.attach(device_.get()), EINVAL);
  EXPECT_EQ(queue_.attach(-1), EBADF);
  EXPECT_EQ(queue_.detach(index_ + 1), EINVAL);
  ASSERT_EQ(queue_.detach(index_), 0);
  EXPECT_EQ(queue_.attach(buffer_.get(), &index_), 0);
}

TEST_F(Queue, StopBringsBackWhatIsNotFilled) {
  ASSERT_EQ(queue_.start(1), 0);  // nothing comes in the first second
  for (uint32_t i = 0; i < 3; ++i)
    ASSERT_EQ(enqueue(i, i), 0);
  EXPECT_EQ(queue_.start(), EBUSY);
  ASSERT_EQ(queue_.stop(), 0);
  for (uint32_t i = 0; i < 3; ++i) {
    const dmawire_dequeue taken = queue_.dequeue();
    EXPECT_EQ(taken.out_result, -ECANCELED);
    EXPECT_EQ(taken.out_user_data, i);
  }
  dmawire_dequeue taken;
  EXPECT_EQ(queue_.dequeue(&taken), ECANCELED) << "there is nothing to wait for";
  EXPECT_EQ(queue_.status().out_canceled, 3u);
  EXPECT_EQ(queue_.stop(), 0) << "stopping what stands is no error";
}

TEST_F(Queue, RefusesRatesItCannotKeep) {
  EXPECT_EQ(queue_.start(UINT32_MAX), EINVAL);
  EXPECT_EQ(queue_.status().out_running, 0u);
}

TEST_F(Queue, DoesNotWaitIfTheFileIsNonblocking) {
  dmawire_dequeue taken;
  ASSERT_EQ(fcntl(device_.get(), F_SETFL, O_NONBLOCK), 0);
  ASSERT_EQ(enqueue(0), 0);
  EXPECT_EQ(queue_.dequeue(&taken), EAGAIN);
  pollfd file{.fd = device_.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&file, 1, 0), 0);
  ASSERT_EQ(queue_.start(), 0);
  ASSERT_EQ(poll(&file, 1, 10'000), 1);
  EXPECT_EQ(file.revents, POLLIN);
  EXPECT_EQ(queue_.dequeue(&taken), 0);
}

TEST_F(Queue, ASignalEndsTheWaitWithEintr) {
  const int status = in_child([this] {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigaction(SIGALRM, &action, nullptr);
    dmawire_dequeue taken;
    if (enqueue(0) != 0)
      return 1;
    ualarm(50'000, 0);
    return queue_.dequeue(&taken) == EINTR ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
  ASSERT_EQ(queue_.stop(), 0);
}

TEST_F(Queue, TheDmaBufOutlivesTheFileThatCaptured) {
  ASSERT_EQ(enqueue(0), 0);
  ASSERT_EQ(queue_.start(), 0);
  (void)queue_.dequeue();
  ASSERT_EQ(enqueue(1), 0);
  device_.reset();
  EXPECT_EQ(frame_fault(frame_at(0), 0), "");
  const UniqueFd again = open_device();
  EXPECT_EQ(CaptureQueue{again.get()}.attach(buffer_.get()), 0);
}

/// The same as requests of an io_uring.
class UringCapture : public Queue {
 protected:
  void prepare(io_uring_sqe* sqe, dmawire_uring_capture* capture, uint32_t frame) const {
    *capture = {.size = sizeof(*capture),
                .index = index_,
                .length = kFrame,
                .offset = uint64_t{frame} * kFrame};
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, device_.get(), capture, 0, 0);
    sqe->cmd_op = DMAWIRE_URING_CMD_CAPTURE;
  }

  SlotRing ring_;
  dmawire_uring_capture captures_[kFrames];
};

TEST_F(UringCapture, CompletesWhenTheRangeIsFilled) {
  for (uint32_t i = 0; i < kFrames; ++i)
    ring_.submit([&](io_uring_sqe* sqe) { prepare(sqe, &captures_[i], i); });
  EXPECT_EQ(queue_.status().out_queued, kFrames);
  EXPECT_EQ(io_uring_cq_ready(ring_.get()), 0u);
  ASSERT_EQ(queue_.start(), 0);
  for (uint32_t i = 0; i < kFrames; ++i) {
    EXPECT_EQ(ring_.next_result(), static_cast<int>(kFrame));
    EXPECT_EQ(captures_[i].out_sequence, i);
    EXPECT_NE(captures_[i].out_timestamp, 0u);
    EXPECT_EQ(captures_[i].out_lost, 0u);
    EXPECT_EQ(frame_fault(frame_at(uint64_t{i} * kFrame), i), "");
  }
}

TEST_F(UringCapture, IsRefusedAsGiveIs) {
  dmawire_uring_capture capture;
  const auto result_of = [&](auto spoil) {
    return ring_.result_of([&](io_uring_sqe* sqe) {
      prepare(sqe, &capture, 0);
      spoil(*sqe, capture);
    });
  };
  EXPECT_EQ(result_of([](auto&, auto& c) { c.flags = 1; }), -EINVAL);
  EXPECT_EQ(result_of([](auto&, auto& c) { c.size = 47; }), -EINVAL);
  EXPECT_EQ(result_of([](auto&, auto& c) { c.size = 8192; }), -E2BIG);
  EXPECT_EQ(result_of([](auto&, auto& c) { c.index = 7; }), -EINVAL);
  EXPECT_EQ(result_of([](auto&, auto& c) { c.offset = 1; }), -EINVAL);
  EXPECT_EQ(result_of([](auto& s, auto&) { s.addr = 16; }), -EFAULT);
  ASSERT_EQ(enqueue(0), 0);
  EXPECT_EQ(result_of([](auto&, auto&) {}), -EBUSY);
}

TEST_F(UringCapture, StopCompletesItWithEcanceled) {
  ring_.submit([&](io_uring_sqe* sqe) { prepare(sqe, &captures_[0], 0); });
  ASSERT_EQ(queue_.start(1), 0);
  ASSERT_EQ(queue_.stop(), 0);
  EXPECT_EQ(ring_.next_result(), -ECANCELED);
}

TEST_F(UringCapture, TheEndOfTheRingTakesBackWhatTheDeviceHasNotGot) {
  for (uint32_t i = 0; i < kFrames; ++i)
    ring_.submit([&](io_uring_sqe* sqe) { prepare(sqe, &captures_[i], i); });
  ring_.end();
  EXPECT_TRUE(eventually([this] { return queue_.status().out_queued == 0; }));
  EXPECT_EQ(enqueue(0), 0) << "the range is ours again";
}

TEST_F(UringCapture, TheEndOfARingLeavesTheRunOfAnotherAlone) {
  SlotRing other;
  ring_.submit([&](io_uring_sqe* sqe) { prepare(sqe, &captures_[0], 0); });
  other.submit([&](io_uring_sqe* sqe) { prepare(sqe, &captures_[1], 1); });
  ASSERT_EQ(enqueue(2), 0);
  ASSERT_EQ(queue_.start(2), 0);
  ring_.end();
  EXPECT_EQ(other.next_result(), static_cast<int>(kFrame));
  const dmawire_dequeue taken = queue_.dequeue();
  EXPECT_EQ(taken.out_result, static_cast<int32_t>(kFrame));
  EXPECT_EQ(frame_fault(frame_at(taken.out_offset), taken.out_sequence), "");
  EXPECT_EQ(queue_.status().out_running, 1u);
  EXPECT_EQ(queue_.status().out_canceled, 1u);
}

TEST_F(UringCapture, RefusesFieldsThatItDoesNotDefineWithEinval) {
  dmawire_uring_capture capture;
  const auto result_of = [&](auto spoil) {
    return ring_.result_of([&](io_uring_sqe* sqe) {
      prepare(sqe, &capture, 0);
      spoil(*sqe);
    });
  };
  EXPECT_EQ(result_of([](auto& s) { s.len = 1; }), -EINVAL);
  EXPECT_EQ(result_of([](auto& s) { s.file_index = 1; }), -EINVAL);
  EXPECT_EQ(result_of([](auto& s) { s.buf_index = 1; }), -EINVAL);
  EXPECT_EQ(result_of([](auto& s) { s.cmd[0] = 1; }), -EINVAL);
  EXPECT_EQ(result_of([](auto& s) { s.cmd[15] = 1; }), -EINVAL);
}

TEST_F(UringCapture, AProcessMayBeKilledInTheMiddleOfIt) {
  const int status = in_child([this] {
    SlotRing ring;
    for (uint32_t i = 0; i < kFrames; ++i)
      ring.submit([&](io_uring_sqe* sqe) { prepare(sqe, &captures_[i], i); });
    if (queue_.start(1) != 0)
      return 1;
    return raise(SIGKILL);
  });
  EXPECT_EQ(status, 128 + SIGKILL);
  // Its ring ends in the background.
  EXPECT_TRUE(eventually([this] {
    const dmawire_status now = queue_.status();
    return now.out_canceled + now.out_captured == kFrames;
  }));
  EXPECT_EQ(queue_.status().out_running, 1u) << "the file is still ours";
  EXPECT_EQ(queue_.stop(), 0);
  EXPECT_EQ(queue_.status().out_queued, 0u);
  EXPECT_EQ(queue_.start(), 0);
}

TEST_F(UringCapture, AResultThatCannotBeWrittenIsEfaultAndTheRangeIsBack) {
  Mapped memory(-1, kPage, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  auto* capture = reinterpret_cast<dmawire_uring_capture*>(memory.data());
  ring_.submit([&](io_uring_sqe* sqe) { prepare(sqe, capture, 0); });
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  ASSERT_EQ(queue_.start(), 0);
  EXPECT_EQ(ring_.next_result(), -EFAULT);
  EXPECT_EQ(enqueue(0), 0);
}

}  // namespace
}  // namespace dmawire::test
