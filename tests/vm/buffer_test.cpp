// SPDX-License-Identifier: MIT
// The memory of a buffer: that it is there, zero, accounted for, and given back.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "abi.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "leak_check.hpp"
#include "mapped.hpp"

namespace dmawire::test {
namespace {

class BufferOfSize : public testing::TestWithParam<size_t> {};

TEST_P(BufferOfSize, IsZeroAndWholePagesLong) {
  size_t length = GetParam();
  size_t rounded = (length + kPage - 1) / kPage * kPage;
  dirty_memory(256 * kMiB);
  UniqueFd buffer = create_buffer(open_device().get(), length);
  EXPECT_EQ(lseek(buffer.get(), 0, SEEK_END), static_cast<off_t>(rounded));
  Mapped mapping(buffer.get(), rounded);
  ASSERT_EQ(mapping.error(), 0);
  auto words = mapping.words();
  EXPECT_TRUE(std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; }));
}

TEST_P(BufferOfSize, HasSegmentsThatAddUp) {
  UniqueFd buffer = create_buffer(open_device().get(), GetParam());
  dmawire_query answer = query(buffer.get());
  EXPECT_GE(answer.out_segments, 1u);
  EXPECT_LE(answer.out_segments, answer.out_length / kPage);
  EXPECT_GE(answer.out_largest_segment, kPage);
  EXPECT_LE(answer.out_largest_segment, answer.out_length);
  EXPECT_EQ(answer.out_largest_segment % kPage, 0u);
  EXPECT_GE(answer.out_largest_segment * answer.out_segments, answer.out_length);

  uint64_t segments = 0;
  uint64_t least = 0;
  for (size_t i = 0; i < std::size(answer.out_segments_of); ++i) {
    segments += answer.out_segments_of[i];
    least += answer.out_segments_of[i] * (kPage << i);
  }
  EXPECT_EQ(segments, answer.out_segments);
  EXPECT_LE(least, answer.out_length);
  EXPECT_GT(2 * least, answer.out_length);
}

INSTANTIATE_TEST_SUITE_P(Sizes, BufferOfSize,
                         testing::Values(1, 4095, 4096, 4097, 64 * 1024, kMiB + 1,
                                         64 * kMiB + 4096));

TEST(Buffer, IsMadeOfLargeBlocksWhereMemoryIsFree) {
  UniqueFd buffer = create_buffer(open_device().get(), 32 * kMiB);
  dmawire_query answer = query(buffer.get());
  EXPECT_GE(answer.out_largest_segment, 2 * kMiB);
  EXPECT_LE(answer.out_segments, 64u);
}

TEST(Buffer, FailsWithEnomemWhenMemoryIsExhaustedAndGivesItBack) {
  uint64_t before = free_memory();
  ModuleParameter limit("max_bytes", UINT64_MAX);
  UniqueFd device = open_device();
  EXPECT_EQ(try_create(device.get(), 2 * meminfo("MemTotal")), ENOMEM);
  EXPECT_EQ(info(device.get()).out_buffers, 0u);
  EXPECT_EQ(info(device.get()).out_bytes, 0u);
  expect_free_memory(before, "a buffer that did not fit");
}

TEST(Buffer, FailsWithEnomemWhenItsPageArrayCannotBeHad) {
  ModuleParameter limit("max_bytes", UINT64_MAX);
  UniqueFd device = open_device();
  for (uint64_t length :
       {uint64_t{1} << 40, uint64_t{1} << 50, uint64_t{1} << 62, UINT64_MAX - kPage + 1}) {
    SCOPED_TRACE(length);
    EXPECT_EQ(try_create(device.get(), length), ENOMEM);
  }
}

/// A memory cgroup of its own.
class MemoryCgroup : public testing::Test {
 protected:
  void SetUp() override {
    if (!write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory"))
      GTEST_SKIP() << "no memory controller of cgroup v2 at /sys/fs/cgroup: " << strerror(errno);
    ASSERT_EQ(mkdir(path_.c_str(), 0755), 0) << strerror(errno);
  }

  void TearDown() override {
    EXPECT_TRUE(eventually([this] { return rmdir(path_.c_str()) == 0 || errno != EBUSY; }));
  }

  [[nodiscard]] uint64_t current() const {
    return std::stoull(read_text(path_ + "/memory.current"));
  }

  bool join() const { return write_text(path_ + "/cgroup.procs", "0"); }

  const std::string path_ = "/sys/fs/cgroup/dmawire-test";
};

TEST_F(MemoryCgroup, PastItsLimitCreationFailsWithEnomemAndNobodyIsKilled) {
  ASSERT_TRUE(write_text(path_ + "/memory.max", std::to_string(64 * kMiB)));
  int status = in_child([&] {
    if (!join())
      return 1;
    UniqueFd device = open_device();
    if (try_create(device.get(), 128 * kMiB) != ENOMEM)
      return 2;
    if (try_create(device.get(), 16 * kMiB) != 0)
      return 3;
    return info(device.get()).out_open_bytes == 0 ? 0 : 4;
  });
  EXPECT_EQ(status, 0);
  std::string events = read_text(path_ + "/memory.events");
  EXPECT_NE(events.find("oom 0\n"), events.npos) << events;
  EXPECT_NE(events.find("oom_kill 0\n"), events.npos) << events;
}

TEST_F(MemoryCgroup, IsChargedForEveryPageAndGetsEveryPageBack) {
  uint64_t charged = 0;
  uint64_t left = 0;
  int status = in_child([&] {
    if (!join())
      return 1;
    UniqueFd device = open_device();
    // Memory of the process itself, its stacks and page tables is charged before and after.
    if (try_create(device.get(), kMiB) != 0)
      return 2;
    uint64_t before = current();
    UniqueFd buffer = create_buffer(device.get(), 64 * kMiB + kPage);
    charged = current() - before;
    buffer.reset();
    left = current() - before;
    // The kernel keeps charges for up to 64 pages per CPU in stock.
    if (charged < 64 * kMiB + kPage - 2 * kMiB)
      return 3;
    return static_cast<int64_t>(left) < static_cast<int64_t>(2 * kMiB) ? 0 : 4;
  });
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(eventually([this] { return current() <= kMiB; }))
      << "the dead child left " << current() << " bytes";
}

TEST(Buffer, KilledCreatorStopsAllocatingAndLeavesNothing) {
  uint64_t length = meminfo("MemTotal") * 2 / 5;
  uint64_t before = meminfo("MemFree");
  UniqueFd device = open_device();
  pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    try_create(device.get(), length);
    _exit(0);
  }
  // The charge comes before the first page.
  while (info(device.get()).out_open_bytes == 0) {
  }
  kill(pid, SIGKILL);
  uint64_t least = before;
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0)
    least = std::min(least, meminfo("MemFree"));
  EXPECT_TRUE(WIFSIGNALED(status)) << "it was done before it could be killed";
  EXPECT_LT(before - least, length / 2) << "it went on allocating";
  EXPECT_EQ(info(device.get()).out_open_buffers, 0u);
  EXPECT_EQ(info(device.get()).out_open_bytes, 0u);
}

TEST(Buffer, ComesAndGoesAThousandTimes) {
  UniqueFd device = open_device();
  uint64_t before = free_memory();
  for (size_t i = 0; i < 1000; ++i)
    ASSERT_EQ(try_create(device.get(), kPage * (1 + i % 300)), 0);
  expect_free_memory(before, "a thousand buffers");
}

}  // namespace
}  // namespace dmawire::test
