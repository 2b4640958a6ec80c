// SPDX-License-Identifier: MIT
// Buffers that are many or large, or that come from where memory is in pieces or in several nodes.
#include <dmawire/uapi.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "abi.hpp"
#include "call_timer.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "held_pages.hpp"
#include "loopback.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

bool is_zero(const Mapped& mapping) {
  const auto words = mapping.words();
  return std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; });
}

TEST(Fragmented, MemoryGivesShortSegmentsAndStillABuffer) {
  const ModuleParameter limit("max_bytes", UINT64_MAX);
  const UniqueFd device = open_device();
  constexpr size_t fragmented = 640 * kMiB;
  constexpr size_t hole = 8 * kPage;
  // The kernel's reserve, which tearing blocks apart makes it raise.
  constexpr size_t left = 384 * kMiB;
  UniqueFd torn = create_buffer(device.get(), fragmented);
  Mapped mapping(torn.get(), fragmented);
  ASSERT_EQ(mapping.error(), 0);
  const HeldPages held(mapping, hole);
  mapping.reset();
  torn.reset();  // 7 of 8 pages are free, and no block of 8

  // Large enough that some of it has to come out of the holes.
  const size_t length = (free_memory_that_may_stay() - left) / kPage * kPage;
  const UniqueFd buffer = create_buffer(device.get(), length);
  const dmawire_query answer = query(buffer.get());
  EXPECT_EQ(answer.out_length, length);
  // Blocks of 4 MiB, which make one segment where they are neighbours.
  EXPECT_GE(answer.out_largest_segment, 4 * kMiB) << "large blocks come first";
  EXPECT_GE(answer.out_segments_of[0] + answer.out_segments_of[1] + answer.out_segments_of[2],
            (fragmented / 8 * 7 - left) / hole)
      << "no more than 7 pages come out of a hole";
  const Mapped end(buffer.get(), kMiB, static_cast<off_t>(length - kMiB));
  ASSERT_EQ(end.error(), 0);
  EXPECT_TRUE(is_zero(end));
}

/// More descriptors than a process has by default, while it lives.
class ManyFiles {
 public:
  ManyFiles() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit many{8192, std::max<rlim_t>(before_.rlim_max, 8192)};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &many), 0) << strerror(errno);
  }
  ~ManyFiles() { setrlimit(RLIMIT_NOFILE, &before_); }
  ManyFiles(const ManyFiles&) = delete;
  ManyFiles& operator=(const ManyFiles&) = delete;

 private:
  rlimit before_{};
};

TEST(Many, BuffersAreThereAtOnceAndEachIsItsOwn) {
  constexpr size_t count = 4096;
  const ManyFiles files;
  const UniqueFd device = open_device();
  std::vector<UniqueFd> buffers;
  for (size_t i = 0; i < count; ++i) {
    buffers.push_back(create_buffer(device.get(), 4 * kPage));
    const Mapped mapping(buffers.back().get(), 4 * kPage);
    ASSERT_EQ(mapping.error(), 0) << i;
    for (size_t page = 0; page < 4; ++page)
      mapping.words()[page * kPage / 8] = i * 4 + page + 1;
  }
  EXPECT_EQ(info(device.get()).out_open_buffers, count);
  for (size_t i = 0; i < count; ++i) {
    const Mapped mapping(buffers[i].get(), 4 * kPage);
    for (size_t page = 0; page < 4; ++page)
      ASSERT_EQ(mapping.words()[page * kPage / 8], i * 4 + page + 1) << i;
  }
}

TEST(Gigabytes, AreOneBufferAndBeyondTheFirstFourTheyAreSentFromToo) {
  constexpr uint64_t length = 5ULL * 1024 * kMiB + kPage;
  if (meminfo("MemAvailable") < length + 512 * kMiB)
    GTEST_SKIP() << "this guest has no 5 GiB to spare; machine large has";
  const ModuleParameter limit("max_bytes", UINT64_MAX);
  const UniqueFd device = open_device();
  const UniqueFd buffer = create_buffer(device.get(), length);
  const dmawire_query answer = query(buffer.get());
  EXPECT_EQ(answer.out_length, length);
  EXPECT_LT(answer.out_segments, 2 * length / (4 * kMiB)) << "blocks of 4 MiB are to be had";

  constexpr uint64_t step = 512 * kMiB;
  const Mapped all(buffer.get(), length);
  ASSERT_EQ(all.error(), 0);
  for (uint64_t at = 0; at < length; at += step)
    all.words()[at / 8] = at + 1;
  const Mapped last(buffer.get(), kPage, static_cast<off_t>(length - kPage));
  ASSERT_EQ(last.error(), 0);
  EXPECT_EQ(last.words()[0], length - kPage + 1);
  for (uint64_t at = 0; at < length; at += step)
    ASSERT_EQ(all.words()[at / 8], at + 1);

  SlotRing ring;
  ASSERT_EQ(ring.make_table(), 0);
  ASSERT_EQ(ring.register_address(last.data(), kPage, 0), 0);
  const Loopback connection;
  ring.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_send_zc_fixed(sqe, connection.near.get(), last.data(), 8, 0, 0, 0);
  });
  EXPECT_EQ(ring.next_result(), 8);
  const uint64_t sent = length - kPage + 1;
  EXPECT_EQ(memcmp(receive(connection.far.get(), 8).data(), &sent, 8), 0);
  EXPECT_EQ(ring.next_result(), 0) << "the notification";

  // A slot holds at most 4 GiB; the rest has slots of its own.
  const dmawire_uring_register beyond{.size = sizeof(beyond),
                                      .fd = buffer.get(),
                                      .slot = 1,
                                      .offset = length - kPage,
                                      .length = kPage};
  if (answer.out_direct != DMAWIRE_USABLE)
    return;
  ASSERT_EQ(ring.command(device.get(), DMAWIRE_URING_CMD_REGISTER, &beyond), 0);
  ring.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_send_zc_fixed(sqe, connection.near.get(), nullptr, 8, 0, 0, 1);
  });
  EXPECT_EQ(ring.next_result(), 8);
  EXPECT_EQ(memcmp(receive(connection.far.get(), 8).data(), &sent, 8), 0);
  EXPECT_EQ(ring.next_result(), 0) << "the notification";
}

/// Microseconds that CREATE takes: the kernel's pinning, and our code.
struct Cost {
  double pinning;
  double ours;
  [[nodiscard]] double all() const { return pinning + ours; }
};

/// The minimum of either over a few calls, @p pins being the function that pins: in the first call
/// the host finds memory for the guest kernel's tables, and it may do other work in any part of any
/// call.
Cost cost_of(const dmawire_create& request, const std::string& pins) {
  const ModuleParameter limit("max_bytes", UINT64_MAX);
  const UniqueFd device = open_device();
  const std::string all = "dmawire_buffer_create";
  constexpr double endless = std::numeric_limits<double>::infinity();
  Cost least{.pinning = endless, .ours = endless};
  for (int i = 0; i < 10; ++i) {
    const CallTimer timer{{all, pins}};
    EXPECT_EQ(create_error(device.get(), request), 0);
    const double pinning = timer.microseconds_in(pins);
    least.pinning = std::min(least.pinning, pinning);
    least.ours = std::min(least.ours, timer.microseconds_in(all) - pinning);
  }
  return least;
}

TEST(Gigabyte, OnOneHugePageIsExportedInNoTimeBesideSmallOnes) {
  constexpr uint64_t length = 1024 * kMiB;
  const HugePages page{length, 1};
  if (!page.available() || meminfo("MemAvailable") < length + 512 * kMiB)
    GTEST_SKIP() << "this guest has no page of 1 GiB to spare; machine large has";
  double microseconds[2];
  for (const size_t size : {kPage, length}) {
    const UniqueFd memfd = make_memfd(length, size);
    // Pages of 1 GiB are there already.
    const Mapped all(memfd.get(), size == kPage ? length : kPage);
    if (size == kPage) {
      std::fill(all.bytes().begin(), all.bytes().end(), uint8_t{1});
    }
    microseconds[size == length] =
        cost_of(memfd_request(memfd.get(), 0, length), "memfd_pin_folios").all();
  }
  std::cout << "export of 1 GiB: " << microseconds[0] << " us on pages of 4 KiB, "
            << microseconds[1] << " us on one of 1 GiB\n";
  EXPECT_LE(microseconds[1], 0.02 * microseconds[0]);
}

TEST(Gigabyte, OfAProcessIsPinnedAsFastAsTheKernelPins) {
  constexpr size_t length = 1024 * kMiB;
  if (is_debug_kernel())
    GTEST_SKIP() << "a kernel that watches spends its time on that";
  if (meminfo("MemAvailable") < length + 512 * kMiB)
    GTEST_SKIP() << "this guest has no GiB to spare; machine large has";
  for (const int advice : {MADV_NOHUGEPAGE, MADV_HUGEPAGE}) {
    const Anonymous memory{length};
    ASSERT_EQ(madvise(memory.data(), length, advice), 0) << strerror(errno);
    std::fill(memory.bytes().begin(), memory.bytes().end(), uint8_t{1});
    const Cost cost = cost_of(user_request(memory.data(), length), "pin_user_pages_fast");
    std::cout << "pinning 1 GiB of " << (advice == MADV_HUGEPAGE ? "large" : "small")
              << " pages: " << cost.pinning << " us in pin_user_pages_fast(), " << cost.ours
              << " us beside it\n";
    if (advice == MADV_NOHUGEPAGE) {
      EXPECT_LE(cost.ours, 0.05 * cost.pinning);
    }
  }
}

/// The nodes of this machine that have memory.
std::vector<int> nodes() {
  std::vector<int> found;
  for (int node = 0; node < 64; ++node) {
    if (access(("/sys/devices/system/node/node" + std::to_string(node)).c_str(), F_OK) == 0)
      found.push_back(node);
  }
  return found;
}

/// In which node the page at @p address is.
int node_of(const void* address) {
  int node = -1;
  EXPECT_EQ(syscall(SYS_get_mempolicy, &node, nullptr, 0, address, MPOL_F_NODE | MPOL_F_ADDR), 0)
      << strerror(errno);
  return node;
}

class Nodes : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    if (nodes().size() < 2)
      GTEST_SKIP() << "this guest has one NUMA node; machine large has two";
  }

  /// The number of pages on each node of a buffer that is created with @p node.
  static std::vector<size_t> pages_by_node(int node) {
    constexpr size_t length = 8 * kMiB;
    dmawire_create request = create_request(length);
    request.node = node;
    request.flags = GetParam();
    EXPECT_EQ(call(open_device().get(), DMAWIRE_IOC_CREATE, &request), 0);
    const UniqueFd buffer{request.out_fd};
    EXPECT_EQ(query(buffer.get()).out_node, node);
    const Mapped mapping(buffer.get(), length);
    std::vector<size_t> counts(nodes().size());
    for (size_t at = 0; at < length; at += kPage) {
      mapping.bytes()[at] = 1;
      ++counts.at(node_of(&mapping.bytes()[at]));
    }
    return counts;
  }
};

INSTANTIATE_TEST_SUITE_P(Each, Nodes, testing::ValuesIn(layouts), layout_name);

TEST_P(Nodes, GiveTheMemoryTheyAreAskedFor) {
  for (const int node : nodes())
    EXPECT_EQ(pages_by_node(node)[node], 8 * kMiB / kPage);
}

TEST_P(Nodes, OfTheCallersOwnIsTheMemoryOtherwise) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  for (const int node : nodes()) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(node, &one);  // on machine large each node has the CPU of its number
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(pages_by_node(-1)[node], 8 * kMiB / kPage);
  }
  EXPECT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST_P(Nodes, OfTheCallersMemoryPolicyAreObeyed) {
  for (const int node : nodes()) {
    const unsigned long mask = 1UL << node;
    ASSERT_EQ(syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 64), 0) << strerror(errno);
    EXPECT_EQ(pages_by_node(-1)[node], 8 * kMiB / kPage);
  }
  EXPECT_EQ(syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0), 0);
}

}  // namespace
}  // namespace dmawire::test
