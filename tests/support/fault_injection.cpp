// SPDX-License-Identifier: MIT
#include "fault_injection.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <ranges>
#include <string_view>

#include "guest.hpp"

namespace dmawire::test {
namespace {

const std::string debugfs = "/sys/kernel/debug/";

}  // namespace

FaultInjection::FaultInjection() : nth_(::open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC)) {
  for (const char* capability : {"failslab", "fail_page_alloc", "fail_usercopy"}) {
    if (!std::filesystem::exists(debugfs + capability)) {
      missing_ = "this kernel has no " + std::string{capability};
    }
  }
  if (!nth_.valid()) {
    missing_ = "this kernel has no /proc/thread-self/fail-nth";
  }
  if (!missing_.empty()) {
    return;
  }
  for (const std::string capability : {"failslab/", "fail_page_alloc/", "fail_usercopy/"}) {
    set(capability + "verbose", "0");  // a stack in the kernel's log would be taken for a complaint
    set(capability + "times", "-1");
  }
  set("failslab/ignore-gfp-wait", "N");
  set("fail_page_alloc/ignore-gfp-wait", "N");
  set("fail_page_alloc/ignore-gfp-highmem", "N");
  set("fail_page_alloc/min-order", "0");
}

FaultInjection::~FaultInjection() {
  for (const auto& [path, value] : before_ | std::views::reverse) {
    EXPECT_TRUE(write_text(path, value)) << path;
  }
}

void FaultInjection::set(const std::string& knob, const std::string& value) {
  const std::string path = debugfs + knob;
  before_.emplace_back(path, read_text(path));
  EXPECT_TRUE(write_text(path, value)) << path;
}

void FaultInjection::arm(unsigned nth) {
  char text[16];
  const char* const end = std::to_chars(std::begin(text), std::end(text), nth).ptr;
  const ssize_t length = end - text;
  EXPECT_EQ(::pwrite(nth_.get(), text, static_cast<std::size_t>(length), 0), length);
}

bool FaultInjection::disarm() {
  // Reading the remaining count and writing the zero are copies that can be made to fail, too.
  char left[16] = {};
  const ssize_t length = ::pread(nth_.get(), left, sizeof(left) - 1, 0);
  const bool was_read = length > 0;
  while (::pwrite(nth_.get(), "0", 1, 0) != 1) {
    if (errno != EFAULT) {
      ADD_FAILURE() << "the kernel still injects";
      break;
    }
  }
  return was_read && std::string_view{left} == "0\n";
}

}  // namespace dmawire::test
