// SPDX-License-Identifier: MIT
#include <dmawire/frame_pool.hpp>

#include <gtest/gtest.h>

#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <set>

namespace dmawire::test {
namespace {

FramePool make_pool(std::uint32_t frames, std::size_t length) {
  return make_pool(Exporter::memfd, frames, length);
}

TEST(FramePool, GivesEveryFrameOnceAndThenNone) {
  FramePool pool = make_pool(3, 100);
  std::vector<Frame> held;
  std::set<std::uint32_t> indexes;
  while (auto frame = pool.take()) {
    EXPECT_EQ(frame->bytes().size(), 100U);
    indexes.insert(frame->index());
    held.push_back(std::move(*frame));
  }
  EXPECT_EQ(indexes, (std::set<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(pool.available(), 0U);
}

TEST(FramePool, GetsAFrameBackWhenItsHolderIsGone) {
  FramePool pool = make_pool(1, 100);
  { const auto frame = pool.take(); }
  EXPECT_EQ(pool.available(), 1U);
}

TEST(FramePool, GetsAFrameBackOnceEvenIfItWasMoved) {
  FramePool pool = make_pool(2, 100);
  {
    auto first = pool.take();
    Frame second{std::move(*first)};
    first.reset();
    EXPECT_EQ(pool.available(), 1U);
    second = std::move(*pool.take());  // releases the frame it held
    EXPECT_EQ(pool.available(), 1U);
  }
  EXPECT_EQ(pool.available(), 2U);
}

TEST(FramePool, GetsASharedFrameBackWhenAllHoldersAreGone) {
  FramePool pool = make_pool(1, 100);
  for (int round = 0; round < 2; ++round) {
    auto first = pool.take();
    ASSERT_TRUE(first);
    std::optional<Frame> second{first->share()};
    EXPECT_EQ(second->bytes().data(), first->bytes().data());
    (round == 0 ? first : second).reset();
    EXPECT_EQ(pool.available(), 0U);
    (round == 0 ? second : first).reset();
    EXPECT_EQ(pool.available(), 1U);
  }
}

TEST(FramePool, PutsOneFrameIntoEachBufferIfAsked) {
  const FramePool pool = FramePool::one_in_each(
      make_buffers(Exporter::memfd, Layout::pages, 3, 16 * 1024), 4096, 5000);
  EXPECT_EQ(pool.size(), 3U);
  for (std::uint32_t index = 0; index < 3; ++index) {
    EXPECT_EQ(pool.place(index).buffer, index);
    EXPECT_EQ(pool.place(index).offset, 5000U);
    EXPECT_EQ(pool.bytes(index).data(), pool.mappings()[index].bytes().data() + 5000);
  }
  EXPECT_THROW((void)FramePool::one_in_each(make_buffers(Exporter::memfd, Layout::pages, 1, 8192),
                                            4096, 5000),
               Error);
}

TEST(FramePool, BeginsFramesOnPagesWhereThatIsCheap) {
  EXPECT_EQ(FramePool::stride(65'000), 65'536U);
  EXPECT_EQ(FramePool::stride(4096), 4096U);
  EXPECT_EQ(FramePool::stride(1472), 1472U);
  EXPECT_EQ(FramePool::stride(5000), 5056U);
}

TEST(FramePool, SpacesFramesAsAsked) {
  const FramePool pool{make_buffers(Exporter::memfd, Layout::pages, 1, 16'384), 100, 4, 4096};
  EXPECT_EQ(pool.stride(), 4096U);
  EXPECT_EQ(pool.place(3).offset, 3 * 4096U);
  EXPECT_EQ(pool.bytes(3).size(), 100U);
}

TEST(FramePool, RefusesBuffersShorterThanAFrame) {
  EXPECT_THROW(FramePool(make_buffers(Exporter::memfd, Layout::pages, 1, 100), 5000, 1), Error);
}

}  // namespace
}  // namespace dmawire::test
