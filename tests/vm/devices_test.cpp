// SPDX-License-Identifier: MIT
// Drivers that capture: QEMU's teaching device, DMA controllers, the example of
// docs/writing-a-driver.md, and one that breaks the rules.
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "abi.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "eventually.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "kernel_log.hpp"
#include "kprobe_counter.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

using std::chrono::milliseconds;

/// Gives each of a buffer's pages for a frame of its own.
void give_pages(Capturing& capture, size_t count, uint32_t length = kPage) {
  for (size_t i = 0; i < count; ++i)
    ASSERT_EQ(capture.enqueue(i * kPage, length), 0);
}

class Edu : public testing::Test {
 protected:
  void SetUp() override {
    if (!card_.present())
      GTEST_SKIP() << "this machine has no edu device";
    driver_.emplace("dmawire_edu", EduCard::driver_parameters());
  }

  const EduCard card_;
  std::optional<DriverModule> driver_;
};

// With every mapping in a bounce buffer (--append swiotlb=force) a wrong sync shows: the bounce
// buffer holds the contents that the memory had at ATTACH.
TEST_F(Edu, IsNotSyncedByIoctlsForImporters) {
  constexpr size_t pages = 64;
  Capturing capture("edu", pages * kPage);
  const auto expect_untouched = [&](const char* after) {
    EXPECT_TRUE(std::ranges::all_of(capture.memory(), [](uint8_t byte) { return byte == 0x11; }))
        << after;
  };
  const auto sync_part = [&](uint64_t offset, uint64_t length) {
    dmawire_sync request{.size = sizeof(request),
                         .flags = DMAWIRE_SYNC_READ,
                         .fd = capture.buffer(),
                         .reserved = 0,
                         .offset = offset,
                         .length = length};
    EXPECT_EQ(call(capture.device(), DMAWIRE_IOC_SYNC, &request), 0);
    expect_untouched("DMAWIRE_IOC_SYNC");
  };
  std::ranges::fill(capture.memory(), uint8_t{0x11});
  sync_part(5 * kPage + 1, 2 * kPage);
  sync_part(60 * kPage, 0);
  sync_part(0, 1);
  sync_part(0, 0);
  EXPECT_EQ(sync(capture.buffer(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
  expect_untouched("DMA_BUF_IOCTL_SYNC");
}

// Its addresses have 32 bits, and this memory more.
TEST_F(Edu, WhatIsAllocatedForItIsWhereItReaches) {
  if (read_text("/proc/cmdline").find("intel_iommu=off") == std::string::npos ||
      meminfo("MemTotal") < 5ULL * 1024 * kMiB)
    GTEST_SKIP() << "to be seen where there is memory beyond 4 GiB and no IOMMU (--machine large "
                    "--append intel_iommu=off)";
  const auto bounces_of = [](const dmawire_create& request) {
    const KprobeCounter bounces{"swiotlb_tbl_map_single"};
    Capturing capture("edu", request);
    EXPECT_EQ(capture.enqueue(0, kPage), 0);
    EXPECT_EQ(capture.start(), 0);
    EXPECT_EQ(frame_fault(capture.frame(capture.dequeue()), 0), "");
    EXPECT_EQ(capture.stop(), 0);
    return bounces.calls();
  };
  dmawire_create folios = create_request(kMiB);
  folios.flags = DMAWIRE_CREATE_FOLIOS_64K;
  dmawire_create coherent = create_request(kMiB);
  coherent.backing = DMAWIRE_BACKING_COHERENT;
  for (const dmawire_create& request :
       {create_request(kMiB), folios, contig_request(kMiB), coherent})
    EXPECT_EQ(bounces_of(request), 0U) << request.backing << ", flags " << request.flags;
  if (const dmawire_create longer = contig_request(5 * kMiB);
      create_error(open_device().get(), longer) == 0) {
    EXPECT_EQ(bounces_of(longer), 0U);
  }
  // Memory that was there before is where it is.
  const UniqueFd memfd = make_memfd(kMiB);
  EXPECT_GT(bounces_of(memfd_request(memfd.get(), 0, kMiB)), 0U);
}

TEST_F(Edu, FramesOfAnyLengthArriveWhole) {
  Capturing capture("edu", 8 * kPage);
  const std::vector<uint32_t> lengths = {kPage, sizeof(dmawire_frame_header), 2 * kPage + 1};
  for (size_t i = 0; i < lengths.size(); ++i)
    ASSERT_EQ(capture.enqueue(i * 2 * kPage, lengths[i]), 0);
  ASSERT_EQ(capture.start(), 0);
  for (size_t i = 0; i < lengths.size(); ++i) {
    const dmawire_dequeue taken = capture.dequeue();
    EXPECT_EQ(taken.out_result, static_cast<int>(lengths[i]));
    EXPECT_EQ(taken.out_sequence, i);
    EXPECT_EQ(frame_fault(capture.frame(taken), i), "");
  }
  EXPECT_EQ(capture.memory()[2 * kPage + lengths[1]], 0) << "written behind the frame's end";
  EXPECT_EQ(capture.stop(), 0);
}

TEST_F(Edu, RefusesRoomThatNotEvenTheHeaderFits) {
  Capturing capture("edu", kPage);
  ASSERT_EQ(capture.start(), 0);
  ASSERT_EQ(capture.enqueue(0, 8), 0);
  EXPECT_EQ(capture.dequeue().out_result, -EIO);
}

TEST_F(Edu, WritesNothingAfterStopHasReturned) {
  Capturing capture("edu", 8 * kPage);
  give_pages(capture, 8);
  ASSERT_EQ(capture.start(), 0);
  std::this_thread::sleep_for(milliseconds{150});
  ASSERT_EQ(capture.stop(), 0);

  const std::vector<uint8_t> then(capture.memory().begin(), capture.memory().end());
  for (int i = 0; i < 8; ++i) {
    const int result = capture.dequeue().out_result;
    EXPECT_TRUE(result == -ECANCELED || result == static_cast<int>(kPage)) << result;
  }
  std::this_thread::sleep_for(milliseconds{300});
  EXPECT_TRUE(std::ranges::equal(then, capture.memory()));
}

TEST_F(Edu, StartsAnewAfterStop) {
  Capturing capture("edu", kPage);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(capture.start(), 0);
    ASSERT_EQ(capture.enqueue(0, 64), 0);
    const dmawire_dequeue taken = capture.dequeue();
    EXPECT_EQ(frame_fault(capture.frame(taken), 0), "");
    ASSERT_EQ(capture.stop(), 0);
  }
}

TEST_F(Edu, NoAnswerFailsTheDeviceUntilTheNextStart) {
  Capturing capture("edu", 4 * kPage);
  ASSERT_EQ(capture.start(), 0);
  card_.cut_off();
  give_pages(capture, 4);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(capture.dequeue().out_result, -EIO);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds{5})
      << "one time-out is enough";
  EXPECT_EQ(capture.status().out_failed, 4U);
  EXPECT_EQ(capture.status().out_running, 0U);
  EXPECT_EQ(capture.enqueue(0, 64), EIO);

  ASSERT_EQ(capture.start(), 0);
  ASSERT_EQ(capture.enqueue(0, 64), 0);
  EXPECT_EQ(frame_fault(capture.frame(capture.dequeue()), 0), "");
}

TEST_F(Edu, UnbindInMidCaptureGivesEnodevAndTheBufferLivesOn) {
  Capturing capture("edu", 4 * kPage);
  give_pages(capture, 4);
  ASSERT_EQ(capture.start(), 0);
  const dmawire_dequeue first = capture.dequeue();
  EXPECT_EQ(frame_fault(capture.frame(first), 0), "");
  const std::vector<uint8_t> then(capture.memory().begin(), capture.memory().begin() + kPage);

  ASSERT_TRUE(card_.unbind());
  for (int i = 1; i < 4; ++i) {
    const int result = capture.dequeue().out_result;
    EXPECT_TRUE(result == -ENODEV || result == static_cast<int>(kPage)) << result;
  }
  dmawire_dequeue taken = {};
  EXPECT_EQ(capture.dequeue(taken), ENODEV);
  EXPECT_EQ(capture.enqueue(0, kPage), ENODEV);
  EXPECT_EQ(capture.start(), ENODEV);
  EXPECT_TRUE(capture.poll(0) & POLLHUP);
  EXPECT_TRUE(std::ranges::equal(then, capture.memory().first(kPage)));
  std::ranges::fill(capture.memory(), uint8_t{1});
  EXPECT_EQ(query(capture.buffer()).out_length, 4 * kPage);
  EXPECT_FALSE(open_driver("edu").valid());

  ASSERT_TRUE(card_.bind());
  Capturing again("edu", kPage);
  ASSERT_EQ(again.enqueue(0, 64), 0);
  ASSERT_EQ(again.start(), 0);
  EXPECT_EQ(frame_fault(again.frame(again.dequeue()), 0), "");
}

TEST_F(Edu, DriverCanBeUnloadedWhileAFileCaptures) {
  Capturing capture("edu", 4 * kPage);
  give_pages(capture, 4);
  ASSERT_EQ(capture.start(), 0);
  driver_.reset();
  EXPECT_EQ(capture.enqueue(0, kPage), ENODEV);
}

/// The example captures the contents of the card's window: here, the last frame of the driver for
/// tests.
TEST_F(Edu, TheExampleOfTheGuideCaptures) {
  std::vector<uint8_t> sent;
  {
    Capturing capture("edu", kPage);
    ASSERT_EQ(capture.enqueue(0, kPage), 0);
    ASSERT_EQ(capture.start(), 0);
    ASSERT_EQ(frame_fault(capture.frame(capture.dequeue()), 0), "");
    sent.assign(capture.memory().begin(), capture.memory().end());
  }
  driver_.reset();

  const DriverModule example("dmawire_example");
  Capturing capture("example", 4 * kPage);
  give_pages(capture, 3);
  ASSERT_EQ(capture.start(), 0);
  for (uint64_t i = 0; i < 3; ++i) {
    const dmawire_dequeue taken = capture.dequeue();
    EXPECT_EQ(taken.out_sequence, i);
    EXPECT_TRUE(std::ranges::equal(capture.frame(taken), sent));
  }
  // One that is under way and one that waits.
  ASSERT_EQ(capture.enqueue(0, kPage), 0);
  ASSERT_EQ(capture.enqueue(kPage, kPage), 0);
  ASSERT_EQ(capture.stop(), 0);
  EXPECT_EQ(capture.dequeue().out_result, static_cast<int>(kPage));
  EXPECT_EQ(capture.dequeue().out_result, -ECANCELED);
}

class Broken : public testing::Test {
 protected:
  /// Starts a run of the driver with @p fault and queues @p count pages.
  void begin(const std::string& fault, size_t count = 1) {
    driver_.emplace("dmawire_broken", "fault=" + fault);
    capture_.emplace("broken", 4 * kPage);
    give_pages(*capture_, count);
    ASSERT_EQ(capture_->start(), 0);
  }

  /// The run has ended, and ENQUEUE fails with EIO until the next start.
  void expect_failed() {
    EXPECT_EQ(capture_->enqueue(2 * kPage, kPage), EIO);
    // It is ended in the background.
    EXPECT_TRUE(eventually([this] { return capture_->status().out_running == 0; }));
    EXPECT_GT(capture_->status().out_failed, 0U);
    EXPECT_EQ(capture_->start(), 0);
    EXPECT_EQ(capture_->enqueue(2 * kPage, kPage), 0);
  }

  KernelLog log_;
  std::optional<DriverModule> driver_;
  std::optional<Capturing> capture_;
};

TEST_F(Broken, IsRightIfItBreaksNoRule) {
  ASSERT_NO_FATAL_FAILURE(begin("none", 4));
  for (uint64_t i = 0; i < 4; ++i)
    EXPECT_EQ(frame_fault(capture_->frame(capture_->dequeue()), i), "");
  EXPECT_EQ(capture_->status().out_failed, 0U);
}

TEST_F(Broken, DoneTooEarlyIsSeenInTheData) {
  ASSERT_NO_FATAL_FAILURE(begin("early"));
  EXPECT_NE(frame_fault(capture_->frame(capture_->dequeue()), 0), "");
}

TEST_F(Broken, DoneTwiceFailsTheDevice) {
  ASSERT_NO_FATAL_FAILURE(begin("twice", 2));
  capture_->dequeue();
  capture_->dequeue();
  EXPECT_TRUE(log_.says("dmawire: driver broken completed a transfer that it did not have"));
  expect_failed();
}

TEST_F(Broken, MoreBytesThanThereIsRoomForFailsTheDevice) {
  ASSERT_NO_FATAL_FAILURE(begin("too_long"));
  EXPECT_EQ(capture_->dequeue().out_result, -EIO);
  EXPECT_TRUE(log_.says("dmawire: driver broken claims more bytes than the transfer has room for"));
  expect_failed();
}

TEST_F(Broken, DoneAfterStopIsNoticedAndHarmless) {
  ASSERT_NO_FATAL_FAILURE(begin("after_stop"));
  ASSERT_EQ(capture_->stop(), 0);
  EXPECT_EQ(capture_->dequeue().out_result, -ECANCELED);
  EXPECT_TRUE(eventually([this] {
    return log_.says("dmawire: driver broken completed a transfer after it was stopped");
  }));
  dmawire_dequeue taken = {};
  EXPECT_EQ(capture_->dequeue(taken), ECANCELED);
}

TEST_F(Broken, ADeviceThatHangsCanBeStopped) {
  ASSERT_NO_FATAL_FAILURE(begin("hang", 2));
  EXPECT_EQ(capture_->poll(100), 0);
  ASSERT_EQ(capture_->stop(), 0);
  EXPECT_EQ(capture_->dequeue().out_result, -ECANCELED);
  EXPECT_EQ(capture_->dequeue().out_result, -ECANCELED);
}

TEST_F(Broken, ADeviceThatHangsCanBeClosed) {
  ASSERT_NO_FATAL_FAILURE(begin("hang", 2));
  capture_.reset();
}

TEST_F(Broken, ADeviceThatFailsInsideStartHasFailed) {
  ASSERT_NO_FATAL_FAILURE(begin("fails_in_start", 2));
  EXPECT_EQ(capture_->dequeue().out_result, -EIO);
  EXPECT_EQ(capture_->dequeue().out_result, -EIO);
  EXPECT_EQ(capture_->enqueue(2 * kPage, kPage), EIO);
  EXPECT_TRUE(eventually([this] { return capture_->status().out_running == 0; }));
  ASSERT_EQ(capture_->stop(), 0);
  EXPECT_EQ(capture_->enqueue(2 * kPage, kPage), 0);
}

TEST_F(Broken, ADeviceThatFailsAndDoesNotStartIsNotStopped) {
  driver_.emplace("dmawire_broken", "fault=refuses_start");
  capture_.emplace("broken", 4 * kPage);
  give_pages(*capture_, 1);
  EXPECT_EQ(capture_->start(), EIO);
  EXPECT_EQ(capture_->status().out_running, 0U);
  EXPECT_EQ(capture_->status().out_queued, 1U) << "as before";
  EXPECT_EQ(capture_->enqueue(kPage, kPage), 0);
  ASSERT_EQ(capture_->stop(), 0);
  EXPECT_EQ(capture_->dequeue().out_result, -ECANCELED);
  EXPECT_EQ(capture_->dequeue().out_result, -ECANCELED);
}

TEST_F(Broken, FramesInAnotherOrderAreNoFault) {
  ASSERT_NO_FATAL_FAILURE(begin("backwards", 4));
  for (const uint64_t sequence : {1, 0, 3, 2}) {
    const dmawire_dequeue taken = capture_->dequeue();
    EXPECT_EQ(taken.out_sequence, sequence);
    EXPECT_EQ(frame_fault(capture_->frame(taken), sequence), "");
  }
  EXPECT_EQ(capture_->status().out_lost, 0U);
  EXPECT_EQ(capture_->status().out_failed, 0U);
  EXPECT_EQ(capture_->status().out_captured, 4U);
}

TEST_F(Broken, ARequestThatIsCanceledLeavesItsRangeWithTheDevice) {
  ASSERT_NO_FATAL_FAILURE(begin("hang"));
  dmawire_uring_capture request{
      .size = sizeof(request), .index = 0, .length = kPage, .offset = kPage};
  SlotRing ring;
  ring.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, capture_->device(), &request, 0, 0);
    sqe->cmd_op = DMAWIRE_URING_CMD_CAPTURE;
  });
  EXPECT_EQ(capture_->status().out_queued, 2U);
  ring.end();
  EXPECT_TRUE(eventually([this] { return capture_->status().out_canceled == 1; }));
  EXPECT_EQ(capture_->status().out_running, 1U) << "others go on";
  EXPECT_EQ(capture_->status().out_queued, 2U);
  EXPECT_EQ(capture_->enqueue(kPage, kPage), EBUSY) << "the device may still write to it";
  ASSERT_EQ(capture_->stop(), 0);
  EXPECT_EQ(capture_->status().out_queued, 0U);
  EXPECT_EQ(capture_->status().out_canceled, 2U);
  EXPECT_EQ(capture_->dequeue().out_result, -ECANCELED);
  EXPECT_EQ(capture_->enqueue(kPage, kPage), 0);
}

TEST_F(Broken, SuspendEndsTheRunAndResumeAllowsANewOne) {
  ASSERT_NO_FATAL_FAILURE(begin("hang", 2));
  if (!write_text("/sys/module/dmawire_broken/parameters/suspended", "Y")) {
    ASSERT_EQ(errno, EOPNOTSUPP);
    GTEST_SKIP() << "this kernel cannot suspend (CONFIG_PM_SLEEP)";
  }
  EXPECT_EQ(capture_->status().out_running, 0U);
  EXPECT_EQ(capture_->dequeue().out_result, -EIO);
  EXPECT_EQ(capture_->dequeue().out_result, -EIO);
  expect_failed();
}

TEST_F(Broken, FramesWithoutRoomAreCountedAsLost) {
  ASSERT_NO_FATAL_FAILURE(begin("drops", 3));
  for (uint64_t i = 0; i < 3; ++i) {
    const dmawire_dequeue taken = capture_->dequeue();
    EXPECT_EQ(taken.out_sequence, 2 * i);
    EXPECT_EQ(taken.out_lost, i == 0 ? 0U : 1U);
    EXPECT_EQ(frame_fault(capture_->frame(taken), 2 * i), "");
  }
  EXPECT_EQ(capture_->status().out_lost, 2U);
  EXPECT_EQ(capture_->status().out_captured, 3U);
}

TEST(Dmaengine, CopiesFramesIntoTheBuffer) {
  const DriverModule driver("dmawire_dmaengine");
  if (!open_driver("dmaengine").valid())
    GTEST_SKIP() << "this machine has no DMA controller that copies memory";

  Capturing capture("dmaengine", 64 * kPage);
  const std::vector<uint32_t> lengths = {kPage, 64, 16 * kPage, 3 * kPage};
  for (size_t i = 0; i < lengths.size(); ++i)
    ASSERT_EQ(capture.enqueue(i * 16 * kPage, lengths[i]), 0);
  ASSERT_EQ(capture.start(), 0);
  for (size_t i = 0; i < lengths.size(); ++i) {
    const dmawire_dequeue taken = capture.dequeue();
    EXPECT_EQ(taken.out_result, static_cast<int>(lengths[i]));
    EXPECT_EQ(frame_fault(capture.frame(taken), i), "");
  }
  EXPECT_EQ(capture.stop(), 0);
}

TEST(Dmaengine, StopsInMidCopy) {
  const DriverModule driver("dmawire_dmaengine");
  if (!open_driver("dmaengine").valid())
    GTEST_SKIP() << "this machine has no DMA controller that copies memory";

  Capturing capture("dmaengine", 64 * kPage);
  for (int run = 0; run < 20; ++run) {
    for (uint64_t i = 0; i < 4; ++i)
      ASSERT_EQ(capture.enqueue(i * 16 * kPage, 16 * kPage), 0);
    ASSERT_EQ(capture.start(), 0);
    ASSERT_EQ(capture.stop(), 0);
    for (uint64_t i = 0; i < 4; ++i) {
      const dmawire_dequeue taken = capture.dequeue();
      if (taken.out_result != -ECANCELED) {
        EXPECT_EQ(frame_fault(capture.frame(taken), i), "");
      }
    }
  }
}

}  // namespace
}  // namespace dmawire::test
