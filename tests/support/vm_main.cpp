// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "leak_check.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new dmawire::test::LeakCheck);
  return RUN_ALL_TESTS();
}
