// SPDX-License-Identifier: MIT
// DMA maintenance touches only the bytes that a device has written or will read. Visible in the
// data where devices get bounce buffers (--append 'intel_iommu=off swiotlb=force'), and in the
// cache maintenance itself on machine pi, where devices are not coherent.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <dmawire/unique_fd.hpp>

#include "../drivers/importer.h"
#include "abi.hpp"
#include "call_record.hpp"
#include "capture_queue.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "eventually.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"

namespace dmawire::test {
namespace {

bool has_bounce_buffers() {
  return read_text("/proc/cmdline").find("swiotlb=force") != std::string::npos;
}

/// Fills with bytes that depend on the place and on @p seed.
void scribble(std::span<uint8_t> bytes, uint32_t seed) {
  for (uint32_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<uint8_t>((i * 2654435761u + seed * 40503u) >> 16);
}

/// The first place where memory is not as expected, or nothing.
std::string difference(std::span<const uint8_t> memory, std::span<const uint8_t> expected) {
  const auto [at, there] = std::ranges::mismatch(memory, expected);
  if (at == memory.end())
    return {};
  const auto offset = static_cast<size_t>(at - memory.begin());
  return "page " + std::to_string(offset / kPage) + ", byte " + std::to_string(offset % kPage);
}

int sync_part(int device, int dmabuf, uint32_t flags, uint64_t offset, uint64_t length) {
  dmawire_sync request{.size = sizeof(request),
                       .flags = flags,
                       .fd = dmabuf,
                       .reserved = 0,
                       .offset = offset,
                       .length = length};
  return call(device, DMAWIRE_IOC_SYNC, &request);
}

constexpr size_t kPages = 28;

/// A buffer of kPages pages, and all of the memory that shares its pages.
class Ground {
 public:
  Ground(int device, dmawire_direction direction, bool is_user) {
    if (is_user) {
      heap_.emplace((kPages + 8) * kPage);
      begin_ = 3 * kPage + kAlignment;
      bytes_ = heap_->bytes();
      scribble(bytes_, 0);
    }
    dmawire_create request = is_user ? user_request(bytes_.data() + begin_, kPages * kPage)
                                     : create_request(kPages * kPage);
    request.direction = direction;
    dmabuf_ = create(device, request);
    if (!is_user) {
      mapping_ = Mapped(dmabuf_.get(), kPages * kPage);
      bytes_ = mapping_.bytes();
    }
  }

  [[nodiscard]] int dmabuf() const { return dmabuf_.get(); }
  [[nodiscard]] size_t begin() const { return begin_; }
  /// The bytes of the buffer, and of the memory around it on the same pages.
  [[nodiscard]] std::span<uint8_t> bytes() const { return bytes_; }

 private:
  // Cache-line alignment of a buffer's begin and end, for a device that is not coherent.
  static constexpr size_t kAlignment = 128;

  std::optional<Anonymous> heap_;
  UniqueFd dmabuf_;
  Mapped mapping_;
  std::span<uint8_t> bytes_;
  size_t begin_ = 0;
};

/// Driver, direction, and whether the memory is this process's.
using Case = std::tuple<const char*, dmawire_direction, bool>;

std::string name_of_case(const testing::TestParamInfo<Case>& instance) {
  const auto [driver, direction, is_user] = instance.param;
  return std::string(driver) + (is_user ? "User" : "Pages") +
         (direction == DMAWIRE_BIDIRECTIONAL ? "BothWays" : "");
}

class DmaSync : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto [driver, direction, is_user] = GetParam();
    name_ = driver;
    is_edu_ = name_ == "edu";
    if (is_edu_ && !card_.present())
      GTEST_SKIP() << "this machine has no edu device";
    driver_.emplace("dmawire_" + name_, is_edu_ ? EduCard::driver_parameters() : "");
    open();
    if (!device_.valid())
      GTEST_SKIP() << "this machine has no DMA controller that copies memory";
    ground_.emplace(device_.get(), direction, is_user);
    attach();
  }

  void open() { device_ = open_driver(name_); }
  void attach() { ASSERT_EQ(CaptureQueue{device_.get()}.attach(ground_->dmabuf(), &index_), 0); }

  /// The CPU writes all of the memory.
  void write() {
    scribble(ground_->bytes(), ++seed_);
    expected_.assign(ground_->bytes().begin(), ground_->bytes().end());
  }
  void compare(const std::string& after) {
    EXPECT_EQ(difference(ground_->bytes(), expected_), "") << "after " << after;
  }

  /// A range that the device does not get to write.
  void give_in_vain() {
    ASSERT_EQ(CaptureQueue{device_.get()}.enqueue(index_, 26 * kPage, 2 * kPage), 0);
  }

  /// Runs a capture and checks the memory: frames in the queued ranges, all else unchanged.
  void capture() {
    const CaptureQueue queue{device_.get()};
    write();
    give_in_vain();
    ASSERT_EQ(queue.stop(), 0);
    ASSERT_EQ(queue.dequeue().out_result, -ECANCELED);
    compare("STOP");

    std::vector<std::pair<uint64_t, uint32_t>> ranges = {{2 * kPage, kPage}, {5 * kPage, 4992}};
    if (!is_edu_)
      ranges.emplace_back(8 * kPage, 17 * kPage);  // longer than any frame
    for (const auto& [offset, length] : ranges)
      ASSERT_EQ(queue.enqueue(index_, offset, length), 0);
    ASSERT_EQ(queue.start(), 0);
    for (size_t i = 0; i < ranges.size(); ++i) {
      const dmawire_dequeue taken = queue.dequeue();
      ASSERT_GT(taken.out_result, 0);
      const auto begin = static_cast<ptrdiff_t>(ground_->begin() + taken.out_offset);
      const auto frame = ground_->bytes().subspan(static_cast<size_t>(begin),
                                                  static_cast<size_t>(taken.out_result));
      ASSERT_EQ(frame_fault(frame, i), "");
      std::ranges::copy(frame, expected_.begin() + begin);
    }
    ASSERT_EQ(queue.stop(), 0);
    compare("DEQUEUE");
    write();
  }

  const EduCard card_;
  std::string name_;
  bool is_edu_ = false;
  std::optional<DriverModule> driver_;
  UniqueFd device_;
  std::optional<Ground> ground_;
  uint32_t index_ = 0;
  uint32_t seed_ = 0;
  std::vector<uint8_t> expected_;
};

TEST_P(DmaSync, WhatTheCpuHasWrittenStays) {
  ASSERT_NO_FATAL_FAILURE(capture());
  for (const uint64_t access : {DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW}) {
    write();
    ASSERT_EQ(sync(ground_->dmabuf(), DMA_BUF_SYNC_START | access), 0);
    compare("DMA_BUF_SYNC_START");
    write();
    ASSERT_EQ(sync(ground_->dmabuf(), DMA_BUF_SYNC_END | access), 0);
    compare("DMA_BUF_SYNC_END");
    for (const uint64_t length : {uint64_t{0}, uint64_t{1}, 2 * kPage}) {
      const auto flags = static_cast<uint32_t>(access);
      ASSERT_EQ(sync_part(device_.get(), ground_->dmabuf(), flags, kPage, length), 0);
      compare("the start of DMAWIRE_IOC_SYNC");
      write();
      ASSERT_EQ(
          sync_part(device_.get(), ground_->dmabuf(), flags | DMAWIRE_SYNC_END, kPage, length), 0);
      compare("the end of DMAWIRE_IOC_SYNC");
    }
  }

  write();
  ASSERT_EQ(CaptureQueue{device_.get()}.detach(index_), 0);
  compare("DETACH");

  write();
  ASSERT_NO_FATAL_FAILURE(attach());
  compare("ATTACH");
  ASSERT_NO_FATAL_FAILURE(capture());
  ASSERT_NO_FATAL_FAILURE(give_in_vain());
  device_.reset();
  compare("close() of the node");

  open();
  ASSERT_NO_FATAL_FAILURE(attach());
  ASSERT_NO_FATAL_FAILURE(capture());
  ASSERT_NO_FATAL_FAILURE(give_in_vain());
  driver_.reset();
  compare("the driver is gone");
}

INSTANTIATE_TEST_SUITE_P(Of, DmaSync,
                         testing::Values(Case{"broken", DMAWIRE_FROM_DEVICE, false},
                                         Case{"broken", DMAWIRE_FROM_DEVICE, true},
                                         Case{"broken", DMAWIRE_BIDIRECTIONAL, false},
                                         Case{"broken", DMAWIRE_BIDIRECTIONAL, true},
                                         Case{"edu", DMAWIRE_FROM_DEVICE, false},
                                         Case{"edu", DMAWIRE_FROM_DEVICE, true},
                                         Case{"dmaengine", DMAWIRE_FROM_DEVICE, false},
                                         Case{"dmaengine", DMAWIRE_FROM_DEVICE, true},
                                         Case{"dmaengine", DMAWIRE_BIDIRECTIONAL, false}),
                         name_of_case);

// If a driver claims more bytes than it wrote, stale contents of the bounce buffer must not be
// copied back.
TEST(DmaSyncOfAHole, TheDeviceHasWhatTheCpuWroteBeforeGive) {
  const DriverModule driver("dmawire_broken", "fault=hole");
  for (const uint32_t direction : {DMAWIRE_FROM_DEVICE, DMAWIRE_BIDIRECTIONAL}) {
    dmawire_create request = create_request(8 * kPage);
    request.direction = direction;
    Capturing capture("broken", request);
    for (uint32_t run = 0; run < 2; ++run) {
      scribble(capture.memory(), run);
      std::vector<uint8_t> expected(capture.memory().begin(), capture.memory().end());
      ASSERT_EQ(capture.enqueue(2 * kPage, 4 * kPage), 0);
      ASSERT_EQ(capture.start(), 0);
      ASSERT_EQ(capture.dequeue().out_result, static_cast<int>(4 * kPage));
      ASSERT_EQ(capture.stop(), 0);
      std::ranges::copy(capture.memory().subspan(2 * kPage, 2 * kPage),
                        expected.begin() + 2 * kPage);
      EXPECT_EQ(difference(capture.memory(), expected), "")
          << "direction " << direction << ", run " << run;
    }
  }
}

// The device has written the whole range by then; it is its driver that breaks a rule.
TEST(DmaSyncOfAnError, TakesNothingOver) {
  if (!has_bounce_buffers())
    GTEST_SKIP() << "to be seen where devices get bounce buffers (--append swiotlb=force)";
  const DriverModule driver("dmawire_broken", "fault=too_long");
  Capturing capture("broken", 8 * kPage);
  scribble(capture.memory(), 1);
  const std::vector<uint8_t> expected(capture.memory().begin(), capture.memory().end());
  ASSERT_EQ(capture.enqueue(2 * kPage, 4 * kPage), 0);
  ASSERT_EQ(capture.start(), 0);
  ASSERT_EQ(capture.dequeue().out_result, -EIO);
  ASSERT_EQ(capture.stop(), 0);
  EXPECT_EQ(difference(capture.memory(), expected), "");
}

/// The physical address of each page of memory of this process.
std::vector<uint64_t> physical_pages(std::span<const uint8_t> bytes) {
  const UniqueFd file(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  std::vector<uint64_t> pages(bytes.size() / kPage);
  const auto size = static_cast<ssize_t>(pages.size() * sizeof(pages[0]));
  EXPECT_EQ(pread(file.get(), pages.data(), static_cast<size_t>(size),
                  static_cast<off_t>(reinterpret_cast<uintptr_t>(bytes.data()) / kPage *
                                     sizeof(pages[0]))),
            size);
  constexpr uint64_t frame_number = (uint64_t{1} << 55) - 1;
  for (uint64_t& page : pages)
    page = (page & frame_number) * kPage;
  return pages;
}

/// How often each byte of some memory was handed to a device, or back, by the kernel's cache
/// maintenance.
class CacheMaintenance {
 public:
  CacheMaintenance(const std::string& function, std::span<const uint8_t> bytes)
      : record_(function, 3), pages_(physical_pages(bytes)) {}

  [[nodiscard]] bool works() const { return record_.works(); }
  [[nodiscard]] std::vector<uint8_t> counts() const {
    std::vector<uint8_t> counts(pages_.size() * kPage);
    for (const auto& call : record_.calls()) {
      for (uint64_t at = call[0]; at < call[0] + call[1]; ++at) {
        const auto page = std::ranges::find(pages_, at & ~uint64_t{kPage - 1});
        if (page == pages_.end())
          continue;
        ++counts[static_cast<size_t>(page - pages_.begin()) * kPage + at % kPage];
        EXPECT_EQ(call[2], uint64_t{DMAWIRE_BIDIRECTIONAL})
            << "FROM_DEVICE would invalidate what the CPU wrote, on arm32 for one";
      }
    }
    return counts;
  }

 private:
  CallRecord record_;
  std::vector<uint64_t> pages_;
};

class CacheSync : public testing::TestWithParam<bool> {};

TEST_P(CacheSync, IsOfWhatWasGivenAndOfWhatWasWritten) {
  const DriverModule driver("dmawire_dmaengine");
  UniqueFd device = open_driver("dmaengine");
  if (!device.valid())
    GTEST_SKIP() << "this machine has no DMA controller that copies memory";
  const Ground ground(device.get(), DMAWIRE_FROM_DEVICE, GetParam());
  scribble(ground.bytes(), 1);
  const CacheMaintenance for_device("arch_sync_dma_for_device", ground.bytes());
  const CacheMaintenance for_cpu("arch_sync_dma_for_cpu", ground.bytes());
  if (!for_device.works() || !for_cpu.works())
    GTEST_SKIP() << "the devices of this machine are coherent, or the kernel's cache maintenance "
                    "cannot be probed";

  const CaptureQueue queue{device.get()};
  uint32_t index = 0;
  ASSERT_EQ(queue.attach(ground.dmabuf(), &index), 0);
  std::vector<uint8_t> given(ground.bytes().size());
  std::vector<uint8_t> written(ground.bytes().size());
  const auto count = [&](std::vector<uint8_t>& counts, uint64_t offset, size_t length) {
    for (size_t i = 0; i < length; ++i)
      ++counts[ground.begin() + offset + i];
  };
  const auto give = [&](uint64_t offset, uint32_t length) {
    ASSERT_EQ(queue.enqueue(index, offset, length), 0);
    count(given, offset, length);
  };
  ASSERT_NO_FATAL_FAILURE(give(26 * kPage, 2 * kPage));
  ASSERT_EQ(queue.stop(), 0);
  ASSERT_EQ(queue.dequeue().out_result, -ECANCELED);
  for (int run = 0; run < 2; ++run) {
    ASSERT_NO_FATAL_FAILURE(give(2 * kPage, kPage));
    ASSERT_NO_FATAL_FAILURE(give(5 * kPage, 4992));
    ASSERT_NO_FATAL_FAILURE(give(8 * kPage, 17 * kPage));
    ASSERT_EQ(queue.start(), 0);
    for (int i = 0; i < 3; ++i) {
      const dmawire_dequeue taken = queue.dequeue();
      ASSERT_GT(taken.out_result, 0);
      count(written, taken.out_offset, static_cast<size_t>(taken.out_result));
    }
    ASSERT_EQ(queue.stop(), 0);
    EXPECT_EQ(sync(ground.dmabuf(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
    EXPECT_EQ(sync(ground.dmabuf(), DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
    EXPECT_EQ(sync_part(device.get(), ground.dmabuf(), DMAWIRE_SYNC_RW, kPage, kPage), 0);
    EXPECT_EQ(
        sync_part(device.get(), ground.dmabuf(), DMAWIRE_SYNC_RW | DMAWIRE_SYNC_END, kPage, kPage),
        0);
  }
  ASSERT_NO_FATAL_FAILURE(give(26 * kPage, 2 * kPage));
  device.reset();
  EXPECT_EQ(difference(for_device.counts(), given), "") << "arch_sync_dma_for_device";
  EXPECT_EQ(difference(for_cpu.counts(), written), "") << "arch_sync_dma_for_cpu";
}

INSTANTIATE_TEST_SUITE_P(Of, CacheSync, testing::Bool(), [](const auto& instance) {
  return std::string(instance.param ? "User" : "Pages");
});

/// A device of another driver's that has imported a dma-buf.
class Importer {
 public:
  Importer(int dmabuf, dmawire_direction direction, uint64_t offset, uint64_t length)
      : file_(open("/dev/dmawire_importer", O_RDWR | O_CLOEXEC)) {
    importer_import request{
        .fd = dmabuf, .direction = direction, .offset = offset, .length = length};
    error_ = call(file_.get(), IMPORTER_IMPORT, &request);
  }

  [[nodiscard]] int error() const { return error_; }
  void write(uint64_t offset, std::span<const uint8_t> bytes) const {
    EXPECT_EQ(pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
  }
  [[nodiscard]] std::vector<uint8_t> read(uint64_t offset, size_t length) const {
    std::vector<uint8_t> bytes(length);
    EXPECT_EQ(pread(file_.get(), bytes.data(), length, static_cast<off_t>(offset)),
              static_cast<ssize_t>(length));
    return bytes;
  }
  void add_fence() const { EXPECT_EQ(ioctl(file_.get(), IMPORTER_FENCE), 0); }
  void signal() const { EXPECT_EQ(ioctl(file_.get(), IMPORTER_SIGNAL), 0); }

 private:
  UniqueFd file_;
  int error_ = 0;
};

class ImporterSync : public testing::Test {
 protected:
  static constexpr size_t kLength = 64 * kPage;

  void SetUp() override {
    if (!has_bounce_buffers())
      GTEST_SKIP() << "to be seen where devices get bounce buffers (--append swiotlb=force)";
  }

  /// The device has other bytes than the CPU, and a part is synced: that and no more.
  void expect_part_is_taken_over(const Importer& importer, size_t first, size_t end) {
    scribble(mapping_.bytes(), 1);
    std::vector<uint8_t> expected(mapping_.bytes().begin(), mapping_.bytes().end());
    std::vector<uint8_t> frame((end - first) * kPage);
    scribble(frame, 2);
    importer.write(first * kPage, frame);
    std::ranges::copy(frame, expected.begin() + static_cast<ptrdiff_t>(first * kPage));
    EXPECT_EQ(sync_part(device_.get(), buffer_.get(), DMAWIRE_SYNC_READ, first * kPage,
                        (end - first) * kPage),
              0);
    EXPECT_EQ(difference(mapping_.bytes(), expected), "") << first << " to " << end;
  }

  const DriverModule driver_{"dmawire_importer"};
  UniqueFd device_ = open_device();
  UniqueFd buffer_ = create_buffer(device_.get(), kLength);
  Mapped mapping_{buffer_.get(), kLength};
};

TEST_F(ImporterSync, OfAPartTakesOverThatPart) {
  const Importer importer(buffer_.get(), DMAWIRE_FROM_DEVICE, 0, kLength);
  ASSERT_EQ(importer.error(), 0);
  expect_part_is_taken_over(importer, 5, 8);
  expect_part_is_taken_over(importer, 0, 1);
  expect_part_is_taken_over(importer, 60, 64);
  expect_part_is_taken_over(importer, 0, 64);
}

TEST_F(ImporterSync, IsRightWhereTheListWasTrimmed) {
  for (const auto& [first, end] : {std::pair<size_t, size_t>{5, 50}, {1, 64}, {7, 8}}) {
    const Importer importer(buffer_.get(), DMAWIRE_BIDIRECTIONAL, first * kPage,
                            (end - first) * kPage);
    ASSERT_EQ(importer.error(), 0);
    expect_part_is_taken_over(importer, first, first + 1);
    expect_part_is_taken_over(importer, (first + end) / 2, (first + end) / 2 + 1);
    expect_part_is_taken_over(importer, end - 1, end);

    scribble(mapping_.bytes(), 3);
    EXPECT_EQ(sync(buffer_.get(), DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
    const std::vector<uint8_t> expected(mapping_.bytes().begin(), mapping_.bytes().end());
    EXPECT_EQ(difference(importer.read(first * kPage, (end - first) * kPage),
                         std::span(expected).subspan(first * kPage, (end - first) * kPage)),
              "");
    std::ranges::fill(mapping_.bytes(), uint8_t{0});
    EXPECT_EQ(sync(buffer_.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
    EXPECT_EQ(difference(mapping_.bytes(), expected), "");
  }
}

/// The kernel function in which a thread of this process sleeps.
std::string place_of(pid_t thread) {
  return read_text("/proc/self/task/" + std::to_string(thread) + "/wchan");
}

TEST_F(ImporterSync, WaitsForTheDeviceBeforeItTakesOver) {
  const Importer importer(buffer_.get(), DMAWIRE_FROM_DEVICE, 0, kLength);
  ASSERT_EQ(importer.error(), 0);
  importer.add_fence();
  std::atomic<pid_t> thread = 0;
  int result = -1;
  std::thread reader([&] {
    thread = static_cast<pid_t>(syscall(SYS_gettid));
    result = sync(buffer_.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
  });
  EXPECT_TRUE(eventually([&] { return place_of(thread).find("fence") != std::string::npos; }))
      << place_of(thread);
  std::vector<uint8_t> frame(kLength);
  scribble(frame, 1);
  importer.write(0, frame);
  importer.signal();
  reader.join();
  EXPECT_EQ(result, 0);
  EXPECT_EQ(difference(mapping_.bytes(), frame), "");
}

TEST_F(ImporterSync, IsInterruptedBySignals) {
  const Importer importer(buffer_.get(), DMAWIRE_FROM_DEVICE, 0, kLength);
  ASSERT_EQ(importer.error(), 0);
  importer.add_fence();
  EXPECT_EQ(in_child([&] {
              struct sigaction action = {};
              action.sa_handler = [](int) {};
              sigaction(SIGALRM, &action, nullptr);
              // Again and again: the first may come before the wait.
              const itimerval soon{.it_interval = {0, 10'000}, .it_value = {0, 10'000}};
              setitimer(ITIMER_REAL, &soon, nullptr);
              return sync(buffer_.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
            }),
            EINTR);
}

/// A boundary of 16 KiB, a quarter of the default maximum segment size of a device.
constexpr size_t kBoundary = 4 * kPage - 1;

TEST(SegmentBoundary, IsNotCrossedByATransfer) {
  const DriverModule driver("dmawire_broken", "boundary=" + std::to_string(kBoundary));
  Capturing capture("broken", contig_request(kMiB));
  for (uint64_t i = 0; i < 2; ++i)
    ASSERT_EQ(capture.enqueue(i * 3 * kFolio + i * 5 * kPage, kFolio), 0);
  ASSERT_EQ(capture.start(), 0);
  for (uint64_t i = 0; i < 2; ++i) {
    const dmawire_dequeue taken = capture.dequeue();
    ASSERT_EQ(taken.out_result, static_cast<int>(kFolio)) << i;
    EXPECT_EQ(frame_fault(capture.frame(taken), i), "");
  }
  EXPECT_EQ(capture.stop(), 0);
}

TEST(SegmentBoundary, IsNotCrossedByWhatIsImported) {
  const UniqueFd device = open_device();
  const UniqueFd buffer = create(device.get(), contig_request(kMiB));
  const DriverModule driver("dmawire_importer", "boundary=" + std::to_string(kBoundary));
  EXPECT_EQ(Importer(buffer.get(), DMAWIRE_BIDIRECTIONAL, 0, kMiB).error(), 0);
}

}  // namespace
}  // namespace dmawire::test
