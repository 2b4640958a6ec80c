// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "process.hpp"
#include "transfer.hpp"

namespace dmawire::test {

/// src's card is down until plug(), which restores the configuration that ci/vm documents.
class PulledCable {
 public:
  PulledCable() { expect_runs({"ip", "link", "set", "eth0", "down"}); }
  ~PulledCable() { plug(); }
  PulledCable(const PulledCable&) = delete;
  PulledCable& operator=(const PulledCable&) = delete;

  void plug() {
    if (std::exchange(plugged_, true)) {
      return;
    }
    for (const Words& command : {
             Words{"ip", "link", "set", "eth0", "up"},
             Words{"ip", "addr", "replace", "2001:db8::1/64", "dev", "eth0", "nodad"},
             Words{"ip", "neigh", "replace", "192.0.2.2", "lladdr", "02:00:00:00:00:02", "nud",
                   "permanent", "dev", "eth0"},
             Words{"ip", "neigh", "replace", "2001:db8::2", "lladdr", "02:00:00:00:00:02", "nud",
                   "permanent", "dev", "eth0"},
             Words{"ping", "-q", "-c", "1", "-w", "10", "-i", "0.05", "192.0.2.2"},
         }) {
      expect_runs(command);
    }
  }

 private:
  static void expect_runs(const Words& command) {
    const Process::Result result = Process{command, {.netns = "src"}}.wait();
    EXPECT_EQ(result.status, 0) << command[0] << ": " << result.out << result.err;
  }

  bool plugged_ = false;
};

}  // namespace dmawire::test
