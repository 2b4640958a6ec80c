// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include <dmawire/unique_fd.hpp>

#include "resource_snapshot.hpp"

namespace dmawire::test {

/// As much memory is free, or soon will be, as was @p before @p user used it.
void expect_free_memory(uint64_t before, const std::string& user);

/// After every test: nothing is held that was not held before, and the kernel has complained about
/// nothing. So the next one begins with a module at rest. After every suite: free memory is back.
class LeakCheck : public testing::EmptyTestEventListener {
 public:
  LeakCheck();

  void OnTestSuiteStart(const testing::TestSuite& suite) override;
  void OnTestStart(const testing::TestInfo& test) override;
  void OnTestEnd(const testing::TestInfo& test) override;
  void OnTestSuiteEnd(const testing::TestSuite& suite) override;

 private:
  /// The kernel's messages since the test began, if any of them is a complaint.
  std::string new_complaints();

  UniqueFd kernel_log_;
  ResourceSnapshot snapshot_;
  uint64_t free_memory_ = 0;
};

}  // namespace dmawire::test
