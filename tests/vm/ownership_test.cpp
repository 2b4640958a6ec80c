// SPDX-License-Identifier: MIT
//
// Only the owner of a capture can stop, stall or change it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>

#include "abi.hpp"
#include "capture_queue.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

/// A readable page; a write to it blocks until the test allows or refuses it.
class StalledPage {
 public:
  /// Whether this kernel can stall a write to a page that can be read.
  static bool is_supported() {
    const UniqueFd fd{static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK))};
    uffdio_api api{.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP, .ioctls = 0};
    return fd.valid() && ioctl(fd.get(), UFFDIO_API, &api) == 0;
  }

  StalledPage(const void* content, size_t length) {
    std::memcpy(page_.data(), content, length);
    uffdio_api api{.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP, .ioctls = 0};
    EXPECT_EQ(ioctl(fd_.get(), UFFDIO_API, &api), 0) << strerror(errno);
    uffdio_register range{
        .range = {address(), kPage}, .mode = UFFDIO_REGISTER_MODE_WP, .ioctls = 0};
    EXPECT_EQ(ioctl(fd_.get(), UFFDIO_REGISTER, &range), 0) << strerror(errno);
    protect(UFFDIO_WRITEPROTECT_MODE_WP);
  }

  [[nodiscard]] void* data() { return page_.data(); }
  /// Waits until a thread writes to it.
  [[nodiscard]] bool is_written() const {
    pollfd file{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    return poll(&file, 1, 60'000) == 1 && (file.revents & POLLIN) != 0;
  }
  void let_it() { protect(0); }
  void refuse() {
    EXPECT_EQ(mprotect(page_.data(), kPage, PROT_READ), 0);
    protect(0);
  }

 private:
  [[nodiscard]] uint64_t address() { return reinterpret_cast<uint64_t>(page_.data()); }
  void protect(uint64_t mode) {
    uffdio_writeprotect request{.range = {address(), kPage}, .mode = mode};
    EXPECT_EQ(ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &request), 0) << strerror(errno);
  }

  Mapped page_{-1, kPage, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS};
  UniqueFd fd_{static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK))};
};

class Ownership : public testing::Test {
 protected:
  UniqueFd device_ = open_device();
  CaptureQueue queue_{device_.get()};
  UniqueFd buffer_ = create_buffer(device_.get(), 4 * kPage);
};

TEST_F(Ownership, AnAttachmentHasNoIndexUntilItIsTold) {
  if (!StalledPage::is_supported())
    GTEST_SKIP() << "this kernel has no userfaultfd(2) that stalls writes";
  for (const bool refused : {false, true}) {
    const dmawire_attach content{.size = sizeof(content), .fd = buffer_.get()};
    StalledPage page{&content, sizeof(content)};
    auto* request = static_cast<dmawire_attach*>(page.data());
    int error = -1;
    std::jthread attaching{[&] { error = call(device_.get(), DMAWIRE_IOC_ATTACH, request); }};
    ASSERT_TRUE(page.is_written());
    EXPECT_EQ(queue_.enqueue(0, 0, kPage), EINVAL);
    EXPECT_EQ(queue_.detach(0), EINVAL);
    const UniqueFd other = create_buffer(device_.get(), kPage);
    uint32_t index = 0;
    EXPECT_EQ(queue_.attach(other.get(), &index), 0);
    EXPECT_EQ(index, 1U);
    if (refused)
      page.refuse();
    else
      page.let_it();
    attaching.join();
    EXPECT_EQ(error, refused ? EFAULT : 0);
    EXPECT_EQ(queue_.enqueue(0, 0, kPage), refused ? EINVAL : 0);
    ASSERT_EQ(queue_.stop(), 0);
    EXPECT_EQ(queue_.detach(0), refused ? EINVAL : 0);
    EXPECT_EQ(queue_.enqueue(1, 0, kPage), 0) << "the other attachment is as it was";
    ASSERT_EQ(queue_.stop(), 0);
    EXPECT_EQ(queue_.detach(1), 0);
    dmawire_dequeue taken;
    while (queue_.dequeue(&taken) == 0)
      ;
  }
}

TEST_F(Ownership, AnotherFilesCreateDoesNotStallGive) {
  const EduCard card;
  if (!card.present())
    GTEST_SKIP() << "this machine has no edu device";
  const DriverModule driver{"dmawire_edu", EduCard::driver_parameters()};
  Capturing capture{"edu", 4 * kPage};
  const UniqueFd other = open_driver("edu");
  dmawire_create request = create_request(256 * kMiB);
  request.backing = DMAWIRE_BACKING_COHERENT;
  // The first call may take longer than later ones, since it makes the host provide the guest's
  // memory.
  std::chrono::nanoseconds length_of_create{};
  for (int i = 0; i < 3; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const UniqueFd buffer = create(other.get(), request);
    length_of_create = std::chrono::steady_clock::now() - begin;
  }

  // ENQUEUE is called during CREATE, which allocates and clears for many times as long.
  // Where it ended meanwhile, that was not seen: again.
  bool was_inside = false;
  for (int i = 0; i < 20 && !was_inside; ++i) {
    std::atomic<bool> is_creating = true;
    std::thread creating{[&] {
      const UniqueFd buffer = create(other.get(), request);
      is_creating = false;
    }};
    // The kernel reports no event when CREATE allocates: sleep, then check is_creating.
    std::this_thread::sleep_for(length_of_create / 4);
    EXPECT_EQ(capture.enqueue(0, kPage), 0);
    // An ENQUEUE that waits for CREATE returns a moment before CREATE does.
    std::this_thread::sleep_for(length_of_create / 4);
    was_inside = is_creating;
    creating.join();
    EXPECT_EQ(capture.stop(), 0);
    capture.dequeue();
  }
  EXPECT_TRUE(was_inside);
}

TEST_F(Ownership, AStrangersStopChangesNothing) {
  uint32_t index = 0;
  ASSERT_EQ(queue_.attach(buffer_.get(), &index), 0);
  ASSERT_EQ(queue_.enqueue(index, 0, kPage), 0);
  ASSERT_EQ(queue_.start(1), 0);
  const UniqueFd other = open_device();
  const CaptureQueue stranger{other.get()};
  EXPECT_EQ(stranger.stop(), EBUSY);
  EXPECT_EQ(stranger.start(), EBUSY);
  EXPECT_EQ(stranger.enqueue(index, kPage, kPage), EBUSY);
  EXPECT_EQ(stranger.detach(index), EBUSY);
  dmawire_dequeue taken;
  EXPECT_EQ(stranger.dequeue(&taken), EBUSY);
  pollfd files[] = {{.fd = device_.get(), .events = POLLIN, .revents = 0},
                    {.fd = other.get(), .events = POLLIN, .revents = 0}};
  EXPECT_EQ(poll(files, 2, 60'000), 1) << "only the owner has something to take";
  EXPECT_EQ(files[1].revents, 0);
  EXPECT_EQ(queue_.dequeue().out_result, static_cast<int>(kPage));
}

TEST_F(Ownership, AFileThatIsOpenForReadingOnlyAsksAndFillsSlots) {
  const std::string path = "/proc/self/fd/" + std::to_string(device_.get());
  const UniqueFd reader{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  ASSERT_TRUE(reader.valid());
  EXPECT_NE(info(reader.get()).out_backings, 0U);
  EXPECT_EQ(CaptureQueue{reader.get()}.status().out_queued, 0U);
  dmawire_query query{.size = sizeof(query), .fd = buffer_.get()};
  EXPECT_EQ(call(reader.get(), DMAWIRE_IOC_QUERY, &query), 0);
  if (has_direct()) {
    SlotRing ring;
    ASSERT_EQ(ring.make_table(), 0);
    EXPECT_EQ(ring.register_slot(reader.get(), buffer_.get(), 0), 0);
  }

  const UniqueFd writer{open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  EXPECT_EQ(try_create(writer.get(), kPage), EACCES);

  const CaptureQueue queue{reader.get()};
  EXPECT_EQ(try_create(reader.get(), kPage), EACCES);
  EXPECT_EQ(queue.attach(buffer_.get()), EACCES);
  EXPECT_EQ(queue.detach(0), EACCES);
  EXPECT_EQ(queue.enqueue(0, 0, kPage), EACCES);
  EXPECT_EQ(queue.start(), EACCES);
  EXPECT_EQ(queue.stop(), EACCES);
  dmawire_dequeue taken;
  EXPECT_EQ(queue.dequeue(&taken), EACCES);
  dmawire_sync sync{.size = sizeof(sync), .flags = DMAWIRE_SYNC_READ, .fd = buffer_.get()};
  EXPECT_EQ(call(reader.get(), DMAWIRE_IOC_SYNC, &sync), EACCES);
  SlotRing ring;
  const dmawire_uring_capture capture{.size = sizeof(capture), .length = kPage};
  EXPECT_EQ(ring.command(reader.get(), DMAWIRE_URING_CMD_CAPTURE, &capture), EACCES);
}

}  // namespace
}  // namespace dmawire::test
