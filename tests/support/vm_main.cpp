// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "leak_check.hpp"
#include "slowest_tests.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new dmawire::test::LeakCheck);
  testing::UnitTest::GetInstance()->listeners().Append(new dmawire::test::SlowestTests);
  return RUN_ALL_TESTS();
}
