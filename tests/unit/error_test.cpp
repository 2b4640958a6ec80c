// SPDX-License-Identifier: MIT
#include <dmawire/error.hpp>

#include <gtest/gtest.h>

#include <cerrno>

namespace dmawire::test {
namespace {

TEST(Error, SaysWhatWasTriedWhyItFailedAndWhatToDo) {
  const Error error{EACCES, "opening /dev/dmawire0", "run as root", Error::Kind::impossible};
  EXPECT_STREQ(error.what(), "opening /dev/dmawire0: EACCES (Permission denied); run as root");
  EXPECT_EQ(error.code(), EACCES);
  EXPECT_EQ(error.kind(), Error::Kind::impossible);
}

TEST(Error, LeavesOutWhatItDoesNotKnow) {
  EXPECT_STREQ(Error(0, "no path works").what(), "no path works");
}

TEST(Error, NamesAnErrnoThatNobodyKnowsByItsNumber) {
  EXPECT_EQ(describe_errno(4095), "4095 (unknown error)");
}

}  // namespace
}  // namespace dmawire::test
