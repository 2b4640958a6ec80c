// SPDX-License-Identifier: MIT
// Buffers attached to devices of other drivers: vgem (DRM) and vivid (V4L2, once by DMA mapping and
// once by vmap).
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "abi.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "vgem.hpp"
#include "vivid.hpp"

namespace dmawire::test {
namespace {

class Vgem : public testing::Test {
 protected:
  void SetUp() override {
    if (!card_.valid())
      GTEST_SKIP() << "this kernel has no vgem to attach to";
  }

  UniqueFd card_ = open_vgem();
};

TEST_F(Vgem, GivesTheAttachedBufferBack) {
  UniqueFd buffer = create_buffer(open_device().get(), kMiB + kPage);
  Mapped before(buffer.get(), kMiB + kPage);
  before.bytes()[kMiB] = 0x77;
  VgemHandle handle(card_, buffer.get());
  ASSERT_EQ(handle.error(), 0) << strerror(handle.error());
  buffer.reset();
  before.reset();

  UniqueFd again = handle.to_dmabuf();
  ASSERT_TRUE(again.valid());
  EXPECT_EQ(query(again.get()).out_length, kMiB + kPage);
  EXPECT_EQ(Mapped(again.get(), kMiB + kPage).bytes()[kMiB], 0x77);
}

TEST_F(Vgem, KeepsTheBufferAlive) {
  UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  VgemHandle handle(card_, buffer.get());
  buffer.reset();
  EXPECT_EQ(module_info().out_buffers, 1u);
  handle.reset();
  EXPECT_EQ(module_info().out_buffers, 0u);
}

TEST_F(Vgem, CpuAccessIsSyncedWhileAttached) {
  UniqueFd buffer = create_buffer(open_device().get(), 3 * kMiB + kPage);
  VgemHandle handle(card_, buffer.get());
  ASSERT_EQ(handle.error(), 0);
  Mapped mapping(buffer.get(), 3 * kMiB + kPage);
  for (uint64_t access : {DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW}) {
    EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_START | access), 0);
    mapping.bytes()[3 * kMiB] = static_cast<uint8_t>(access);
    EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_END | access), 0);
    EXPECT_EQ(mapping.bytes()[3 * kMiB], static_cast<uint8_t>(access));
  }
}

TEST_F(Vgem, DevicesAttachToOneBufferSideBySide) {
  UniqueFd other = open_vgem();
  UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  VgemHandle first(card_, buffer.get());
  VgemHandle second(other, buffer.get());
  EXPECT_EQ(first.error(), 0);
  EXPECT_EQ(second.error(), 0);
  EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
  first.reset();
  EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
}

class Camera : public testing::TestWithParam<VividCamera> {
 protected:
  static constexpr size_t kLength =
      128 * 1024;  // one block, as a device without scatter-gather needs it
  static constexpr uint32_t kWidth = 320;
  static constexpr uint32_t kHeight = 180;
  static constexpr uint32_t kBuffers = 3;

  static void TearDownTestSuite() { unload_vivid(); }
  void SetUp() override {
    if (!load_vivid())
      GTEST_SKIP() << "this kernel has no vivid to attach to";
    camera_ = UniqueFd(open(vivid_node(GetParam()).c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(camera_.valid());
    set_format();
    UniqueFd device = open_device();
    for (uint32_t i = 0; i < kBuffers; ++i)
      buffers_.push_back(create_buffer(device.get(), kLength));
  }

  void set_format() {
    v4l2_format format = {};
    format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    format.fmt.pix.width = kWidth;
    format.fmt.pix.height = kHeight;
    format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
    ASSERT_EQ(call(camera_.get(), VIDIOC_S_FMT, &format), 0);
    ASSERT_LE(format.fmt.pix.sizeimage, kLength);
  }

  void request_buffers(uint32_t count) {
    v4l2_requestbuffers request = {};
    request.count = count;
    request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    request.memory = V4L2_MEMORY_DMABUF;
    ASSERT_EQ(call(camera_.get(), VIDIOC_REQBUFS, &request), 0);
  }

  void queue(uint32_t index) {
    v4l2_buffer buffer = {};
    buffer.index = index;
    buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer.memory = V4L2_MEMORY_DMABUF;
    buffer.m.fd = buffers_[index].get();
    ASSERT_EQ(call(camera_.get(), VIDIOC_QBUF, &buffer), 0) << strerror(errno);
  }

  void stream(bool on) {
    int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    ASSERT_EQ(call(camera_.get(), on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &type), 0)
        << strerror(errno);
  }

  uint32_t take() {
    v4l2_buffer buffer = {};
    buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer.memory = V4L2_MEMORY_DMABUF;
    EXPECT_EQ(call(camera_.get(), VIDIOC_DQBUF, &buffer), 0);
    EXPECT_EQ(buffer.flags & V4L2_BUF_FLAG_ERROR, 0u);
    return buffer.index;
  }

  UniqueFd camera_;
  std::vector<UniqueFd> buffers_;
};

TEST_P(Camera, WritesItsFramesIntoOurBuffers) {
  request_buffers(kBuffers);
  for (uint32_t i = 0; i < kBuffers; ++i)
    queue(i);
  stream(true);
  for (int frame = 0; frame < 6; ++frame) {
    uint32_t index = take();
    ASSERT_LT(index, kBuffers);
    Mapped mapping(buffers_[index].get(), kLength);
    EXPECT_EQ(sync(buffers_[index].get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
    auto picture = mapping.bytes().first(size_t{kWidth} * kHeight * 2);
    auto black = std::count(picture.begin(), picture.end(), uint8_t{0});
    EXPECT_LT(static_cast<size_t>(black), picture.size() / 4) << "no picture in frame " << frame;
    std::fill(picture.begin(), picture.end(), uint8_t{0});
    EXPECT_EQ(sync(buffers_[index].get(), DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
    queue(index);
  }
  stream(false);
  request_buffers(0);
}

TEST_P(Camera, KeepsQueuedBuffersAliveUntilItLetsGo) {
  request_buffers(kBuffers);
  for (uint32_t i = 0; i < kBuffers; ++i)
    queue(i);
  buffers_.clear();
  EXPECT_EQ(module_info().out_buffers, kBuffers);
  stream(true);
  take();
  stream(false);
  request_buffers(0);
  EXPECT_EQ(module_info().out_buffers, 0u);
}

INSTANTIATE_TEST_SUITE_P(Vivid, Camera, testing::Values(VividCamera::vmap, VividCamera::dma),
                         [](const auto& instance) {
                           return std::string(instance.param == VividCamera::vmap ? "ThroughVmap"
                                                                                  : "ThroughDma");
                         });

}  // namespace
}  // namespace dmawire::test
