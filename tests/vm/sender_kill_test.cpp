// SPDX-License-Identifier: MIT
//
// Senders with a peer that does not read: a killed sender leaves nothing behind, a signal ends a
// sender, and an orderly end still delivers every byte.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "capturing.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "process.hpp"
#include "resource_snapshot.hpp"
#include "transfer.hpp"

namespace dmawire::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// The bound that docs/sending.md states for a killed sender's connection and memory.
constexpr auto bound = 10s;

/// A file longer than the socket buffers of a peer that does not read.
const std::string sample = "/usr/bin/dmawire_vm_test";

/// Whether src has a connection to a port of dst, in any state but TIME_WAIT.
bool is_connected(const std::string& port) {
  constexpr unsigned time_wait = 6;
  const InNamespace src{"src"};
  std::istringstream table{read_text("/proc/thread-self/net/tcp")};
  std::string line;
  std::getline(table, line);
  while (std::getline(table, line)) {
    std::istringstream fields{line};
    std::string number, local, remote, state;
    fields >> number >> local >> remote >> state;
    if (std::stoul(remote.substr(remote.find(':') + 1), nullptr, 16) == std::stoul(port) &&
        std::stoul(state, nullptr, 16) != time_wait) {
      return true;
    }
  }
  return false;
}

/// Resources of the module in use, without our own descriptors.
ResourceSnapshot held_of_module() {
  ResourceSnapshot resource_snapshot = ResourceSnapshot::now();
  resource_snapshot.descriptors = 0;
  return resource_snapshot;
}

/// A receiver in dst that reads nothing.
class Deaf : public Receiver {
 public:
  explicit Deaf(const Words& options = {}) : Receiver{options, "dst"} {
    EXPECT_EQ(::kill(process().pid(), SIGSTOP), 0);
  }
  void hear() { EXPECT_EQ(::kill(process().pid(), SIGCONT), 0); }
};

class SenderPath : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string{GetParam()} == "direct" && !has_direct()) {
      GTEST_SKIP() << "this kernel has no direct path";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Every, SenderPath,
                         testing::Values("direct", "fixed", "plain", "msg", "copy"),
                         [](const auto& parameter) { return std::string{parameter.param}; });

TEST_P(SenderPath, KilledWhileItsPeerDoesNotReadLeavesNothing) {
  const ResourceSnapshot before = held_of_module();
  {
    Deaf receiver;
    const bool by_message = std::string{GetParam()} == "msg";  // which has no ring to capture with
    Process sender{send_command("192.0.2.2", receiver.port(),
                                by_message ? Words{"--file", "/dev/zero", "--tx", GetParam()}
                                           : Words{"--device", "0", "--tx", GetParam()}),
                   {.netns = "src"}};
    ASSERT_TRUE(eventually([&] { return is_connected(receiver.port()); }));
    sender.wait_until_idle();
    EXPECT_GE(held_of_module().bytes, before.bytes + (16U << 20));
    sender.kill();
    const Clock::time_point killed = Clock::now();
    EXPECT_EQ(sender.wait().status, 128 + SIGKILL);
    (void)eventually([&] {
      return Clock::now() > killed + bound ||
             (!is_connected(receiver.port()) && held_of_module() == before);
    });
    EXPECT_FALSE(is_connected(receiver.port()));
    EXPECT_EQ(held_of_module(), before);
    RecordProperty("milliseconds", static_cast<int>((Clock::now() - killed) / 1ms));

    receiver.hear();
    const Process::Result received = receiver.process().wait();
    EXPECT_EQ(received.status, 1) << "a stream that was cut short looks whole";
    EXPECT_NE(received.err.find("ECONNRESET"), std::string::npos) << received.err;
  }
  ASSERT_NO_FATAL_FAILURE(expect_reloads());
}

TEST_P(SenderPath, EndsInOrderThoughItsPeerHasNotReadYet) {
  Deaf receiver{{"--hash"}};
  // Short enough for the peer's kernel to take it all.
  const std::string text = "/tmp/short";
  ASSERT_TRUE(std::ofstream{text} << std::string(20'000, 'x'));
  const Process::Result sent = Process{
      send_command("192.0.2.2", receiver.port(), {"--file", text, "--hash", "--tx", GetParam()}),
      {.netns = "src"}}.wait();
  ASSERT_EQ(sent.status, 0) << sent.err;
  receiver.hear();
  const Process::Result received = receiver.process().wait();
  ASSERT_EQ(received.status, 0) << received.err;
  EXPECT_EQ(nlohmann::json::parse(received.out)["xxh3"], nlohmann::json::parse(sent.out)["xxh3"]);
}

TEST_P(SenderPath, EndsInOrderWhenItsPeerReadsAtLast) {
  Deaf receiver{{"--hash"}};
  Process sender{
      send_command("192.0.2.2", receiver.port(), {"--file", sample, "--hash", "--tx", GetParam()}),
      {.netns = "src"}};
  sender.wait_until_idle();
  receiver.hear();
  const Process::Result sent = sender.wait();
  ASSERT_EQ(sent.status, 0) << sent.err;
  const Process::Result received = receiver.process().wait();
  ASSERT_EQ(received.status, 0) << received.err;
  const auto report = nlohmann::json::parse(received.out);
  EXPECT_EQ(report["bytes"], std::filesystem::file_size(sample));
  EXPECT_EQ(report["xxh3"], nlohmann::json::parse(sent.out)["xxh3"]);
}

TEST(SenderToAPeerThatDoesNotRead, LeavesNothingWhenASignalEndsIt) {
  const ResourceSnapshot before = held_of_module();
  Deaf receiver;
  Process sender{send_command("192.0.2.2", receiver.port(), {"--file", "/dev/zero"}),
                 {.netns = "src"}};
  sender.wait_until_idle();
  ASSERT_EQ(::kill(sender.pid(), SIGINT), 0);
  EXPECT_EQ(sender.wait().status, 128 + SIGINT);
  EXPECT_TRUE(
      eventually([&] { return held_of_module() == before && !is_connected(receiver.port()); }));
  receiver.process().kill();
}

/// All requested frames are captured, and there is no room to send them.
TEST(SenderToAPeerThatDoesNotRead, IsEndedByASignalWhenItHasAllFrames) {
  const ResourceSnapshot before = held_of_module();
  Deaf receiver;
  Process sender{send_command("192.0.2.2", receiver.port(),
                              {"--device", "0", "--frames", "250", "--depth", "250"}),
                 {.netns = "src"}};
  sender.wait_until_idle();
  EXPECT_TRUE(eventually([&] { return !sender.blocks(SIGINT); }))
      << "it waits for its peer, and no signal ends that";
  ASSERT_EQ(::kill(sender.pid(), SIGINT), 0);
  EXPECT_EQ(sender.wait(20s).status, 128 + SIGINT);
  EXPECT_TRUE(eventually([&] { return held_of_module() == before; }));
  receiver.process().kill();
}

}  // namespace
}  // namespace dmawire::test
