// SPDX-License-Identifier: MIT
//
// Buffers shared with DRM by PRIME, both ways, and fences that cross over: with vgem, the kernel's
// virtual graphics device.

#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <poll.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <dmawire/drm_device.hpp>
#include <dmawire/error.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "abi.hpp"
#include "capturing.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "process.hpp"
#include "transfer.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

class Drm : public testing::Test {
 protected:
  void SetUp() override {
    if (!card_.valid())
      GTEST_SKIP() << "this kernel has no vgem to share buffers with";
  }

  static nlohmann::json json_of(const Process::Result& result) {
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out);
  }

  UniqueFd card_ = open_vgem();
  std::string node_ = vgem_path();
};

TEST_F(Drm, ListTellsWhatADeviceCan) {
  const nlohmann::json rows = json_of(run({"uring_app", "drm", "list", "--json"}));
  bool found = false;
  for (const auto& row : rows) {
    if (row["node"] == node_) {
      found = true;
      EXPECT_EQ(row["driver"], "vgem");
      EXPECT_TRUE(row["imports"]);
      EXPECT_TRUE(row["exports"]);
    }
  }
  EXPECT_TRUE(found) << rows;
  EXPECT_NE(run({"uring_app", "drm", "list"}).out.find("vgem: imports and exports dma-bufs"),
            std::string::npos);
}

TEST_F(Drm, ShowsEveryByteOfWhatItImports) {
  for (const char* backing : {"pages", "contig"}) {
    SCOPED_TRACE(backing);
    const nlohmann::json row = json_of(run(
        {"uring_app", "drm", "import", node_, "--size", "3076K", "--backing", backing, "--json"}));
    EXPECT_EQ(row["bytes"], 3076 * 1024);
    EXPECT_EQ(row["verified"], true);
    EXPECT_EQ(row["maps"], false) << "DRM has begun to map what it imported: read it there too";
  }
}

TEST_F(Drm, ExportsWhatTheCpuCanSendAndTellsWhyNotMore) {
  Receiver receiver{{"--hash"}, "dst"};
  Process sender{{"uring_app", "drm", "export", node_, "--size", "3M", "--json", "--to",
                  "192.0.2.2:" + receiver.port()},
                 {.netns = "src"}};
  const nlohmann::json row = json_of(sender.wait());
  EXPECT_EQ(row["bytes"], 3 * kMiB);
  EXPECT_EQ(row["verified"], true);
  for (const auto& path : row["paths"]) {
    const bool copies = path["path"] == "copy";
    EXPECT_EQ(path["available"], copies) << path << ": its mapping has pages now; say so in docs";
    EXPECT_FALSE(path["reason"].get<std::string>().empty());
  }
  EXPECT_EQ(row["sent"]["path"], "copy");
  EXPECT_EQ(row["sent"]["bytes"], 3 * kMiB);
  const nlohmann::json received = json_of(receiver.process().wait());
  EXPECT_EQ(received["xxh3"], row["sent"]["xxh3"]);
  EXPECT_EQ(received["bytes"], 3 * kMiB);
}

TEST_F(Drm, CommandsSayWhatIsNoDrmDevice) {
  for (const char* action : {"import", "export"}) {
    const Process::Result result = run({"uring_app", "drm", action, "/dev/null"});
    EXPECT_EQ(result.status, 3);
    EXPECT_NE(result.err.find("it is no node of DRM's"), std::string::npos) << result.err;
  }
}

/// Frames of a device of ours are there for DRM, byte by byte, once the device is done.
TEST_F(Drm, SeesTheFramesOfADevice) {
  Capturing capturing("pattern", kMiB);
  const DrmDevice device{node_};
  const DrmDevice::Handle handle =
      device.import(Buffer{UniqueFd{dup(capturing.buffer())}, kMiB, Buffer::Kind::dma_buf});
  ASSERT_EQ(capturing.enqueue(0, kMiB), 0);
  ASSERT_EQ(capturing.start(), 0);
  const dmawire_dequeue taken = capturing.dequeue();
  EXPECT_EQ(capturing.stop(), 0);
  const Buffer seen = handle.to_buffer();
  const Mapping mapping = seen.map();
  EXPECT_EQ(frame_fault({reinterpret_cast<const uint8_t*>(mapping.bytes().data()),
                         static_cast<size_t>(taken.out_result)},
                        taken.out_sequence),
            "");
}

class DrmFence : public Drm {
 protected:
  static int events_of(int dmabuf, short events, int milliseconds) {
    pollfd file{.fd = dmabuf, .events = events, .revents = 0};
    return poll(&file, 1, milliseconds) < 0 ? -errno : file.revents;
  }
};

TEST_F(DrmFence, OfAWriterIsWaitedForByWhoeverPolls) {
  const UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  const VgemHandle handle(card_, buffer.get());
  ASSERT_EQ(handle.error(), 0);
  EXPECT_EQ(events_of(buffer.get(), POLLIN, 0), POLLIN);
  VgemFence fence(card_, handle.number(), VgemFence::Access::kWrite);
  ASSERT_EQ(fence.error(), 0) << strerror(fence.error());
  EXPECT_EQ(events_of(buffer.get(), POLLIN, 0), 0) << "it is being written to";
  EXPECT_EQ(events_of(buffer.get(), POLLOUT, 0), 0);
  fence.signal();
  EXPECT_EQ(events_of(buffer.get(), POLLIN, 10'000), POLLIN);
  EXPECT_EQ(events_of(buffer.get(), POLLOUT, 10'000), POLLOUT);
}

TEST_F(DrmFence, OfAReaderKeepsWritersWaitingOnly) {
  const UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  const VgemHandle handle(card_, buffer.get());
  VgemFence fence(card_, handle.number(), VgemFence::Access::kRead);
  ASSERT_EQ(fence.error(), 0);
  EXPECT_EQ(events_of(buffer.get(), POLLIN, 0), POLLIN);
  EXPECT_EQ(events_of(buffer.get(), POLLOUT, 0), 0);
  fence.signal();
  EXPECT_EQ(events_of(buffer.get(), POLLOUT, 10'000), POLLOUT);
}

TEST_F(DrmFence, OfAWriterIsWaitedForByTheCpu) {
  const UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  const VgemHandle handle(card_, buffer.get());
  VgemFence fence(card_, handle.number(), VgemFence::Access::kWrite);
  ASSERT_EQ(fence.error(), 0);
  std::atomic<bool> signaled = false;
  bool waited = false;
  std::thread cpu{[&] {
    EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
    waited = signaled;
  }};
  std::this_thread::sleep_for(std::chrono::milliseconds{300});
  signaled = true;
  fence.signal();
  cpu.join();
  EXPECT_TRUE(waited) << "it read what was being written";
  EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
}

class DrmFencedCapture : public DrmFence {
 protected:
  static constexpr uint32_t frame = 64 * 1024;

  void SetUp() override {
    DrmFence::SetUp();
    if (IsSkipped())
      return;
    ASSERT_EQ(queue_.attach(buffer_.get(), &index_, DMAWIRE_ATTACH_FENCES), 0);
    ASSERT_EQ(handle_.error(), 0);
  }

  UniqueFd device_ = open_device();
  CaptureQueue queue_{device_.get()};
  UniqueFd buffer_ = create_buffer(device_.get(), kMiB);
  VgemHandle handle_{card_, buffer_.get()};
  uint32_t index_ = 0;
};

TEST_F(DrmFencedCapture, IsSeenThroughTheHandle) {
  ASSERT_EQ(queue_.start(1), 0);
  ASSERT_EQ(queue_.enqueue(index_, 0, frame), 0);
  EXPECT_EQ(VgemFence(card_, handle_.number(), VgemFence::Access::kRead).error(), EBUSY)
      << "the device may write to it";
  (void)queue_.dequeue();
  EXPECT_EQ(events_of(buffer_.get(), POLLIN, 10'000), POLLIN);
  EXPECT_EQ(VgemFence(card_, handle_.number(), VgemFence::Access::kRead).error(), 0)
      << "it is done";
}

TEST_F(DrmFencedCapture, WaitsForAReaderWithoutBlockingGive) {
  ASSERT_EQ(queue_.start(), 0);
  VgemFence fence(card_, handle_.number(), VgemFence::Access::kRead);
  ASSERT_EQ(fence.error(), 0);
  ASSERT_EQ(queue_.enqueue(index_, 0, frame), 0) << "it does not wait itself";
  pollfd file{.fd = device_.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&file, 1, 200), 0) << "the reader is not done";
  fence.signal();
  EXPECT_EQ(queue_.dequeue().out_result, static_cast<int32_t>(frame));
}

TEST_F(DrmFencedCapture, CanBeStoppedWhileItWaitsForAReader) {
  ASSERT_EQ(queue_.start(), 0);
  VgemFence fence(card_, handle_.number(), VgemFence::Access::kRead);
  ASSERT_EQ(fence.error(), 0);
  ASSERT_EQ(queue_.enqueue(index_, 0, frame), 0);
  ASSERT_EQ(queue_.stop(), 0);
  EXPECT_EQ(queue_.dequeue().out_result, -ECANCELED);
  EXPECT_EQ(queue_.detach(index_), 0);
}

TEST_F(DrmFencedCapture, ItsOwnFencesDoNotKeepItWaiting) {
  ASSERT_EQ(queue_.start(), 0);
  for (uint32_t i = 0; i < 4; ++i)
    ASSERT_EQ(queue_.enqueue(index_, uint64_t{i} * frame, frame), 0);
  for (uint32_t i = 0; i < 4; ++i)
    EXPECT_EQ(queue_.dequeue().out_result, static_cast<int32_t>(frame));
}

TEST_F(DrmFencedCapture, WithoutTheFlagReadersAreNotWaitedFor) {
  ASSERT_EQ(queue_.detach(index_), 0);
  ASSERT_EQ(queue_.attach(buffer_.get(), &index_), 0);
  ASSERT_EQ(queue_.start(), 0);
  VgemFence fence(card_, handle_.number(), VgemFence::Access::kRead);
  ASSERT_EQ(fence.error(), 0);
  ASSERT_EQ(queue_.enqueue(index_, 0, frame), 0);
  EXPECT_EQ(queue_.dequeue().out_result, static_cast<int32_t>(frame));
}

}  // namespace
}  // namespace dmawire::test
