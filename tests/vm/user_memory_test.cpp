// SPDX-License-Identifier: MIT
// Buffers of a process's own memory, wherever it begins and ends.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "abi.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "eventually.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "pass_fd.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

struct Place {
  size_t begin;
  size_t length;
};

void PrintTo(const Place& place, std::ostream* out) {
  *out << place.length << " bytes at " << place.begin;
}

class UserMemoryAt : public testing::TestWithParam<Place> {
 protected:
  static constexpr uint8_t kAround = 0xee;

  void SetUp() override { std::ranges::fill(memory_.bytes(), kAround); }

  [[nodiscard]] std::span<uint8_t> bytes() const {
    return memory_.bytes().subspan(GetParam().begin, GetParam().length);
  }
  [[nodiscard]] UniqueFd make() const {
    return create(device_.get(), user_request(bytes().data(), bytes().size()));
  }
  [[nodiscard]] size_t pages() const {
    return (GetParam().begin % kPage + GetParam().length + kPage - 1) / kPage;
  }
  [[nodiscard]] bool is_whole_pages() const {
    return GetParam().begin % kPage == 0 && GetParam().length % kPage == 0;
  }
  void expect_nothing_around_was_touched() const {
    const auto is_untouched = [](uint8_t byte) { return byte == kAround; };
    const auto all = memory_.bytes();
    EXPECT_TRUE(std::ranges::all_of(all.first(GetParam().begin), is_untouched));
    EXPECT_TRUE(
        std::ranges::all_of(all.subspan(GetParam().begin + GetParam().length), is_untouched));
  }
  /// Captures one frame into all of it.
  void capture_from(const std::string& driver) {
    const UniqueFd card = open_driver(driver);
    const UniqueFd buffer = make();
    const CaptureQueue queue{card.get()};
    uint32_t index = 0;
    const auto length = static_cast<uint32_t>(bytes().size());
    ASSERT_EQ(queue.attach(buffer.get(), &index), 0);
    const uint32_t alignment = info(card.get()).out_alignment;
    if ((GetParam().begin | length) % alignment != 0) {
      EXPECT_EQ(queue.enqueue(index, 0, length), EINVAL) << "it wants multiples of " << alignment;
      EXPECT_EQ(queue.detach(index), 0);
      return;
    }
    EXPECT_EQ(queue.enqueue(index, 0, length + alignment), EINVAL) << "more than there is";
    ASSERT_EQ(queue.enqueue(index, 0, length), 0);
    ASSERT_EQ(queue.start(), 0);
    EXPECT_EQ(queue.dequeue().out_result, static_cast<int>(bytes().size()));
    EXPECT_EQ(queue.stop(), 0);
    EXPECT_EQ(queue.detach(index), 0);
    EXPECT_EQ(frame_fault(bytes(), 0), "");
    expect_nothing_around_was_touched();
  }

  UniqueFd device_ = open_device();
  Anonymous memory_{2 * kMiB};
};

INSTANTIATE_TEST_SUITE_P(Places, UserMemoryAt,
                         testing::Values(Place{0, 4 * kPage}, Place{0, 3 * kPage + 1},
                                         Place{64, 64}, Place{100, 5000},
                                         Place{3 * kPage + 64, kMiB + 128}, Place{4095, kPage},
                                         Place{3 * kPage + 17, kMiB + 13}));

TEST_P(UserMemoryAt, IsToldByQuery) {
  const UniqueFd buffer = make();
  const dmawire_query answer = query(buffer.get());
  EXPECT_EQ(answer.out_backing, uint32_t{DMAWIRE_BACKING_USER});
  EXPECT_EQ(answer.out_length, bytes().size());
  EXPECT_EQ(answer.out_offset, GetParam().begin % kPage);
  EXPECT_EQ(answer.out_granule, 0u);
  EXPECT_GE(answer.out_segments, 1u);
  EXPECT_LE(answer.out_segments, pages());
  EXPECT_LE(answer.out_largest_segment, bytes().size());
  EXPECT_GE(answer.out_largest_segment * answer.out_segments, bytes().size());
  for (const uint32_t verdict : {answer.out_mmap, answer.out_send, answer.out_register,
                                 answer.out_odirect_write, answer.out_odirect_read})
    EXPECT_EQ(verdict, uint32_t{DMAWIRE_USE_IN_PLACE});
  EXPECT_EQ(lseek(buffer.get(), 0, SEEK_END), static_cast<off_t>(bytes().size()));
  EXPECT_EQ(info(device_.get()).out_open_bytes, pages() * kPage);
}

TEST_P(UserMemoryAt, CannotBeMappedThroughTheDmaBuf) {
  const UniqueFd buffer = make();
  const int expected = bytes().size() < kPage ? EINVAL : EOPNOTSUPP;
  EXPECT_EQ(Mapped(buffer.get(), kPage).error(), expected);
  EXPECT_EQ(Mapped(buffer.get(), kPage, 0, PROT_READ).error(), expected);
}

TEST_P(UserMemoryAt, IsReadThroughASlotFromItsFirstByteToItsLast) {
  const UniqueFd buffer = make();
  std::ranges::generate(bytes(), [n = uint32_t{0}]() mutable {
    return static_cast<uint8_t>(++n * 2654435761u >> 13);
  });
  const std::string seen = read_through_slot(device_.get(), buffer.get(), bytes().size());
  if (seen.empty())
    GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  EXPECT_EQ(memcmp(seen.data(), bytes().data(), seen.size()), 0);
  for (size_t at : {size_t{1}, bytes().size() / 2, bytes().size() - 1}) {
    const std::string tail =
        read_through_slot(device_.get(), buffer.get(), bytes().size() - at, at);
    EXPECT_EQ(memcmp(tail.data(), bytes().data() + at, tail.size()), 0) << at;
  }
}

TEST_P(UserMemoryAt, IsWrittenThroughASlotAndNothingAroundIt) {
  const UniqueFd buffer = make();
  SlotRing ring;
  ASSERT_EQ(ring.make_table(), 0);
  if (ring.register_slot(device_.get(), buffer.get(), 0) == EOPNOTSUPP)
    GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  const UniqueFd zero(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const auto read_fixed = [&](size_t start, size_t length) {
    return ring.result_of([&](io_uring_sqe* sqe) {
      io_uring_prep_read_fixed(sqe, zero.get(), reinterpret_cast<void*>(start),
                               static_cast<unsigned>(length), 0, 0);
    });
  };
  // A signal, or task work of io_uring, cuts a read from /dev/zero short.
  for (size_t done = 0; done < bytes().size();) {
    const int length = read_fixed(done, bytes().size() - done);
    ASSERT_GT(length, 0);
    done += static_cast<size_t>(length);
  }
  EXPECT_TRUE(std::ranges::all_of(bytes(), [](uint8_t byte) { return byte == 0; }));
  EXPECT_EQ(read_fixed(0, bytes().size() + 1), -EFAULT);
  expect_nothing_around_was_touched();
}

TEST_P(UserMemoryAt, TakesAFrameAndNothingAroundItIsTouched) {
  capture_from("pattern");
}

TEST_P(UserMemoryAt, TakesAFrameByDmaAndNothingAroundItIsTouched) {
  if (GetParam().length > 64 * kPage)
    GTEST_SKIP() << "more than the device gathers into";
  const DriverModule driver("dmawire_edu", EduCard::driver_parameters());
  if (!open_driver("edu").valid())
    GTEST_SKIP() << "this machine has no edu device";
  capture_from("edu");
}

TEST_P(UserMemoryAt, IsForOtherDriversDevicesOnlyInWholePages) {
  const UniqueFd card = open_vgem();
  if (!card.valid())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  const UniqueFd buffer = make();
  const VgemHandle handle(card, buffer.get());
  EXPECT_EQ(handle.error(), is_whole_pages() ? 0 : EOPNOTSUPP) << strerror(handle.error());
  EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
  EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
}

class UserMemory : public testing::Test {
 protected:
  [[nodiscard]] int error_of(const void* data, uint64_t length) const {
    return create_error(device_.get(), user_request(data, length));
  }
  [[nodiscard]] UniqueFd make(const void* data, uint64_t length) const {
    return create(device_.get(), user_request(data, length));
  }
  static dmawire_create for_reading(const void* data, uint64_t length) {
    dmawire_create request = user_request(data, length);
    request.direction = DMAWIRE_TO_DEVICE;
    request.fd_flags = O_RDONLY | O_CLOEXEC;
    return request;
  }

  /// VmPin as the kernel reports it.
  static std::string pinned_memory() {
    const std::string status = read_text("/proc/self/status");
    const size_t begin = status.find("VmPin:");
    return status.substr(begin, status.find('\n', begin) - begin);
  }

  UniqueFd device_ = open_device();
  Anonymous memory_{16 * kPage};
};

TEST_F(UserMemory, OfARingOfFramesThatShareTheirPages) {
  expect_a_ring_of_frames_is_filled(device_.get(), memory_.data() + 64, 960, 60, 3);
}

TEST_F(UserMemory, OfARingOfFramesThatAreNotAlignedAtAllIsFilledByDma) {
  const DriverModule driver("dmawire_edu", EduCard::driver_parameters());
  const UniqueFd card = open_driver("edu");
  if (!card.valid())
    GTEST_SKIP() << "this machine has no edu device";
  // edu takes a tenth of a second for each page.
  expect_a_ring_of_frames_is_filled(card.get(), memory_.data() + 33, 1001,
                                    from_environment("DMAWIRE_EDU_FRAMES", 12), 3);
}

TEST_F(UserMemory, IsGivenInSeveralRangesThatDoNotBeginAtPages) {
  const UniqueFd buffer = make(memory_.data() + 128, 8 * kPage + 64);
  const CaptureQueue queue{device_.get()};
  uint32_t index = 0;
  ASSERT_EQ(queue.attach(buffer.get(), &index), 0);
  ASSERT_EQ(queue.enqueue(index, 2 * kPage, kPage), 0);
  ASSERT_EQ(queue.enqueue(index, 3 * kPage, 2 * kPage), 0);
  EXPECT_EQ(queue.enqueue(index, 4 * kPage, kPage), EBUSY);
  EXPECT_EQ(queue.enqueue(index, 8 * kPage, 128), EINVAL);
  ASSERT_EQ(queue.start(), 0);
  EXPECT_EQ(queue.dequeue().out_result, static_cast<int>(kPage));
  EXPECT_EQ(queue.dequeue().out_result, static_cast<int>(2 * kPage));
  EXPECT_EQ(queue.stop(), 0);
  EXPECT_EQ(queue.detach(index), 0);
  const auto begin = memory_.bytes().subspan(128);
  EXPECT_EQ(frame_fault(begin.subspan(2 * kPage, kPage), 0), "");
  EXPECT_EQ(frame_fault(begin.subspan(3 * kPage, 2 * kPage), 1), "");
  EXPECT_EQ(begin[2 * kPage - 1], 0);
  EXPECT_EQ(begin[5 * kPage], 0);
}

TEST_F(UserMemory, IsRefusedWithEfaultWhereThereIsNone) {
  EXPECT_EQ(error_of(nullptr, kPage), EFAULT);
  EXPECT_EQ(error_of(reinterpret_cast<void*>(0xffff'8880'0000'0000), kPage), EFAULT);
  EXPECT_EQ(error_of(reinterpret_cast<void*>(0x8000'0000'0000'0000), kPage), EFAULT);
  const std::string before = pinned_memory();
  // Some of it is there, and pinned before the rest is found to be missing.
  ASSERT_EQ(munmap(memory_.data() + 9 * kPage, kPage), 0);
  EXPECT_EQ(error_of(memory_.data(), 10 * kPage), EFAULT);
  EXPECT_EQ(error_of(memory_.data() + 9 * kPage - 1, 2), EFAULT);
  EXPECT_EQ(error_of(memory_.data(), 9 * kPage), 0);
  EXPECT_EQ(pinned_memory(), before);
}

TEST_F(UserMemory, IsRefusedWithEfaultWhereItMayNotBeTouched) {
  ASSERT_EQ(mprotect(memory_.data(), kPage, PROT_NONE), 0);
  EXPECT_EQ(error_of(memory_.data(), kPage), EFAULT);
  EXPECT_EQ(create_error(device_.get(), for_reading(memory_.data(), kPage)), EFAULT);
  ASSERT_EQ(mprotect(memory_.data(), kPage, PROT_READ), 0);
  EXPECT_EQ(error_of(memory_.data(), kPage), EFAULT);
  EXPECT_EQ(create_error(device_.get(), for_reading(memory_.data(), kPage)), 0);
  dmawire_create writable = for_reading(memory_.data(), kPage);
  writable.fd_flags = O_RDWR | O_CLOEXEC;
  EXPECT_EQ(create_error(device_.get(), writable), EFAULT);
}

TEST_F(UserMemory, IsRefusedWithEfaultWhereItIsADevices) {
  load_kernel_module("udmabuf");  // fails where it is built in
  const UniqueFd memory = make_memfd(kPage);
  const UniqueFd exporter(open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
  udmabuf_create request = {};
  request.memfd = static_cast<__u32>(memory.get());
  request.size = kPage;
  const UniqueFd foreign(ioctl(exporter.get(), UDMABUF_CREATE, &request));
  if (!foreign.valid())
    GTEST_SKIP() << "this kernel has no udmabuf";
  const Mapped mapping(foreign.get(), kPage);
  ASSERT_EQ(mapping.error(), 0);
  EXPECT_EQ(error_of(mapping.data(), kPage), EFAULT);
}

TEST_F(UserMemory, MayItselfBeAMappingOfADmaBufOfOurs) {
  UniqueFd below = create_buffer(device_.get(), 4 * kPage);
  const Mapped mapping(below.get(), 4 * kPage);
  const UniqueFd buffer = make(mapping.bytes().data() + 5, 3 * kPage);
  below.reset();
  EXPECT_EQ(query(buffer.get()).out_length, 3 * kPage);
}

TEST_F(UserMemory, IsRefusedWithEoverflowWhereItsEndCannotBeTold) {
  const auto at = [](uint64_t address) { return reinterpret_cast<void*>(address); };
  EXPECT_EQ(error_of(memory_.data(), UINT64_MAX), EOVERFLOW);
  EXPECT_EQ(error_of(at(UINT64_MAX), 2), EOVERFLOW);
  EXPECT_EQ(error_of(at(UINT64_MAX - kPage), kPage), EOVERFLOW);
  EXPECT_EQ(error_of(at(UINT64_MAX), 1), EOVERFLOW);
  EXPECT_EQ(error_of(at(1), UINT64_MAX), EOVERFLOW);
  EXPECT_EQ(error_of(memory_.data(), uint64_t{1} << 50), EDQUOT);
}

TEST_F(UserMemory, RejectsWhatIsForOtherBackingsWithEinval) {
  dmawire_create request = user_request(memory_.data(), kPage);
  request.flags = DMAWIRE_CREATE_FOLIOS_64K;
  EXPECT_EQ(create_error(device_.get(), request), EINVAL);
  request = user_request(memory_.data(), kPage);
  request.node = 0;
  EXPECT_EQ(create_error(device_.get(), request), EINVAL);
  request = user_request(memory_.data(), kPage);
  request.memfd = 1;
  EXPECT_EQ(create_error(device_.get(), request), EINVAL);
  EXPECT_EQ(error_of(memory_.data(), 0), EINVAL);
}

TEST_F(UserMemory, ForReadingIsNotWrittenByAnybody) {
  const UniqueFd buffer = create(device_.get(), for_reading(memory_.data() + 8, 2 * kPage));
  EXPECT_EQ(CaptureQueue{device_.get()}.attach(buffer.get()), EINVAL);
  if (!has_direct())
    return;
  SlotRing ring;
  ASSERT_EQ(ring.make_table(), 0);
  ASSERT_EQ(ring.register_slot(device_.get(), buffer.get(), 0), 0);
  const UniqueFd random(open("/dev/urandom", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(ring.result_of([&](io_uring_sqe* sqe) {
    io_uring_prep_read_fixed(sqe, random.get(), nullptr, kPage, 0, 0);
  }),
            -EFAULT);
  // Memory that is not written yet: pages of zeros, shared by all.
  const Anonymous untouched(4 * kPage);
  const UniqueFd zeros = create(device_.get(), for_reading(untouched.data(), 4 * kPage));
  EXPECT_EQ(read_through_slot(device_.get(), zeros.get(), 4 * kPage), std::string(4 * kPage, '\0'));
}

TEST_F(UserMemory, StaysTheBuffersWhenItIsUnmappedAndOtherMemoryComesThere) {
  const std::string text = fill(memory_.mapping());
  UniqueFd buffer = make(memory_.data() + 1, 3 * kPage);
  ASSERT_EQ(mmap(memory_.data(), 8 * kPage, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
            memory_.data());
  dirty_memory(64 * kMiB);
  const std::string held = read_through_slot(device_.get(), buffer.get(), 3 * kPage);
  if (!held.empty()) {
    EXPECT_TRUE(held == text.substr(1, 3 * kPage));
  }
  EXPECT_EQ(memory_.data()[1], 0);
}

TEST_F(UserMemory, StaysTheParentsWhenAChildIsForked) {
  fill(memory_.mapping());
  const UniqueFd buffer = make(memory_.data() + 50, 2 * kPage);
  EXPECT_EQ(in_child([&] {
              memset(memory_.data(), 0xcc, 16 * kPage);
              return 0;
            }),
            0);
  memory_.data()[50] = 0x12;
  const std::string held = read_through_slot(device_.get(), buffer.get(), 2 * kPage);
  if (!held.empty()) {
    EXPECT_EQ(memcmp(held.data(), memory_.data() + 50, held.size()), 0);
  }
}

TEST_F(UserMemory, OutlivesItsProcessAndIsCountedUntilItIsGone) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd near(ends[0]);
  UniqueFd far(ends[1]);
  constexpr size_t limit = 16 * kPage;
  EXPECT_EQ(without_rights(limit,
                           [&] {
                             const Anonymous memory(16 * kPage);
                             memset(memory.data(), 0x3c, 16 * kPage);
                             const UniqueFd buffer = make(memory.data() + 7, 12 * kPage);
                             return send_fd(far.get(), buffer.get()) ? 0 : 1;
                           }),
            0);
  UniqueFd buffer(receive_fd(near.get()));
  ASSERT_TRUE(buffer.valid());
  const std::string held = read_through_slot(device_.get(), buffer.get(), 12 * kPage);
  if (!held.empty()) {
    EXPECT_EQ(held, std::string(12 * kPage, 0x3c));
  }

  const auto may_pin = [&](size_t length) {
    return without_rights(limit, [&] {
      const Anonymous memory(16 * kPage);
      return error_of(memory.data(), length);
    });
  };
  EXPECT_EQ(may_pin(4 * kPage), EDQUOT) << "13 of its user's 16 pages are pinned";
  EXPECT_EQ(may_pin(3 * kPage), 0);
  buffer.reset();
  // The ring that it was read through goes in the background.
  EXPECT_TRUE(eventually([] { return module_info().out_buffers == 0; }));
  EXPECT_EQ(may_pin(16 * kPage), 0);
}

TEST_F(UserMemory, ComesAndGoesTenThousandTimes) {
  for (size_t i = 0; i < 10'000; ++i)
    ASSERT_EQ(error_of(memory_.data() + i % kPage, 1 + i % (8 * kPage)), 0);
}

TEST_F(UserMemory, MayBeHugePages) {
  const HugePages pages(2 * kMiB, 1);
  if (!pages.available())
    GTEST_SKIP() << "this guest has no page of 2 MiB to spare";
  const UniqueFd memfd = make_memfd(2 * kMiB, 2 * kMiB);
  const AlignedMapping mapping(memfd.get(), 2 * kMiB, 2 * kMiB);
  ASSERT_EQ(mapping.error(), 0);
  const UniqueFd buffer = make(mapping.bytes().data() + 1000, kMiB);
  EXPECT_EQ(query(buffer.get()).out_segments, 1u);
  EXPECT_EQ(query(buffer.get()).out_largest_segment, kMiB);
}

}  // namespace
}  // namespace dmawire::test
