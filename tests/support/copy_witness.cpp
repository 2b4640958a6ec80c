// SPDX-License-Identifier: MIT
#include "copy_witness.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "guest.hpp"

namespace dmawire::test {
namespace {

const std::string tracing = "/sys/kernel/tracing/";
const std::string group = "dmawire_test";
const std::string event = "payload_copied";

}  // namespace

CopyWitness::CopyWitness() {
  EXPECT_TRUE(write_text(tracing + "kprobe_events", "p:" + group + "/" + event + " skb_copy_ubufs"))
      << "this kernel cannot be asked whether it copied";
  EXPECT_TRUE(write_text(tracing + "events/" + group + "/" + event + "/enable", "1"));
}

CopyWitness::~CopyWitness() {
  write_text(tracing + "events/" + group + "/" + event + "/enable", "0");
  write_text(tracing + "kprobe_events", "-:" + group + "/" + event);
}

std::uint64_t CopyWitness::copies() const {
  std::ifstream profile{tracing + "kprobe_profile"};
  std::string name;
  std::uint64_t hits = 0;
  std::uint64_t missed = 0;
  while (profile >> name >> hits >> missed) {
    if (name == event) {
      return hits + missed;
    }
  }
  ADD_FAILURE() << "the kprobe is gone";
  return 0;
}

}  // namespace dmawire::test
