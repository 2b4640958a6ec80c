// SPDX-License-Identifier: MIT
#include "leak_check.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "abi.hpp"
#include "eventually.hpp"
#include "guest.hpp"

namespace dmawire::test {
namespace {

constexpr std::array<std::string_view, 12> kComplaints = {
    "WARNING:",    "BUG:",
    "BUG ",        "Oops",
    "Bad page",    "Bad rss-counter",
    "Call Trace",  "general protection",
    "refcount_t:", "soft lockup",
    "oom-kill",    "Out of memory",
};

bool contains(std::string_view line, std::string_view word) {
  return line.find(word) != line.npos;
}

/// Recognizes the lines of one complaint that is not about dmawire. A thread of vivid's computes
/// its sleep; if it is delayed for longer than that, the time is negative, and the kernel prints a
/// trace (vivid_thread_vid_cap(), Linux 7.3, in a guest that has less than a CPU).
class LateVivid {
 public:
  bool says(std::string_view line) {
    if (contains(line, "schedule_timeout: wrong timeout value")) {
      is_late_ = true;
      return true;
    }
    says_ = says_ || (is_late_ && contains(line, "Comm: vivid-"));
    is_late_ = false;
    const bool is_its = says_;
    says_ = says_ && !contains(line, "</TASK>");
    return is_its;
  }

 private:
  bool is_late_ = false;  ///< the previous line reported a wrong timeout
  bool says_ = false;
};

}  // namespace

void expect_free_memory(uint64_t before, const std::string& user) {
  // Slabs and page tables come and go, and each of the two cards has 256 receive buffers that are
  // cut from pieces of 32 KiB: a piece is held by the last of its cuts, 8 MiB by a card at most.
  // KASAN keeps objects that sum up to a 32nd of the memory from being used again, and with them
  // all other objects on their pages.
  const uint64_t tolerance = 40 * kMiB + (is_debug_kernel() ? meminfo("MemTotal") / 32 : 0);
  uint64_t after = free_memory();
  if (after + tolerance < before && is_debug_kernel()) {
    shrink_slabs();
    after = free_memory();
  }
  EXPECT_TRUE(eventually([&] {
    after = free_memory();
    return after + tolerance >= before;
  })) << (before - after)
      << " bytes are missing after " << user;
}

LeakCheck::LeakCheck() : kernel_log_(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {}

void LeakCheck::OnTestSuiteStart(const testing::TestSuite&) {
  free_memory_ = free_memory();
}

void LeakCheck::OnTestStart(const testing::TestInfo&) {
  snapshot_ = ResourceSnapshot::now();
  lseek(kernel_log_.get(), 0, SEEK_END);
}

void LeakCheck::OnTestEnd(const testing::TestInfo&) {
  EXPECT_EQ(snapshot_.settled(), snapshot_);
  EXPECT_EQ(new_complaints(), "") << "in the kernel's log";
}

void LeakCheck::OnTestSuiteEnd(const testing::TestSuite& suite) {
  expect_free_memory(free_memory_, suite.name());
}

std::string LeakCheck::new_complaints() {
  std::array<char, 8192> record = {};
  std::string said;
  bool complains = false;
  LateVivid vivid;
  for (;;) {
    ssize_t length = read(kernel_log_.get(), record.data(), record.size());
    if (length < 0 && (errno == EPIPE || errno == EINTR))
      continue;  // EPIPE: overwritten, continue with the records still there
    if (length <= 0)
      return complains ? said : "";
    std::string_view line(record.data(), static_cast<size_t>(length));
    said += line;
    const bool is_a_complaint =
        !vivid.says(line) && std::ranges::any_of(kComplaints, [&](std::string_view word) {
          return contains(line, word);
        });
    complains = complains || is_a_complaint;
  }
}

}  // namespace dmawire::test
