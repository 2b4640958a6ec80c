// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "guest.hpp"
#include "process.hpp"
#include "transfer.hpp"

namespace dmawire::test {

/// src's card loses packets and sends some of them out of order while this lives.
class BadCard {
 public:
  BadCard() {
    load_kernel_module("sch_netem");
    // One packet at a time: else it would be whole trains of them, and few.
    expect_runs({"ip", "link", "set", "dev", "eth0", "gso_max_segs", "1"});
    expect_runs({"tc", "qdisc", "add", "dev", "eth0", "root", "netem", "loss", "2%", "reorder",
                 "10%", "50%", "delay", "2ms"});
  }
  ~BadCard() {
    expect_runs({"tc", "qdisc", "del", "dev", "eth0", "root"});
    expect_runs({"ip", "link", "set", "dev", "eth0", "gso_max_segs", "65535"});
  }
  BadCard(const BadCard&) = delete;
  BadCard& operator=(const BadCard&) = delete;

  [[nodiscard]] long lost() const {
    const std::string text = in_src({"tc", "-s", "qdisc", "show", "dev", "eth0"}).out;
    const size_t at = text.find("dropped ");
    return at == text.npos ? -1 : std::stol(text.substr(at + 8));
  }

 private:
  static Process::Result in_src(const Words& command) {
    return Process{command, {.netns = "src"}}.wait();
  }
  static void expect_runs(const Words& command) {
    const Process::Result result = in_src(command);
    EXPECT_EQ(result.status, 0) << command[0] << ": " << result.out << result.err;
  }
};

}  // namespace dmawire::test
