// SPDX-License-Identifier: MIT
#include "commands/send/histogram.hpp"

#include <gtest/gtest.h>

namespace dmawire::commands {
namespace {

using std::chrono::nanoseconds;

TEST(Histogram, KnowsNothingOfNothing) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.percentile(50).count(), 0);
  EXPECT_EQ(histogram.max().count(), 0);
}

TEST(Histogram, IsExactForTheShortest) {
  Histogram histogram;
  for (int i = 1; i <= 63; ++i) {
    histogram.add(nanoseconds{i});
  }
  EXPECT_EQ(histogram.percentile(100).count(), 63);
  EXPECT_EQ(histogram.percentile(50).count(), 32);
  EXPECT_EQ(histogram.percentile(0).count(), 1);
}

TEST(Histogram, IsWithinThreePercentForTheOthers) {
  Histogram histogram;
  for (long i = 1; i <= 100'000; ++i) {
    histogram.add(nanoseconds{i * 1000});
  }
  EXPECT_NEAR(static_cast<double>(histogram.percentile(50).count()), 50e6, 0.032 * 50e6);
  EXPECT_NEAR(static_cast<double>(histogram.percentile(99).count()), 99e6, 0.032 * 99e6);
  EXPECT_EQ(histogram.percentile(100), histogram.max());
  EXPECT_EQ(histogram.max().count(), 100'000'000);
}

TEST(Histogram, TakesTheExtremes) {
  Histogram histogram;
  histogram.add(nanoseconds{-5});
  histogram.add(nanoseconds::max());
  EXPECT_EQ(histogram.count(), 2U);
  EXPECT_EQ(histogram.percentile(50).count(), 0);
  EXPECT_EQ(histogram.percentile(100), nanoseconds::max());
}

}  // namespace
}  // namespace dmawire::commands
