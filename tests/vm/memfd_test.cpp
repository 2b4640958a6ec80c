// SPDX-License-Identifier: MIT
// Buffers of a memfd's memory, with small pages and with huge ones. Pages of 1 GiB need a guest
// that has some: ci/vm --memory 4G --append 'hugepagesz=1G hugepages=1'.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "abi.hpp"
#include "capturing.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

constexpr size_t kGiB = 1024 * kMiB;

class MemfdOfPages : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    if (!pages_.available())
      GTEST_SKIP() << "this guest has no page of " << page() / kMiB << " MiB to spare";
    reserved_ = pages_.reserved();
    memfd_ = make_memfd(length(), page());
  }
  void TearDown() override {
    memfd_.reset();
    if (pages_.available()) {
      EXPECT_EQ(pages_.reserved(), reserved_);
    }
  }

  [[nodiscard]] static size_t page() { return GetParam(); }
  [[nodiscard]] static size_t length() { return std::max(page(), kMiB); }
  [[nodiscard]] UniqueFd make(uint64_t start = 0) const {
    return create(device_.get(), memfd_request(memfd_.get(), start, length() - start));
  }
  [[nodiscard]] AlignedMapping map(const UniqueFd& fd) const {
    return {fd.get(), length(), page()};
  }

  HugePages pages_{page(), 1};
  unsigned long reserved_ = 0;
  UniqueFd device_ = open_device();
  UniqueFd memfd_;
};

std::string page_name(const testing::TestParamInfo<size_t>& instance) {
  return instance.param == kPage ? "Small" : instance.param == 2 * kMiB ? "Of2M" : "Of1G";
}
INSTANTIATE_TEST_SUITE_P(Memfd, MemfdOfPages, testing::Values(kPage, 2 * kMiB, kGiB), page_name);

TEST_P(MemfdOfPages, AreTheSameInBothMappings) {
  const UniqueFd buffer = make();
  const AlignedMapping file = map(memfd_);
  const AlignedMapping ours = map(buffer);
  ASSERT_EQ(ours.error(), 0) << strerror(ours.error());
  for (const size_t at : {size_t{0}, 5 * kPage + 7, length() - 1}) {
    EXPECT_EQ(ours.bytes()[at], 0);
    file.bytes()[at] = 0x5a;
    EXPECT_EQ(ours.bytes()[at], 0x5a);
    ours.bytes()[at] = 0xa5;
    EXPECT_EQ(file.bytes()[at], 0xa5);
  }
}

TEST_P(MemfdOfPages, AreToldByQuery) {
  const UniqueFd buffer = make();
  const dmawire_query answer = query(buffer.get());
  EXPECT_EQ(answer.out_backing, uint32_t{DMAWIRE_BACKING_MEMFD});
  EXPECT_EQ(answer.out_node, -1);
  EXPECT_EQ(answer.out_length, length());
  EXPECT_EQ(answer.out_granule, page());
  EXPECT_EQ(answer.out_offset, 0u);
  EXPECT_GE(answer.out_largest_segment, page());
  EXPECT_LE(answer.out_segments, length() / page());
  EXPECT_EQ(answer.out_folios, 0u);
  for (const uint32_t verdict : {answer.out_mmap, answer.out_send, answer.out_register,
                                 answer.out_odirect_write, answer.out_odirect_read})
    EXPECT_EQ(verdict, uint32_t{DMAWIRE_USABLE});
}

TEST_P(MemfdOfPages, TakeFramesOfADevice) {
  const uint64_t start = length() / 2;
  const UniqueFd buffer = make(start);
  const CaptureQueue queue{device_.get()};
  uint32_t index = 0;
  ASSERT_EQ(queue.attach(buffer.get(), &index), 0);
  ASSERT_EQ(queue.enqueue(index, kPage, 3 * kPage), 0);
  ASSERT_EQ(queue.start(), 0);
  EXPECT_EQ(queue.dequeue().out_result, static_cast<int>(3 * kPage));
  EXPECT_EQ(queue.stop(), 0);
  EXPECT_EQ(queue.detach(index), 0);
  const AlignedMapping file = map(memfd_);
  EXPECT_EQ(frame_fault(file.bytes().subspan(start + kPage, 3 * kPage), 0), "");
  EXPECT_EQ(file.bytes()[start], 0);
  EXPECT_EQ(file.bytes()[start + 4 * kPage], 0);
}

TEST_P(MemfdOfPages, AreReadThroughASlot) {
  const UniqueFd buffer = make();
  const AlignedMapping file = map(memfd_);
  std::ranges::generate(file.bytes().subspan(3 * kPage, 40 * kPage), [n = uint32_t{0}]() mutable {
    return static_cast<uint8_t>(++n * 37 >> 3);
  });
  const std::string seen = read_through_slot(device_.get(), buffer.get(), 40 * kPage, 3 * kPage);
  if (seen.empty())
    GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  EXPECT_EQ(memcmp(seen.data(), file.bytes().data() + 3 * kPage, seen.size()), 0);
}

TEST_P(MemfdOfPages, CanBeRegisteredByAddress) {
  const UniqueFd buffer = make();
  const AlignedMapping ours = map(buffer);
  SlotRing ring;
  ASSERT_EQ(ring.make_table(), 0);
  EXPECT_EQ(ring.register_address(ours.bytes().data(), length(), 0), 0);
}

TEST_P(MemfdOfPages, CanBeAttachedToADevice) {
  const UniqueFd card = open_vgem();
  if (!card.valid())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  UniqueFd buffer = make();
  const VgemHandle handle(card, buffer.get());
  ASSERT_EQ(handle.error(), 0) << strerror(handle.error());
  EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
  buffer.reset();
  EXPECT_EQ(query(handle.to_dmabuf().get()).out_length, length());
}

TEST_P(MemfdOfPages, OutliveTheDescriptorOfTheFile) {
  const UniqueFd buffer = make();
  map(memfd_).bytes()[kPage] = 0x77;
  memfd_.reset();
  const AlignedMapping ours = map(buffer);
  ASSERT_EQ(ours.error(), 0);
  EXPECT_EQ(ours.bytes()[kPage], 0x77);
}

TEST_P(MemfdOfPages, KeepWhatADeviceWroteWhenTheBufferIsGone) {
  UniqueFd buffer = make();
  const CaptureQueue queue{device_.get()};
  uint32_t index = 0;
  ASSERT_EQ(queue.attach(buffer.get(), &index), 0);
  ASSERT_EQ(queue.enqueue(index, 0, kPage), 0);
  ASSERT_EQ(queue.start(), 0);
  EXPECT_EQ(queue.dequeue().out_result, static_cast<int>(kPage));
  EXPECT_EQ(queue.stop(), 0);
  EXPECT_EQ(queue.detach(index), 0);
  buffer.reset();
  free_memory();  // drops clean pages
  EXPECT_EQ(frame_fault(map(memfd_).bytes().first(kPage), 0), "");
}

TEST_P(MemfdOfPages, AreMappedInWholePagesOnly) {
  const UniqueFd buffer = make();
  EXPECT_EQ(AlignedMapping(buffer.get(), length(), page(), 0).error(), 0);
  if (page() == kPage)
    return;
  EXPECT_EQ(AlignedMapping(buffer.get(), kPage, page(), 0).error(), EINVAL);
  EXPECT_EQ(AlignedMapping(buffer.get(), length() - kPage, page(), kPage).error(), EINVAL);
  // The second half of a page, which is all of the buffer.
  const UniqueFd half = make(length() / 2);
  EXPECT_EQ(AlignedMapping(half.get(), length() / 2, page(), 0).error(), EINVAL);
}

TEST_P(MemfdOfPages, ComeAndGoAThousandTimes) {
  const dmawire_create request = memfd_request(memfd_.get(), kPage, length() - kPage);
  for (int i = 0; i < (page() == kGiB ? 20 : 1000); ++i)
    ASSERT_EQ(create_error(device_.get(), request), 0);
}

class Memfd : public testing::Test {
 protected:
  static constexpr size_t length = 64 * kPage;

  [[nodiscard]] int error_of(dmawire_create request) const {
    return create_error(device_.get(), request);
  }
  [[nodiscard]] UniqueFd reopened(int flags) const {
    return UniqueFd(open(("/proc/self/fd/" + std::to_string(memfd_.get())).c_str(), flags));
  }
  static dmawire_create for_reading(dmawire_create request) {
    request.direction = DMAWIRE_TO_DEVICE;
    request.fd_flags = O_RDONLY | O_CLOEXEC;
    return request;
  }

  UniqueFd device_ = open_device();
  UniqueFd memfd_ = make_memfd(length);
};

TEST_F(Memfd, BeginsWhereItWasAsked) {
  const Mapped file(memfd_.get(), length);
  file.bytes()[10 * kPage] = 0x10;
  const UniqueFd buffer = create(device_.get(), memfd_request(memfd_.get(), 10 * kPage, kPage + 1));
  EXPECT_EQ(query(buffer.get()).out_length, 2 * kPage);
  EXPECT_EQ(Mapped(buffer.get(), 2 * kPage).bytes()[0], 0x10);
  EXPECT_EQ(Mapped(buffer.get(), 3 * kPage).error(), EINVAL);
}

TEST_F(Memfd, RejectsRangesThatTheFileDoesNotHaveWithEinval) {
  const struct {
    uint64_t start;
    uint64_t length;
  } cases[] = {{0, length + 1},
               {kPage, length},
               {length, kPage},
               {1, kPage},
               {kPage - 1, 1},
               {0, 0},
               {UINT64_MAX - kPage + 1, kPage},
               {INT64_MAX - kPage + 1, kPage},
               {uint64_t{1} << 63, kPage}};
  for (const auto& test : cases)
    EXPECT_EQ(error_of(memfd_request(memfd_.get(), test.start, test.length)), EINVAL)
        << test.start << " " << test.length;
}

TEST_F(Memfd, RejectsWhatIsNoMemfd) {
  EXPECT_EQ(error_of(memfd_request(-1, 0, kPage)), EBADF);
  EXPECT_EQ(error_of(memfd_request(1'000'000, 0, kPage)), EBADF);
  EXPECT_EQ(error_of(memfd_request(device_.get(), 0, kPage)), EINVAL);
  const UniqueFd other = create_buffer(device_.get(), kPage);
  EXPECT_EQ(error_of(memfd_request(other.get(), 0, kPage)), EINVAL);
  EXPECT_EQ(error_of(memfd_request(reopened(O_PATH | O_CLOEXEC).get(), 0, kPage)), EBADF);
}

TEST_F(Memfd, RejectsWhatIsForOtherBackingsWithEinval) {
  dmawire_create request = memfd_request(memfd_.get(), 0, kPage);
  request.flags = DMAWIRE_CREATE_FOLIOS_64K;
  EXPECT_EQ(error_of(request), EINVAL);
  request = memfd_request(memfd_.get(), 0, kPage);
  request.node = 0;
  EXPECT_EQ(error_of(request), EINVAL);
}

TEST_F(Memfd, RejectsOneThatMayShrinkWithEperm) {
  const UniqueFd unsealed(memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), kPage), 0);
  EXPECT_EQ(error_of(memfd_request(unsealed.get(), 0, kPage)), EPERM);
}

TEST_F(Memfd, RejectsOneThatMayNotBeWrittenWithEacces) {
  const UniqueFd read_only = reopened(O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(error_of(memfd_request(read_only.get(), 0, kPage)), EACCES);
  const UniqueFd write_only = reopened(O_WRONLY | O_CLOEXEC);
  EXPECT_EQ(error_of(memfd_request(write_only.get(), 0, kPage)), EACCES);
  for (const int seal : {F_SEAL_FUTURE_WRITE, F_SEAL_WRITE}) {
    ASSERT_EQ(fcntl(memfd_.get(), F_ADD_SEALS, seal), 0);
    dmawire_create request = memfd_request(memfd_.get(), 0, kPage);
    EXPECT_EQ(error_of(request), EACCES);
    request.direction = DMAWIRE_TO_DEVICE;
    EXPECT_EQ(error_of(request), EACCES) << "its descriptor could be mapped for writing";
    request.fd_flags = O_RDONLY | O_CLOEXEC;
    EXPECT_EQ(error_of(request), 0);
    request.direction = DMAWIRE_BIDIRECTIONAL;
    EXPECT_EQ(error_of(request), EACCES);
  }
}

TEST_F(Memfd, ForReadingIsNotWrittenByAnybody) {
  const UniqueFd read_only = reopened(O_RDONLY | O_CLOEXEC);
  const UniqueFd buffer =
      create(device_.get(), for_reading(memfd_request(read_only.get(), 0, length)));
  EXPECT_EQ(Mapped(buffer.get(), length).error(), EACCES);
  const Mapped mapping(buffer.get(), length, 0, PROT_READ);
  ASSERT_EQ(mapping.error(), 0);
  EXPECT_EQ(mprotect(mapping.data(), kPage, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(CaptureQueue{device_.get()}.attach(buffer.get()), EINVAL);
}

TEST_F(Memfd, CannotBeSealedAgainstWritingWhileABufferIsMadeOfIt) {
  UniqueFd buffer = create(device_.get(), memfd_request(memfd_.get(), 0, length));
  EXPECT_EQ(fcntl(memfd_.get(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EBUSY);
  buffer.reset();
  EXPECT_EQ(fcntl(memfd_.get(), F_ADD_SEALS, F_SEAL_WRITE), 0) << strerror(errno);
}

// The page must not stay in a mapping where the file cannot remove it.
TEST_F(Memfd, AHolePunchedIntoItIsSeenByMappingsAndNotByTheBuffer) {
  const UniqueFd buffer = create(device_.get(), memfd_request(memfd_.get(), 0, length));
  const Mapped mapping(buffer.get(), length);
  const std::string text = fill(mapping);
  ASSERT_EQ(fallocate(memfd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPage, 4 * kPage),
            0);
  EXPECT_EQ(mapping.bytes()[kPage], 0);
  EXPECT_EQ(memcmp(mapping.data(), text.data(), kPage), 0);
  const std::string held = read_through_slot(device_.get(), buffer.get(), length);
  if (!held.empty()) {
    EXPECT_TRUE(held == text);
  }
}

TEST_F(Memfd, HugePagesThatAreNotThereAreRefusedWithEnomem) {
  constexpr size_t page = 2 * kMiB;
  const HugePages pages(page, 2);
  if (!pages.available())
    GTEST_SKIP() << "this guest has no pages of 2 MiB to spare";
  const unsigned long reserved = pages.reserved();
  UniqueFd memfd = make_memfd(page, page);
  ASSERT_EQ(ftruncate(memfd.get(), 2 * page), 0);
  EXPECT_EQ(error_of(memfd_request(memfd.get(), 0, 2 * page)), ENOMEM);
  EXPECT_EQ(error_of(memfd_request(memfd.get(), page - kPage, 2 * kPage)), ENOMEM);
  EXPECT_EQ(error_of(memfd_request(memfd.get(), 0, page)), 0);
  EXPECT_EQ(pages.reserved(), reserved);
  ASSERT_EQ(fallocate(memfd.get(), 0, 0, 2 * page), 0);
  EXPECT_EQ(error_of(memfd_request(memfd.get(), 0, 2 * page)), 0);
  memfd.reset();
  EXPECT_EQ(pages.reserved(), reserved);
}

TEST_F(Memfd, CountsAsMemoryOfTheModule) {
  const UniqueFd buffer = create(device_.get(), memfd_request(memfd_.get(), 0, length));
  EXPECT_EQ(info(device_.get()).out_open_bytes, length);
  const ModuleParameter limit("max_bytes_per_open", length);
  EXPECT_EQ(error_of(memfd_request(memfd_.get(), 0, kPage)), EDQUOT);
}

TEST_F(Memfd, CountsAgainstTheLimitOfLockedMemory) {
  EXPECT_EQ(without_rights(16 * kPage,
                           [&] {
                             if (error_of(memfd_request(memfd_.get(), 0, 17 * kPage)) != EDQUOT)
                               return 1;
                             UniqueFd first =
                                 create(device_.get(), memfd_request(memfd_.get(), 0, 10 * kPage));
                             if (error_of(memfd_request(memfd_.get(), 0, 7 * kPage)) != EDQUOT)
                               return 2;
                             if (error_of(memfd_request(memfd_.get(), 0, 6 * kPage)) != 0)
                               return 3;
                             if (read_text("/proc/self/status").find("VmPin:\t      40 kB") ==
                                 std::string::npos)
                               return 4;
                             first.reset();
                             return error_of(memfd_request(memfd_.get(), 0, 16 * kPage));
                           }),
            0);
}

}  // namespace
}  // namespace dmawire::test
