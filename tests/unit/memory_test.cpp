// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <sys/mman.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <dmawire/buffer.hpp>
#include <dmawire/cpu_access.hpp>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/mapping.hpp>
#include <string>
#include <utility>
#include <vector>

#include "fake_sys.hpp"

namespace dmawire::test {
namespace {

TEST(Buffer, OfAMemfdHasWholePagesOfZeros) {
  const Buffer buffer = Buffer::memfd(5000);
  EXPECT_EQ(buffer.length() % 4096, 0U);
  EXPECT_GE(buffer.length(), 5000U);
  const Mapping mapping{buffer.fd(), buffer.length()};
  for (const std::byte byte : mapping.bytes()) {
    ASSERT_EQ(byte, std::byte{0});
  }
}

TEST(Buffer, SaysWhyThereIsNoMemfd) {
  FakeSys fake;
  fake->memfd_create = [](const char*, unsigned) {
    errno = EMFILE;
    return -1;
  };
  EXPECT_THROW((void)Buffer::memfd(1), Error);
}

TEST(Buffer, SaysWhyAMemfdCannotGrow) {
  FakeSys fake;
  fake->ftruncate = [](int, off_t) {
    errno = ENOSPC;
    return -1;
  };
  EXPECT_THROW((void)Buffer::memfd(1), Error);
}

TEST(Mapping, OutlivesTheDescriptorAndMoves) {
  Mapping mapping;
  {
    const Buffer buffer = Buffer::memfd(4096);
    mapping = Mapping{buffer.fd(), buffer.length()};
  }
  mapping.bytes()[0] = std::byte{42};
  const Mapping moved{std::move(mapping)};
  EXPECT_EQ(moved.bytes()[0], std::byte{42});
  EXPECT_TRUE(mapping.bytes().empty());  // NOLINT(bugprone-use-after-move): tests moved-from state
}

TEST(Mapping, ThrowsWhereThereIsNothingToMap) {
  EXPECT_THROW(Mapping(-1, 4096), Error);
}

TEST(Mapping, BeginsWhereItIsToldTo) {
  const Buffer buffer = Buffer::memfd(8192);
  constexpr std::size_t alignment = 4 * 1024 * 1024;
  const Mapping mapping{buffer.fd(), buffer.length(), alignment};
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(mapping.bytes().data()) % alignment, 0U);
  mapping.bytes()[8191] = std::byte{42};
  EXPECT_EQ(buffer.map().bytes()[8191], std::byte{42});
  EXPECT_THROW(Mapping(-1, 4096, alignment), Error);
}

TEST(Mapping, OfOwnMemoryIsSharedByItsViewsAlone) {
  Mapping memory = Mapping::anonymous(4096);
  {
    const Mapping view = Mapping::view(memory);
    EXPECT_EQ(view.bytes().data(), memory.bytes().data());
    view.bytes()[0] = std::byte{42};
  }
  EXPECT_EQ(memory.bytes()[0], std::byte{42}) << "still mapped";
  const Buffer buffer{UniqueFd{::open("/dev/null", O_RDWR | O_CLOEXEC)}, std::move(memory)};
  EXPECT_EQ(buffer.map().bytes()[0], std::byte{42});
  EXPECT_EQ(buffer.length(), 4096U);
}

TEST(Buffer, SaysHowHugePagesAreSetAside) {
  FakeSys fake;
  fake->memfd_create = [](const char*, unsigned flags) {
    EXPECT_NE(flags & MFD_HUGETLB, 0U);
    errno = ENOMEM;
    return -1;
  };
  for (const std::size_t page : {std::size_t{2} << 20, std::size_t{1} << 30}) {
    try {
      (void)Buffer::huge_memfd(1, page);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::impossible);
      EXPECT_NE(std::string{error.what()}.find("huge"), std::string::npos) << error.what();
    }
  }
}

TEST(Exporters, TakeFoliosForLongFramesOnly) {
  EXPECT_EQ(usual_layout(Exporter::dmawire, 64 * 1024), Layout::folios);
  EXPECT_EQ(usual_layout(Exporter::dmawire, 4096), Layout::pages);
  EXPECT_EQ(usual_layout(Exporter::memfd, 64 * 1024), Layout::pages);
}

TEST(Exporters, SayThatAKernelLacksOne) {
  FakeSys fake;
  fake->open = [](const char*, int) {
    errno = ENOENT;
    return -1;
  };
  for (const Exporter exporter : {Exporter::dmawire, Exporter::udmabuf, Exporter::dma_heap}) {
    try {
      (void)make_buffers(exporter, Layout::pages, 1, 4096);
      FAIL() << name(exporter);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::impossible) << name(exporter);
    }
  }
}

std::vector<unsigned long> syncs;

int first_answer = 0;

int record_sync(int, unsigned long request, void* argument) {
  EXPECT_EQ(request, static_cast<unsigned long>(DMA_BUF_IOCTL_SYNC));
  syncs.push_back(static_cast<dma_buf_sync*>(argument)->flags);
  errno = syncs.size() == 1 ? first_answer : 0;
  return errno == 0 ? 0 : -1;
}

Buffer pretended_dma_buf() {
  return {UniqueFd{::open("/dev/null", O_RDWR | O_CLOEXEC)}, 4096, Buffer::Kind::dma_buf};
}

TEST(CpuAccess, StartsAndEndsAndAsksAgainWhenToldTo) {
  FakeSys fake;
  fake->ioctl = record_sync;
  syncs.clear();
  first_answer = EAGAIN;
  const Buffer buffer = pretended_dma_buf();
  {
    const CpuAccess access{buffer, CpuAccess::Intent::write};
    EXPECT_FALSE(access.error());
  }
  EXPECT_EQ(syncs, (std::vector<unsigned long>{DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE,
                                               DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE,
                                               DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE}));
}

TEST(CpuAccess, IsEndedByASignalWhileItWaits) {
  FakeSys fake;
  fake->ioctl = record_sync;
  syncs.clear();
  first_answer = EINTR;
  const Buffer buffer = pretended_dma_buf();
  {
    const CpuAccess access{buffer, CpuAccess::Intent::write};
    EXPECT_EQ(access.error().value(), EINTR);
  }
  EXPECT_EQ(syncs.size(), 1U) << "what did not start was ended";
  fake->poll = [](pollfd*, nfds_t, int) {
    errno = EINTR;
    return -1;
  };
  const CpuAccess access{buffer, CpuAccess::Intent::write};
  EXPECT_EQ(access.error().value(), EINTR);
  EXPECT_EQ(syncs.size(), 1U);
}

TEST(CpuAccess, WaitsForDevicesForAsLongAsItWasTold) {
  FakeSys fake;
  fake->ioctl = record_sync;
  syncs.clear();
  static std::vector<int> waits;
  waits.clear();
  fake->poll = [](pollfd* entry, nfds_t, int timeout) {
    waits.push_back(entry->events);
    waits.push_back(timeout);
    return 0;
  };
  const Buffer buffer = pretended_dma_buf();
  const CpuAccess writes{buffer, CpuAccess::Intent::write, std::chrono::milliseconds{0}};
  EXPECT_EQ(writes.error().value(), ETIMEDOUT);
  const CpuAccess reads{buffer, CpuAccess::Intent::read, std::chrono::milliseconds{0}};
  EXPECT_EQ(reads.error().value(), ETIMEDOUT);
  EXPECT_EQ(waits, (std::vector<int>{POLLOUT, 0, POLLIN, 0})) << "one that reads waits for writers";
  EXPECT_TRUE(syncs.empty());
}

TEST(CpuAccess, ToAFrameSyncsThatAndWaitsForNothing) {
  FakeSys fake;
  static std::vector<dmawire_sync> parts;
  parts.clear();
  fake->open = [](const char*, int) { return ::open("/dev/null", O_RDWR | O_CLOEXEC); };
  fake->ioctl = [](int, unsigned long request, void* argument) {
    EXPECT_EQ(request, static_cast<unsigned long>(DMAWIRE_IOC_SYNC));
    parts.push_back(*static_cast<dmawire_sync*>(argument));
    return 0;
  };
  fake->poll = [](pollfd*, nfds_t, int) {
    ADD_FAILURE();
    return 0;
  };
  std::vector<Buffer> buffers;
  buffers.push_back(Buffer::memfd(8192));
  FramePool pool{std::move(buffers), 4096, 2};
  (void)pool.take();
  const auto frame = pool.take();
  const Device device;
  { const CpuAccess access{device, *frame, CpuAccess::Intent::write}; }
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].flags, static_cast<__u32>(DMAWIRE_SYNC_WRITE));
  EXPECT_EQ(parts[1].flags, static_cast<__u32>(DMAWIRE_SYNC_WRITE | DMAWIRE_SYNC_END));
  for (const dmawire_sync& part : parts) {
    EXPECT_EQ(part.size, sizeof(part));
    EXPECT_EQ(part.fd, frame->buffer().fd());
    EXPECT_EQ(part.offset, 4096U);
    EXPECT_EQ(part.length, 4096U);
  }
}

TEST(CpuAccess, DoesNotEndWhatDidNotStart) {
  FakeSys fake;
  static int calls;
  calls = 0;
  fake->ioctl = [](int, unsigned long, void*) {
    ++calls;
    errno = ENODEV;
    return -1;
  };
  const Buffer buffer = pretended_dma_buf();
  {
    const CpuAccess access{buffer, CpuAccess::Intent::read};
    EXPECT_EQ(access.error().value(), ENODEV);
  }
  EXPECT_EQ(calls, 1);
}

TEST(CpuAccess, LeavesOtherMemoryAlone) {
  FakeSys fake;
  fake->ioctl = [](int, unsigned long, void*) {
    ADD_FAILURE();
    return -1;
  };
  const Buffer buffer = Buffer::memfd(4096);
  const CpuAccess access{buffer, CpuAccess::Intent::read_write};
  EXPECT_FALSE(access.error());
}

}  // namespace
}  // namespace dmawire::test
