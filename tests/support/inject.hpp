// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>

#include <dmawire/unique_fd.hpp>

#include "abi.hpp"
#include "fault_injection.hpp"
#include "guest.hpp"
#include "resource_snapshot.hpp"

namespace dmawire::test {

/// A call with its preparation and its checks. Only `call` runs while faults are injected, so it
/// does one thing and allocates nothing of its own.
struct Attempt {
  std::function<void()> prepare;
  std::function<int()> call;        ///< its errno, or 0
  std::function<void(int)> settle;  ///< checks the resulting state, and releases it
};

inline void nothing() {}

/// Every failure of a call, systematically: it is repeated with its first, second, third ...
/// allocation or copy failing, until no failing point is left.
class Inject : public testing::Test {
 protected:
  void SetUp() override {
    if (!faults_.missing().empty()) {
      ASSERT_FALSE(is_debug_kernel()) << "machine debug is made for this: " << faults_.missing();
      GTEST_SKIP() << faults_.missing();
    }
  }

  /// Every failure of @p attempt must be one of @p errors and leave nothing behind.
  void sweep(const std::string& name, std::initializer_list<int> errors, const Attempt& attempt) {
    const ResourceSnapshot before = ResourceSnapshot::now();
    expect_works(attempt);  // and makes the kernel do its one-time allocations
    ASSERT_EQ(before.settled(), before);
    unsigned points = 0;
    // The stock of slabs and per-CPU lists varies between runs, and so do the points that allocate.
    for (unsigned nth = 1, missed = 0; missed < 3; ++nth) {
      SCOPED_TRACE(name + ", failing number " + std::to_string(nth));
      ASSERT_LT(nth, kMostPoints);
      const bool failed = inject(nth, errors, attempt);
      points += failed ? 1 : 0;
      missed = failed ? 0 : missed + 1;
      ASSERT_EQ(before.settled(), before);
      expect_works(attempt);
      ASSERT_EQ(before.settled(), before) << "after it worked again";
    }
    EXPECT_GT(points, 0U) << name << ": nothing failed";
    printf("fail-nth: %s: %u points\n", name.c_str(), points);
    fflush(stdout);
    RecordProperty("points", static_cast<int>(points));
  }

  UniqueFd device_ = open_device();

 private:
  static constexpr unsigned kMostPoints = 1000;

  bool inject(unsigned nth, std::initializer_list<int> errors, const Attempt& attempt) {
    int error = 0;
    attempt.prepare();
    const bool failed = faults_.fail_nth(nth, [&] { error = attempt.call(); });
    if (error != 0) {
      EXPECT_TRUE(failed) << strerrorname_np(error) << " though nothing was made to fail";
      EXPECT_NE(std::ranges::find(errors, error), errors.end()) << strerrorname_np(error);
    }
    attempt.settle(error);
    return failed;
  }

  static void expect_works(const Attempt& attempt) {
    attempt.prepare();
    const int error = attempt.call();
    EXPECT_EQ(error, 0) << strerror(error);
    attempt.settle(error);
  }

  FaultInjection faults_;
};

}  // namespace dmawire::test
