// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <dmawire/unique_fd.hpp>
#include <vector>

#include "abi.hpp"
#include "mapped.hpp"

namespace dmawire::test {

/// Pages of a mapping with references held by pipes.
class HeldPages {
 public:
  /// The first page of each @p stride bytes of @p mapping.
  explicit HeldPages(const Mapped& mapping, size_t stride = kFolio) {
    std::vector<iovec> pages;
    for (size_t at = 0; at < mapping.size(); at += stride)
      pages.push_back({mapping.bytes().data() + at, kPage});
    constexpr size_t most = 256;
    for (size_t i = 0; i < pages.size(); i += most) {
      int ends[2] = {-1, -1};
      EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
      fds_.emplace_back(ends[0]);
      fds_.emplace_back(ends[1]);
      EXPECT_GE(fcntl(ends[1], F_SETPIPE_SZ, kMiB), 0) << strerror(errno);
      const size_t count = std::min(most, pages.size() - i);
      EXPECT_EQ(vmsplice(ends[1], &pages[i], count, 0), static_cast<ssize_t>(count * kPage))
          << strerror(errno);
    }
  }
  [[nodiscard]] int first_pipe() const { return fds_.at(0).get(); }

 private:
  std::vector<UniqueFd> fds_;
};

}  // namespace dmawire::test
