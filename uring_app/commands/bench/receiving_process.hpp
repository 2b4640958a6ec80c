// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <dmawire/stream.hpp>
#include <dmawire/unique_fd.hpp>
#include <string>

#include "peer.hpp"

namespace dmawire::commands::bench {

/// A child process that receives one run's traffic. It ends with this object, and with us.
class ReceivingProcess {
 public:
  /// Throws Error. Only for a process with one thread.
  ReceivingProcess(const std::string& netns, const std::string& address, const Traffic& traffic);
  ReceivingProcess(const ReceivingProcess&) = delete;
  ReceivingProcess& operator=(const ReceivingProcess&) = delete;
  ~ReceivingProcess();

  /// Where it listens.
  [[nodiscard]] const Endpoint& endpoint() const noexcept { return endpoint_; }
  /// After connecting: until then it may still be at accepting. Throws Error.
  void wait_until_connected();
  /// TCP: waits for the ends of all streams; UDP: takes what is left. Throws Error.
  [[nodiscard]] Received finish();

 private:
  void end() noexcept;

  Protocol protocol_;
  UniqueFd control_;
  pid_t pid_ = -1;
  Endpoint endpoint_;
};

}  // namespace dmawire::commands::bench
