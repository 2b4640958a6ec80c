// SPDX-License-Identifier: MIT
#include "transfer.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>

#include "eventually.hpp"

namespace dmawire::test {
namespace {

/// The build tells the host's tests where the program is; in a guest it is in the path.
std::string program() {
#ifdef URING_APP
  return URING_APP;
#else
  return "uring_app";
#endif
}

/// Bytes received by the cards of a process's network namespace.
std::uint64_t bytes_that_came(pid_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/net/dev"};
  std::uint64_t sum = 0;
  for (std::string line; std::getline(file, line);) {
    if (const auto colon = line.find(':'); colon != std::string::npos) {
      sum += std::stoull(line.substr(colon + 1));
    }
  }
  return sum;
}

}  // namespace

Words words(Words first, const Words& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Receiver::Receiver(const Words& options, const std::string& netns)
    : process_(words({program(), "recv", "0", "--json"}, options), {.netns = netns}) {
  const std::string line = process_.wait_for_line("listening on port ");
  port_ = line.substr(line.rfind(' ') + 1);
}

Words send_command(const std::string& host, const std::string& port, const Words& options) {
  return words({program(), "send", host + ":" + port, "--json"}, options);
}

Stream::Stream(const Words& sending, const Words& receiving)
    : receiver_{receiving, "dst"},
      sender_{send_command("192.0.2.2", receiver_.port(), sending), {.netns = "src"}} {}

void Stream::wait_for_frames() {
  sender_.wait_for_line("^[1-9][0-9]* captured, ");
}

void Stream::wait_for_traffic() {
  constexpr std::uint64_t some = 16 * 1024;
  const std::uint64_t before = bytes_that_came(receiver().pid());
  EXPECT_TRUE(eventually([&] { return bytes_that_came(receiver().pid()) >= before + some; }));
}

void Stream::finish(int sender_status, int receiver_status) {
  const Process::Result sender = sender_.wait();
  complaint = sender.err;
  ASSERT_EQ(sender.status, sender_status) << sender.err;
  ASSERT_FALSE(sender.out.empty()) << "the report is missing: " << sender.err;
  sent = nlohmann::json::parse(sender.out);
  const Process::Result receiver = receiver_.process().wait();
  ASSERT_EQ(receiver.status, receiver_status) << receiver.err;
  if (receiver_status == 0) {
    received = nlohmann::json::parse(receiver.out);
  }
}

bool Outcome::verified() const {
  return sender.status == 0 && receiver.status == 0 && !sent["xxh3"].is_null() &&
         sent["xxh3"] == received["xxh3"] && sent["bytes"] == received["bytes"];
}

Outcome transfer(const Wire& wire, const Words& options, int input) {
  Receiver receiver{{"--hash"}, wire.destination_netns};
  Process sender{send_command(wire.host, receiver.port(), words({"--hash"}, options)),
                 {.netns = wire.source_netns, .input = input}};
  Outcome outcome{.sender = sender.wait(), .receiver = {}, .sent = {}, .received = {}};
  if (outcome.sender.status == 0) {
    outcome.sent = nlohmann::json::parse(outcome.sender.out);
    outcome.receiver = receiver.process().wait();
  } else {
    receiver.process().kill();
    outcome.receiver = receiver.process().wait();
  }
  if (outcome.receiver.status == 0) {
    outcome.received = nlohmann::json::parse(outcome.receiver.out);
  }
  return outcome;
}

nlohmann::json route_to(const std::string& host) {
  Process info{{program(), "info", "--json", host}, {.netns = "src"}};
  const Process::Result result = info.wait();
  EXPECT_EQ(result.status, 0) << result.err;
  return nlohmann::json::parse(result.out)["route"];
}

}  // namespace dmawire::test
