// SPDX-License-Identifier: MIT
#include "frame_ledger.hpp"

#include <gtest/gtest.h>

#include <dmawire/exporters.hpp>
#include <utility>

namespace dmawire::test {
namespace {

TEST(FrameLedger, CountsFramesThatNoRequestNames) {
  FramePool pool = make_pool(Exporter::memfd, 3, 100);
  FrameLedger ledger{pool};
  FrameLedger::Queue queue;
  for (int i = 0; i < 3; ++i) {
    ledger.push(queue, std::move(*pool.take()), 100);
  }
  EXPECT_EQ(ledger.waiting(), 3U);
  ledger.hold(0);
  ledger.hold(0);
  ledger.hold(1);
  EXPECT_EQ(ledger.waiting(), 1U);
  EXPECT_EQ(ledger.sent(queue, 0, 100), 1U);
  ledger.let_go(0);
  ledger.let_go(0);
  EXPECT_EQ(ledger.waiting(), 1U);
  ledger.let_go(1);  // nothing of it was sent: it waits for the next request
  EXPECT_EQ(ledger.waiting(), 2U);
  ledger.clear(queue);
  EXPECT_EQ(ledger.waiting(), 0U);
  EXPECT_EQ(pool.available(), 3U);
}

}  // namespace
}  // namespace dmawire::test
