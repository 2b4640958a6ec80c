// SPDX-License-Identifier: MIT
#include <dmawire/unique_fd.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace dmawire::test {
namespace {

int open_null() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}
bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(UniqueFd, ClosesItsDescriptor) {
  const int fd = open_null();
  { const UniqueFd owner{fd}; }
  EXPECT_FALSE(is_open(fd));
}

TEST(UniqueFd, HoldsNothingAfterAMove) {
  UniqueFd first{open_null()};
  const int fd = first.get();
  const UniqueFd second{std::move(first)};
  EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): tests moved-from state
  EXPECT_EQ(second.get(), fd);
  EXPECT_TRUE(is_open(fd));
}

TEST(UniqueFd, ClosesWhatItHeldWhenAssigned) {
  UniqueFd first{open_null()};
  const int old = first.get();
  first = UniqueFd{open_null()};
  EXPECT_TRUE(first.valid());
  EXPECT_TRUE(first.get() == old || !is_open(old));
}

TEST(UniqueFd, ReleasesWithoutClosing) {
  UniqueFd owner{open_null()};
  const int fd = owner.release();
  EXPECT_TRUE(is_open(fd));
  ::close(fd);
}

}  // namespace
}  // namespace dmawire::test
