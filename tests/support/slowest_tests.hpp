// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

namespace dmawire::test {

/// Prints the slowest tests of a run that has more than that many.
class SlowestTests : public testing::EmptyTestEventListener {
 public:
  void OnTestProgramEnd(const testing::UnitTest& tests) override;
};

}  // namespace dmawire::test
