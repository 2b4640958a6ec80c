// SPDX-License-Identifier: MIT
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "process.hpp"

namespace dmawire::test {

using Words = std::vector<std::string>;

/// The words of both, one after the other.
Words words(Words first, const Words& second);

/// A `uring_app recv` that listens on a free port.
class Receiver {
 public:
  explicit Receiver(const Words& options = {}, const std::string& netns = {});

  [[nodiscard]] const std::string& port() const noexcept { return port_; }
  Process& process() noexcept { return process_; }

 private:
  Process process_;
  std::string port_;
};

/// A `uring_app send` to HOST:PORT.
Words send_command(const std::string& host, const std::string& port, const Words& options);

/// A `send` in src and a `recv` in dst, over the guest's cards, for tests that interfere while they
/// run.
class Stream {
 public:
  Stream(const Words& sending, const Words& receiving);

  Process& sender() noexcept { return sender_; }
  Process& receiver() noexcept { return receiver_.process(); }

  /// Waits until the sender, which was told --verbose, says that it has captured something.
  void wait_for_frames();
  /// Waits until some more has come over the wire.
  void wait_for_traffic();

  /// Waits for both ends, and takes their reports.
  void finish(int sender_status = 0, int receiver_status = 0);

  nlohmann::json sent;
  nlohmann::json received;  ///< if the receiver succeeded
  std::string complaint;    ///< the sender's error output

 private:
  Receiver receiver_;
  Process sender_;
};

/// The result of a transfer: both ends' exit statuses and, of an end that succeeded, its report.
struct Outcome {
  Process::Result sender;
  Process::Result receiver;
  nlohmann::json sent;
  nlohmann::json received;

  /// Both succeeded, and the received bytes equal the sent ones.
  [[nodiscard]] bool verified() const;
  [[nodiscard]] std::string complaints() const { return sender.err + receiver.err; }
};

/// Where the two ends are and how they reach each other.
struct Wire {
  std::string source_netns = {};
  std::string destination_netns = {};
  std::string host = "127.0.0.1";
};

/// Sends the data of `options` from one `uring_app` to another, hashes at both ends.
Outcome transfer(const Wire& wire, const Words& options, int input = -1);

/// The route to a host as `info` reports it, from src.
nlohmann::json route_to(const std::string& host);

}  // namespace dmawire::test
