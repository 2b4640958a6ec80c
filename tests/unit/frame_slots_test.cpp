// SPDX-License-Identifier: MIT
#include "frame_slots.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <dmawire/error.hpp>
#include <utility>
#include <vector>

namespace dmawire::test {
namespace {

constexpr std::size_t page = 4096;

/// Buffers labeled as dma-bufs. The real type of the descriptors does not matter here.
std::vector<Buffer> dma_bufs(std::size_t count, std::size_t length) {
  std::vector<Buffer> buffers;
  for (std::size_t i = 0; i < count; ++i) {
    Buffer memory = Buffer::memfd(length);
    buffers.emplace_back(UniqueFd{::dup(memory.fd())}, memory.length(), Buffer::Kind::dma_buf);
  }
  return buffers;
}

/// Where the slot of a frame says that the frame begins, in its buffer.
std::uint64_t offset_of(const FrameSlots& slots, const FramePool& pool, std::uint32_t frame) {
  const std::uint32_t slot = slots.of(frame);
  const auto address = reinterpret_cast<std::uintptr_t>(pool.bytes(frame).data());
  return slots.ranges()[slot].offset + (address - slots.origin(slot));
}

TEST(FrameSlots, AreTheBuffersWhereTheseAreMapped) {
  const FramePool pool{dma_bufs(2, 8 * page), page, 12};
  const FrameSlots slots = FrameSlots::of_mappings(pool);
  EXPECT_EQ(slots.of(7), 0U);
  EXPECT_EQ(slots.of(8), 1U);
  EXPECT_TRUE(slots.holds(0, 7));
  EXPECT_FALSE(slots.holds(0, 8));
  EXPECT_FALSE(slots.holds(1, 7));
  EXPECT_EQ(slots.origin(1), 0U);
  EXPECT_TRUE(slots.ranges().empty());
}

TEST(FrameSlots, HoldWhatRequestsTakeThatBeginInThemAndEndWithTheirBuffer) {
  const FramePool pool{dma_bufs(2, 8 * page), page, 16};
  constexpr std::uint32_t most = 3;
  const FrameSlots slots = FrameSlots::of_dma_bufs(pool, most);
  ASSERT_EQ(slots.ranges().size(), 6U);
  for (std::uint32_t first = 0; first < pool.size(); ++first) {
    const std::uint32_t slot = slots.of(first);
    for (std::uint32_t frame = 0; frame < pool.size(); ++frame) {
      const bool same_buffer = pool.place(frame).buffer == pool.place(first).buffer;
      if (frame >= first && frame < first + most) {
        EXPECT_EQ(slots.holds(slot, frame), same_buffer) << first << " " << frame;
      } else if (frame + most <= first || frame >= first + 2 * most) {
        EXPECT_FALSE(slots.holds(slot, frame)) << first << " " << frame;
      }
    }
  }
  EXPECT_EQ(slots.ranges()[0].length, (2 * most - 1) * page);
  EXPECT_EQ(slots.ranges()[2].length, 2 * page);
  EXPECT_EQ(slots.of(8), 3U);
  EXPECT_EQ(slots.ranges()[3].offset, 0U);
  EXPECT_EQ(slots.ranges()[3].fd, pool.buffers()[1].fd());
}

TEST(FrameSlots, AreOfWholePagesThoughFramesAreNot) {
  const FramePool pool{dma_bufs(1, 16 * page), 5000, 12};
  const FrameSlots slots = FrameSlots::of_dma_bufs(pool, 1);
  ASSERT_EQ(slots.ranges().size(), 12U);
  for (std::uint32_t frame = 0; frame < pool.size(); ++frame) {
    const DmaBufRange& range = slots.ranges()[slots.of(frame)];
    EXPECT_EQ(range.offset % page, 0U);
    EXPECT_EQ(range.length % page, 0U);
    EXPECT_EQ(offset_of(slots, pool, frame), pool.place(frame).offset);
    EXPECT_LE(pool.place(frame).offset + 5000, range.offset + range.length);
    EXPECT_LE(range.offset + range.length, 16 * page);
  }
}

TEST(FrameSlots, FitIntoTheTableHoweverManyFramesThereAre) {
  const FramePool pool{dma_bufs(3, 1024 * page), 64, 3 * 1024 * 64};
  const FrameSlots slots = FrameSlots::of_dma_bufs(pool, 1);
  EXPECT_LE(slots.ranges().size(), 16'384U);
  EXPECT_EQ(offset_of(slots, pool, pool.size() - 1), pool.place(pool.size() - 1).offset);
}

TEST(FrameSlots, CannotBeOfMemoryThatIsNoDmaBuf) {
  std::vector<Buffer> memory;
  memory.push_back(Buffer::memfd(page));
  const FramePool pool{std::move(memory), page, 1};
  EXPECT_THROW((void)FrameSlots::of_dma_bufs(pool, 1), Error);
}

}  // namespace
}  // namespace dmawire::test
