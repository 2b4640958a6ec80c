// SPDX-License-Identifier: MIT
// Faults on the way: packets lost and out of order, killed senders.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include <dmawire/stream.hpp>

#include "abi.hpp"
#include "bad_card.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "process.hpp"
#include "transfer.hpp"

namespace dmawire::test {
namespace {

using namespace std::chrono_literals;

const Wire over_the_cards{.source_netns = "src", .destination_netns = "dst", .host = "192.0.2.2"};

UniqueFd open_source(const char* path) {
  return UniqueFd{open(path, O_RDONLY | O_CLOEXEC)};
}

class FaultyPath : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const UniqueFd buffer = create_buffer(open_device().get(), kPage);
    if (std::string{GetParam()} == "direct" && query(buffer.get()).out_direct != DMAWIRE_USABLE)
      GTEST_SKIP() << "this kernel has no direct path";
  }
};
INSTANTIATE_TEST_SUITE_P(Every, FaultyPath,
                         testing::Values("direct", "fixed", "plain", "msg", "copy"),
                         [](const auto& instance) { return std::string{instance.param}; });

TEST_P(FaultyPath, KeepsOrderAndContentWherePacketsAreLostAndReordered) {
  constexpr size_t total = kMiB;
  const BadCard card;
  const UniqueFd source = open_source("/dev/urandom");
  const Outcome outcome = transfer(
      over_the_cards, {"-", "--total", "1M", "--size", "16K", "--tx", GetParam()}, source.get());
  EXPECT_TRUE(outcome.verified()) << outcome.complaints() << outcome.sent << outcome.received;
  EXPECT_EQ(outcome.sent["bytes"], total);
  EXPECT_GT(card.lost(), 0);
}

TEST_P(FaultyPath, ASenderKilledWithSendsInFlightLeavesNothing) {
  UniqueFd listener;
  {
    const InNamespace there{"dst"};
    listener = listen_stream({"", "0"});
  }
  const UniqueFd source = open_source("/dev/zero");
  {
    Process sender{send_command("192.0.2.2", std::to_string(local_port(listener.get())),
                                {"-", "--tx", GetParam()}),
                   {.netns = "src", .input = source.get()}};
    UniqueFd connection = accept_stream(listener.get());
    std::this_thread::sleep_for(300ms);  // the peer does not read: until every buffer is full
    EXPECT_TRUE(eventually([] { return module_info().out_buffers > 0; }));
    sender.kill();
    EXPECT_EQ(sender.wait(10s).status, 128 + SIGKILL);
    // Its last packets stay queued for the receiver, and hold the pages they were sent from, until
    // the connection closes.
    connection.reset();
  }
  EXPECT_TRUE(eventually([] { return module_info().out_buffers == 0; }));
  EXPECT_EQ(module_info().out_bytes, 0u);
  expect_reloads();
}

}  // namespace
}  // namespace dmawire::test
