// SPDX-License-Identifier: MIT
#include "kprobe_counter.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <utility>

#include "guest.hpp"

namespace dmawire::test {
namespace {

const std::string tracing = "/sys/kernel/tracing/";
const std::string group = "dmawire_test/";

}  // namespace

KprobeCounter::KprobeCounter(std::string function) : function_(std::move(function)) {
  EXPECT_TRUE(write_text(tracing + "kprobe_events", "p:" + group + function_ + " " + function_))
      << "this kernel cannot be asked whether it calls " << function_;
  EXPECT_TRUE(write_text(tracing + "events/" + group + function_ + "/enable", "1"));
}

KprobeCounter::~KprobeCounter() {
  write_text(tracing + "events/" + group + function_ + "/enable", "0");
  write_text(tracing + "kprobe_events", "-:" + group + function_);
}

std::uint64_t KprobeCounter::calls() const {
  std::ifstream profile{tracing + "kprobe_profile"};
  std::string name;
  std::uint64_t hits = 0;
  std::uint64_t missed = 0;
  while (profile >> name >> hits >> missed) {
    if (name == function_) {
      return hits + missed;
    }
  }
  ADD_FAILURE() << "the kprobe is gone";
  return 0;
}

}  // namespace dmawire::test
