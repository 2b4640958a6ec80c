// SPDX-License-Identifier: MIT
#include "completion.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "io_uring_compat.hpp"

namespace dmawire::test {
namespace {

io_uring_cqe make_cqe(RequestTag tag, int result, unsigned flags) {
  io_uring_cqe cqe{};
  cqe.user_data = tag.pack();
  cqe.res = result;
  cqe.flags = flags;
  return cqe;
}

TEST(Completion, TellsAResultWithANotificationToCome) {
  const Completion completion = Completion{make_cqe({7, 0x80000001}, 4096, IORING_CQE_F_MORE)};
  EXPECT_EQ(completion.request(), 7U);
  EXPECT_EQ(completion.sequence(), 0x80000001U);
  EXPECT_EQ(completion.result(), 4096);
  EXPECT_TRUE(completion.more());
  EXPECT_FALSE(completion.notification());
}

TEST(Completion, TellsANotificationAndItsFlag) {
  const auto flag = static_cast<int>(IORING_NOTIF_USAGE_ZC_COPIED);
  const Completion plain = Completion{make_cqe({1, 2}, 0, IORING_CQE_F_NOTIF)};
  EXPECT_TRUE(plain.notification());
  EXPECT_FALSE(plain.flagged_copied());
  const Completion flagged = Completion{make_cqe({1, 2}, flag, IORING_CQE_F_NOTIF)};
  EXPECT_TRUE(flagged.flagged_copied());
  EXPECT_EQ(flagged.result(), 0);
}

TEST(Completion, TellsAnErrorAndNotTheFlagThatLooksLikeOne) {
  const Completion completion = Completion{make_cqe({1, 2}, -ECONNRESET, 0)};
  EXPECT_EQ(completion.result(), -ECONNRESET);
  EXPECT_FALSE(completion.flagged_copied());
}

TEST(Completion, TellsWhichProvidedBufferWasUsed) {
  const Completion completion =
      Completion{make_cqe({0, 0}, 100, IORING_CQE_F_BUFFER | 63U << IORING_CQE_BUFFER_SHIFT)};
  EXPECT_TRUE(completion.has_buffer());
  EXPECT_EQ(completion.buffer(), 63U);
}

class Tally : public testing::Test {
 protected:
  void add(std::uint32_t sequence, bool flagged) { tally_.add(sequence, flagged, counts_); }
  UsageTally tally_;
  SenderStatistics counts_;
};

TEST_F(Tally, CountsFlagsBehindAZeroCopiedSendAsMerged) {
  add(0, false);
  add(2, true);
  add(1, true);
  EXPECT_EQ(counts_.zero_copied, 1U);
  EXPECT_EQ(counts_.merged, 2U);
  EXPECT_EQ(counts_.copied, 0U);
}

TEST_F(Tally, CountsEveryFlagAsCopiedWhereNothingIsZeroCopied) {
  for (std::uint32_t sequence = 0; sequence < 5; ++sequence) {
    add(sequence, true);
  }
  EXPECT_EQ(counts_.copied, 5U);
  EXPECT_EQ(counts_.merged, 0U);
}

TEST_F(Tally, DoesNotMergeAcrossAnythingThatCameBetween) {
  add(0, false);
  tally_.end_run();
  add(1, true);
  EXPECT_EQ(counts_.copied, 1U);
}

TEST_F(Tally, DoesNotMergeASendIntoALaterOne) {
  add(5, false);
  add(4, true);
  EXPECT_EQ(counts_.copied, 1U);
}

TEST_F(Tally, KnowsThatSequencesWrap) {
  add(0xffffffff, false);
  add(0, true);
  EXPECT_EQ(counts_.merged, 1U);
}

}  // namespace
}  // namespace dmawire::test
