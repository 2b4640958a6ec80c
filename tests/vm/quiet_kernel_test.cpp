// SPDX-License-Identifier: MIT
// No action of user space makes the kernel WARN, which ends the guest (panic_on_warn).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/videodev2.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "abi.hpp"
#include "capture_queue.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "vivid.hpp"

namespace dmawire::test {
namespace {

constexpr uint64_t kPicture = 64 * kPage;

/// A camera that writes through dma_buf_vmap(), with a picture small enough for the buffers here.
class VmapCamera {
 public:
  VmapCamera() {
    if (!load_vivid())
      return;
    node_.reset(open(vivid_node(VividCamera::vmap).c_str(), O_RDWR | O_CLOEXEC));
    v4l2_format format{};
    format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    format.fmt.pix.width = 320;
    format.fmt.pix.height = 180;
    format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
    EXPECT_EQ(ioctl(node_.get(), VIDIOC_S_FMT, &format), 0) << strerror(errno);
    EXPECT_LE(format.fmt.pix.sizeimage, kPicture);
    v4l2_requestbuffers buffers{};
    buffers.count = 1;
    buffers.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffers.memory = V4L2_MEMORY_DMABUF;
    EXPECT_EQ(ioctl(node_.get(), VIDIOC_REQBUFS, &buffers), 0) << strerror(errno);
  }
  ~VmapCamera() {
    node_.reset();
    unload_vivid();
  }
  VmapCamera(const VmapCamera&) = delete;
  VmapCamera& operator=(const VmapCamera&) = delete;

  [[nodiscard]] bool present() const { return node_.valid(); }
  /// The camera maps the dma-buf for the CPU: an errno or 0.
  [[nodiscard]] int queue(const UniqueFd& dmabuf) const {
    v4l2_buffer buffer{};
    buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer.memory = V4L2_MEMORY_DMABUF;
    buffer.length = kPicture;
    buffer.m.fd = dmabuf.get();
    return ioctl(node_.get(), VIDIOC_QBUF, &buffer) == 0 ? 0 : errno;
  }

 private:
  UniqueFd node_;
};

/// edu without an IOMMU and with 28 bits of an address, which most memory has more of.
class ShortSightedEdu : public testing::Test {
 protected:
  void SetUp() override {
    if (!card_.present() || read_text("/proc/cmdline").find("intel_iommu=off") == std::string::npos)
      GTEST_SKIP() << "to be seen with edu and without an IOMMU (--append intel_iommu=off)";
    driver_.emplace("dmawire_edu", "dma_bits=28");
    device_ = open_driver("edu");
    ASSERT_TRUE(device_.valid());
  }

  const EduCard card_;
  std::optional<DriverModule> driver_;
  UniqueFd device_;
};

TEST_F(ShortSightedEdu, IsNotGivenCoherentMemoryThatItDoesNotReach) {
  dmawire_create request = create_request(2 * kMiB);
  request.backing = DMAWIRE_BACKING_COHERENT;
  const int error = create_error(device_.get(), request);
  EXPECT_TRUE(error == 0 || error == ENOMEM) << strerrorname_np(error);
}

TEST_F(ShortSightedEdu, IsNotAttachedToMemoryThatItDoesNotReach) {
  const CaptureQueue queue{device_.get()};
  // Of more than its 256 MiB, so that some lies beyond.
  EXPECT_EQ(queue.attach(create_buffer(device_.get(), 320 * kMiB).get()), EIO);
  const UniqueFd memfd = make_memfd(320 * kMiB);
  EXPECT_EQ(queue.attach(create(device_.get(), memfd_request(memfd.get(), 0, 320 * kMiB)).get()),
            EIO);
}

TEST(QuietKernel, ACameraCannotMapAMemfdThatMustNotBeWritten) {
  const VmapCamera camera;
  if (!camera.present())
    GTEST_SKIP() << "this kernel has no vivid";
  const UniqueFd device = open_device();
  const UniqueFd memfd = make_memfd(kPicture);
  dmawire_create request = memfd_request(memfd.get(), 0, kPicture);
  request.direction = DMAWIRE_TO_DEVICE;
  request.fd_flags = O_RDONLY | O_CLOEXEC;
  EXPECT_NE(camera.queue(create(device.get(), request)), 0);
  // The same memory, to be written.
  EXPECT_EQ(camera.queue(create(device.get(), memfd_request(memfd.get(), 0, kPicture))), 0);
}

TEST(QuietKernel, ACameraCannotMapMemoryOfADevice) {
  const EduCard card;
  if (!card.present())
    GTEST_SKIP() << "this machine has no edu";
  const DriverModule driver("dmawire_edu", EduCard::driver_parameters());
  const UniqueFd device = open_driver("edu");
  dmawire_create request = create_request(kPicture);
  request.backing = DMAWIRE_BACKING_COHERENT;
  const UniqueFd buffer = create(device.get(), request);
  if (query(buffer.get()).out_send != DMAWIRE_NO_PAGES)
    GTEST_SKIP() << "it is pages like any others (--append 'intel_iommu=off swiotlb=force')";
  const VmapCamera camera;
  if (!camera.present())
    GTEST_SKIP() << "this kernel has no vivid";
  EXPECT_NE(camera.queue(buffer), 0);
}

}  // namespace
}  // namespace dmawire::test
