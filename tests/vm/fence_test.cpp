// SPDX-License-Identifier: MIT
//
// Fences of ranges that a device writes (DMAWIRE_ATTACH_FENCES): bounded in time, in order, with
// errors, and absent unless requested. Fences of other devices: drm_test.cpp.

#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <linux/sync_file.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "abi.hpp"
#include "capture_queue.hpp"
#include "capturing.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

constexpr uint32_t frame = 64 * 1024;
constexpr uint32_t frames = 8;

/// A dma-buf attached to a device with fences.
class FencedQueue {
 public:
  explicit FencedQueue(UniqueFd device, uint32_t flags = DMAWIRE_ATTACH_FENCES)
      : device_(std::move(device)) {
    EXPECT_EQ(queue_.attach(buffer_.get(), &index_, flags), 0);
  }

  int enqueue(uint32_t number) const {
    return queue_.enqueue(index_, uint64_t{number} * frame, frame);
  }
  [[nodiscard]] const CaptureQueue& queue() const { return queue_; }
  [[nodiscard]] int device() const { return device_.get(); }
  [[nodiscard]] uint32_t index() const { return index_; }
  /// Whether a reader of the dma-buf would have to wait.
  [[nodiscard]] bool is_being_written() const {
    pollfd file{.fd = buffer_.get(), .events = POLLIN, .revents = 0};
    return poll(&file, 1, 0) == 0;
  }
  /// The fence that readers of the dma-buf wait for now.
  [[nodiscard]] UniqueFd fence() const {
    dma_buf_export_sync_file request{.flags = DMA_BUF_SYNC_READ, .fd = -1};
    EXPECT_EQ(ioctl(buffer_.get(), DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &request), 0);
    return UniqueFd{request.fd};
  }
  void close() {
    buffer_.reset();
    device_.reset();
  }

 private:
  UniqueFd device_;
  CaptureQueue queue_{device_.get()};
  UniqueFd buffer_ = create_buffer(device_.get(), uint64_t{frames} * frame);
  uint32_t index_ = 0;
};

bool signals(const UniqueFd& fence, int milliseconds = 10'000) {
  pollfd file{.fd = fence.get(), .events = POLLIN, .revents = 0};
  return poll(&file, 1, milliseconds) == 1;
}

/// 1: signaled; 0: not; a negative errno: signaled with that error.
int status_of(const UniqueFd& fence) {
  sync_file_info about = {};
  EXPECT_EQ(ioctl(fence.get(), SYNC_IOC_FILE_INFO, &about), 0);
  return about.status;
}

TEST(Fences, AreNotMadeUnlessAskedFor) {
  const FencedQueue capture{open_device(), 0};
  ASSERT_EQ(capture.queue().start(1), 0);
  ASSERT_EQ(capture.enqueue(0), 0);
  EXPECT_FALSE(capture.is_being_written());
}

TEST(Fences, AreMadeWhenTheDeviceGetsTheRange) {
  const FencedQueue capture{open_device()};
  for (uint32_t i = 0; i < frames; ++i)
    ASSERT_EQ(capture.enqueue(i), 0);
  EXPECT_FALSE(capture.is_being_written()) << "only user space can go on";
  ASSERT_EQ(capture.queue().start(2), 0);
  EXPECT_TRUE(capture.is_being_written());
  const UniqueFd fence = capture.fence();
  EXPECT_EQ(status_of(fence), 0);
  EXPECT_TRUE(signals(fence));
  EXPECT_EQ(status_of(fence), 1);
  EXPECT_EQ(capture.queue().status().out_queued, 0U) << "they signal in order";
  EXPECT_FALSE(capture.is_being_written());
}

TEST(Fences, SignalWithoutUserSpaceTakingAnything) {
  const FencedQueue capture{open_device()};
  ASSERT_EQ(capture.queue().start(), 0);
  for (uint32_t i = 0; i < frames; ++i)
    ASSERT_EQ(capture.enqueue(i), 0);
  EXPECT_TRUE(signals(capture.fence()));
}

TEST(Fences, CarryEcanceledWhenTheDeviceIsStopped) {
  const FencedQueue capture{open_device()};
  ASSERT_EQ(capture.queue().start(1), 0);
  ASSERT_EQ(capture.enqueue(0), 0);
  ASSERT_EQ(capture.enqueue(1), 0);
  const UniqueFd fence = capture.fence();
  ASSERT_EQ(capture.queue().stop(), 0);
  EXPECT_TRUE(signals(fence, 0));
  EXPECT_EQ(status_of(fence), -ECANCELED);
}

TEST(Fences, OutliveTheDmaBufAndTheDevice) {
  FencedQueue capture{open_device()};
  ASSERT_EQ(capture.queue().start(1), 0);
  ASSERT_EQ(capture.enqueue(0), 0);
  const UniqueFd fence = capture.fence();
  capture.close();
  EXPECT_TRUE(signals(fence)) << "the end of the file stops the device";
  EXPECT_EQ(status_of(fence), -ECANCELED);
  EXPECT_EQ(unload_dmawire(), EWOULDBLOCK) << "the fence's operations are the module's";
}

TEST(Fences, AreOfRequestsOfARingToo) {
  const FencedQueue capture{open_device()};
  SlotRing ring;
  dmawire_uring_capture request{
      .size = sizeof(request), .index = capture.index(), .length = frame, .offset = 0};
  ASSERT_EQ(capture.queue().start(2), 0);
  ring.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, capture.device(), &request, 0, 0);
    sqe->cmd_op = DMAWIRE_URING_CMD_CAPTURE;
  });
  EXPECT_TRUE(eventually([&] { return capture.is_being_written(); }));
  EXPECT_EQ(ring.next_result(), static_cast<int>(frame));
  EXPECT_TRUE(eventually([&] { return !capture.is_being_written(); }));
}

TEST(Fences, AreRefusedByADeviceThatStatesNoTime) {
  const DriverModule driver{"dmawire_broken"};
  const UniqueFd device = open_driver("broken");
  const UniqueFd buffer = create_buffer(device.get(), frame);
  const CaptureQueue queue{device.get()};
  EXPECT_EQ(queue.attach(buffer.get(), nullptr, DMAWIRE_ATTACH_FENCES), EOPNOTSUPP);
  EXPECT_EQ(queue.attach(buffer.get(), nullptr, 2), EINVAL);
}

TEST(Fences, OfADeviceThatHangsCarryEtimedoutOnceItIsStopped) {
  const DriverModule driver{"dmawire_broken", "fault=hang interval=300"};
  const FencedQueue capture{open_driver("broken")};
  ASSERT_EQ(capture.queue().start(), 0);
  ASSERT_EQ(capture.enqueue(0), 0);
  const UniqueFd fence = capture.fence();
  EXPECT_TRUE(signals(fence, 60'000)) << "nothing else ends it";
  EXPECT_EQ(status_of(fence), -ETIMEDOUT);
  EXPECT_EQ(capture.queue().status().out_running, 0U) << "it was stopped before";
  EXPECT_EQ(capture.queue().dequeue().out_result, -EIO);
  EXPECT_EQ(capture.enqueue(0), EIO);
  ASSERT_EQ(capture.queue().start(), 0);
  EXPECT_EQ(capture.enqueue(0), 0);
}

TEST(Fences, OfADeviceThatIsGoneCarryEnodev) {
  const DriverModule driver{"dmawire_broken", "fault=hang interval=60000"};
  const FencedQueue capture{open_driver("broken")};
  ASSERT_EQ(capture.queue().start(), 0);
  ASSERT_EQ(capture.enqueue(0), 0);
  const UniqueFd fence = capture.fence();
  ASSERT_TRUE(write_text("/sys/module/dmawire_broken/parameters/registered", "N"));
  EXPECT_TRUE(signals(fence, 0));
  EXPECT_EQ(status_of(fence), -ENODEV);
  EXPECT_EQ(capture.queue().dequeue().out_result, -ENODEV);
}

TEST(Fences, OfADeviceThatFailsCarryEio) {
  const DriverModule driver{"dmawire_broken", "fault=too_long interval=60000"};
  const FencedQueue capture{open_driver("broken")};
  ASSERT_EQ(capture.queue().start(), 0);
  ASSERT_EQ(capture.enqueue(0), 0);
  const UniqueFd fence = capture.fence();
  EXPECT_TRUE(signals(fence));
  EXPECT_EQ(status_of(fence), -EIO);
}

}  // namespace
}  // namespace dmawire::test
