// SPDX-License-Identifier: MIT
// Mappings of a buffer, and uses of the pages behind them.
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "abi.hpp"
#include "guest.hpp"
#include "mapped.hpp"

namespace dmawire::test {
namespace {

/// A buffer of 208 pages (more than one fault maps), each beginning with its number plus one, in
/// each layout.
class Mapping : public testing::TestWithParam<uint32_t> {
 protected:
  static constexpr size_t kPages = 13 * kFolio / kPage;
  static constexpr size_t kLength = kPages * kPage;

  void SetUp() override {
    Mapped all(buffer_.get(), kLength);
    ASSERT_EQ(all.error(), 0);
    for (size_t page = 0; page < kPages; ++page)
      all.bytes()[page * kPage] = number_of(page);
  }

  static uint8_t number_of(size_t page) { return static_cast<uint8_t>(page + 1); }
  int map_error(size_t length, off_t offset, int protection, int flags) const {
    return Mapped(buffer_.get(), length, offset, protection, flags).error();
  }

  UniqueFd buffer_ = create_buffer(open_device().get(), kLength, O_RDWR | O_CLOEXEC, GetParam());
};
INSTANTIATE_TEST_SUITE_P(Layouts, Mapping, testing::ValuesIn(layouts), layout_name);

TEST_P(Mapping, ShowsTheSameMemoryTwice) {
  Mapped first(buffer_.get(), kLength);
  Mapped second(buffer_.get(), kLength);
  first.bytes()[kLength - 1] = 0x5a;
  EXPECT_EQ(second.bytes()[kLength - 1], 0x5a);
}

TEST_P(Mapping, OfAPartBeginsAtItsOffset) {
  for (size_t first : {size_t{1}, size_t{63}, size_t{64}, size_t{150}, kPages - 1}) {
    for (size_t count : {size_t{1}, size_t{2}, kPages - first}) {
      if (first + count > kPages)
        continue;
      SCOPED_TRACE(testing::Message() << count << " pages at " << first);
      Mapped part(buffer_.get(), count * kPage, static_cast<off_t>(first * kPage));
      ASSERT_EQ(part.error(), 0);
      for (size_t page = 0; page < count; ++page)
        EXPECT_EQ(part.bytes()[page * kPage], number_of(first + page));
    }
  }
}

TEST_P(Mapping, IsPopulatedAtOnceForThoseWhoWantNoFaultsLater) {
  const auto faults = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt;
  };
  Mapped all(buffer_.get(), kLength);
  ASSERT_EQ(madvise(all.data(), kLength, MADV_POPULATE_WRITE), 0) << strerror(errno);
  const long before = faults();
  for (size_t page = 0; page < kPages; ++page)
    all.bytes()[page * kPage] = number_of(page);
  EXPECT_EQ(faults(), before);
}

TEST_P(Mapping, ReadsRightInAnyOrder) {
  Mapped backwards(buffer_.get(), kLength);
  for (size_t page = kPages; page-- > 0;)
    EXPECT_EQ(backwards.bytes()[page * kPage], number_of(page));
  Mapped scattered(buffer_.get(), kLength);
  for (size_t i = 0; i < kPages; ++i) {
    size_t page = i * 77 % kPages;
    EXPECT_EQ(scattered.bytes()[page * kPage], number_of(page));
  }
}

TEST_P(Mapping, IsRightAgainAfterItsPagesWereDropped) {
  Mapped all(buffer_.get(), kLength);
  EXPECT_EQ(all.bytes()[5 * kPage], number_of(5));
  ASSERT_EQ(madvise(all.data(), kLength, MADV_DONTNEED), 0) << strerror(errno);
  for (size_t page = 0; page < kPages; ++page)
    EXPECT_EQ(all.bytes()[page * kPage], number_of(page));
}

TEST_P(Mapping, CanBeSplitAndPartlyUnmapped) {
  Mapped all(buffer_.get(), kLength);
  ASSERT_EQ(munmap(all.bytes().data() + 10 * kPage, 5 * kPage), 0);
  ASSERT_EQ(mprotect(all.bytes().data() + 20 * kPage, kPage, PROT_READ), 0);
  for (size_t page : {size_t{9}, size_t{15}, size_t{19}, size_t{20}, size_t{21}, kPages - 1})
    EXPECT_EQ(all.bytes()[page * kPage], number_of(page));
}

TEST_P(Mapping, AdviceToPageItOutLeavesItAlone) {
  Mapped all(buffer_.get(), kLength);
  for (int advice : {MADV_COLD, MADV_PAGEOUT}) {
    // First pages in the midst of a folio, then everything.
    madvise(all.bytes().data() + 3 * kPage, 20 * kPage, advice);
    madvise(all.data(), kLength, advice);
  }
  for (size_t page = 0; page < kPages; ++page)
    EXPECT_EQ(all.bytes()[page * kPage], number_of(page));
}

TEST_P(Mapping, PastTheEndIsRefusedWithEinval) {
  EXPECT_EQ(map_error(kLength + kPage, 0, PROT_READ, MAP_SHARED), EINVAL);
  EXPECT_EQ(map_error(kLength, kPage, PROT_READ, MAP_SHARED), EINVAL);
  EXPECT_EQ(map_error(kPage, kLength, PROT_READ, MAP_SHARED), EINVAL);
}

TEST_P(Mapping, PrivateIsRefusedWithEinval) {
  EXPECT_EQ(map_error(kLength, 0, PROT_READ, MAP_PRIVATE), EINVAL);
  EXPECT_EQ(map_error(kLength, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE), EINVAL);
}

TEST_P(Mapping, CannotGrow) {
  Mapped part(buffer_.get(), kPage);
  EXPECT_EQ(mremap(part.data(), kPage, 2 * kPage, MREMAP_MAYMOVE), MAP_FAILED);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(part.bytes()[0], number_of(0));
}

TEST_P(Mapping, CanMove) {
  void* moved = mmap(nullptr, kLength, PROT_READ | PROT_WRITE, MAP_SHARED, buffer_.get(), 0);
  ASSERT_NE(moved, MAP_FAILED);
  void* target = mmap(nullptr, kLength, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(target, MAP_FAILED);
  ASSERT_EQ(mremap(moved, kLength, kLength, MREMAP_MAYMOVE | MREMAP_FIXED, target), target)
      << strerror(errno);
  for (size_t page = 0; page < kPages; ++page)
    EXPECT_EQ(static_cast<uint8_t*>(target)[page * kPage], number_of(page));
  munmap(target, kLength);
}

TEST_P(Mapping, IsSharedWithAChildBothWays) {
  Mapped all(buffer_.get(), kLength);
  all.bytes()[3 * kPage] = 0x11;
  int status = in_child([&] {
    if (all.bytes()[3 * kPage] != 0x11)
      return 1;  // mapped before the fork
    if (all.bytes()[90 * kPage] != number_of(90))
      return 2;  // not mapped before the fork
    all.bytes()[3 * kPage] = 0x22;
    all.bytes()[91 * kPage] = 0x33;
    return 0;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(all.bytes()[3 * kPage], 0x22);
  EXPECT_EQ(all.bytes()[91 * kPage], 0x33);
}

TEST_P(Mapping, SurvivesTheDescriptorAndTheDevice) {
  Mapped all(buffer_.get(), kLength);
  buffer_.reset();
  EXPECT_EQ(module_info().out_buffers, 1u);
  for (size_t page = 0; page < kPages; ++page)
    EXPECT_EQ(all.bytes()[page * kPage], number_of(page));
  all.reset();
  EXPECT_EQ(module_info().out_buffers, 0u);
}

TEST_P(Mapping, OfAReadOnlyDescriptorCannotBeWritten) {
  UniqueFd read_only = create_buffer(open_device().get(), kPage, O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(Mapped(read_only.get(), kPage).error(), EACCES);
  Mapped mapping(read_only.get(), kPage, 0, PROT_READ);
  ASSERT_EQ(mapping.error(), 0);
  EXPECT_EQ(mapping.bytes()[0], 0);
  EXPECT_EQ(mprotect(mapping.data(), kPage, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
}

TEST_P(Mapping, CpuAccessCanBeBracketed) {
  for (uint64_t access : {DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW}) {
    EXPECT_EQ(sync(buffer_.get(), DMA_BUF_SYNC_START | access), 0);
    EXPECT_EQ(sync(buffer_.get(), DMA_BUF_SYNC_END | access), 0);
  }
  EXPECT_EQ(sync(buffer_.get(), 0), EINVAL);
}

TEST_P(Mapping, PrefaultsWithMapPopulate) {
  Mapped all(buffer_.get(), kLength, 0, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE);
  unsigned char resident[kPages] = {};
  ASSERT_EQ(mincore(all.data(), kLength, resident), 0);
  for (size_t page = 0; page < kPages; ++page)
    EXPECT_EQ(all.bytes()[page * kPage], number_of(page));
}

TEST_P(Mapping, CanBeReadByAnotherProcessesEyes) {
  Mapped all(buffer_.get(), kLength);
  uint8_t seen[kPage] = {};
  iovec local = {seen, sizeof(seen)};
  iovec remote = {all.bytes().data() + 70 * kPage, kPage};
  ASSERT_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), static_cast<ssize_t>(kPage))
      << strerror(errno);
  EXPECT_EQ(seen[0], number_of(70));
}

/// A ring as small as it gets, to pin a mapping for long.
UniqueFd make_ring() {
  io_uring_params parameters = {};
  return UniqueFd(static_cast<int>(syscall(SYS_io_uring_setup, 1, &parameters)));
}

int register_buffer(const UniqueFd& ring, void* data, size_t length) {
  iovec range = {data, length};
  return syscall(SYS_io_uring_register, ring.get(), IORING_REGISTER_BUFFERS, &range, 1) == 0
             ? 0
             : errno;
}

TEST_P(Mapping, CanBeRegisteredWithIoUring) {
  Mapped all(buffer_.get(), kLength);
  UniqueFd ring = make_ring();
  ASSERT_TRUE(ring.valid()) << strerror(errno);
  EXPECT_EQ(register_buffer(ring, all.data(), kLength), 0);
}

TEST_P(Mapping, OfAReadOnlyDescriptorCannotBeRegisteredWithIoUring) {
  UniqueFd read_only = create_buffer(open_device().get(), kPage, O_RDONLY | O_CLOEXEC);
  Mapped mapping(read_only.get(), kPage, 0, PROT_READ);
  UniqueFd ring = make_ring();
  ASSERT_TRUE(ring.valid()) << strerror(errno);
  EXPECT_EQ(register_buffer(ring, mapping.data(), kPage), EFAULT);
}

TEST_P(Mapping, PinnedByIoUringOutlivesTheBuffer) {
  Mapped all(buffer_.get(), kLength);
  UniqueFd ring = make_ring();
  ASSERT_EQ(register_buffer(ring, all.data(), kLength), 0);
  buffer_.reset();
  all.reset();
  EXPECT_EQ(module_info().out_buffers, 0u);
  dirty_memory(64 * kMiB);
}

}  // namespace
}  // namespace dmawire::test
