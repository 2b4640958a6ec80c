// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/error.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/frame_source.hpp>
#include <dmawire/paths.hpp>
#include <dmawire/recorder.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/unique_fd.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "../hash.hpp"
#include "frame_latency.hpp"
#include "options.hpp"
#include "report.hpp"

namespace dmawire::commands {

/// What came of sending what a device captured. There is a report even if it ended in a failure.
struct StreamOutcome {
  SendReport report;
  std::optional<Error> failure;
};

/// What frames come from.
struct FrameOrigin {
  std::string node;
  std::uint32_t requests;  ///< that it has on the sender's ring at most
  std::function<std::unique_ptr<FrameSource>(FramePool& pool, Sender& sender)> open;
  const char* (*advice)(int code);  ///< on an error that ended it
};

/// device -> network, and file, -> device: one ring, the same frames going round, until there are
/// as many frames as were asked for, a signal comes, or device, network or disk fail.
class FrameStream {
 public:
  /// Connects to the receiver, if `datagrams` is not connected to it. Options and pool must outlive
  /// it. Throws Error.
  FrameStream(const SendOptions& options, UniqueFd datagrams, FramePool& pool,
              const FrameOrigin& origin);

  /// Throws Error where it cannot begin.
  [[nodiscard]] StreamOutcome run();

 private:
  [[nodiscard]] std::uint32_t wanted() const noexcept;
  [[nodiscard]] bool ended() const noexcept;
  void note(std::error_code error) noexcept;
  void send_captured() noexcept;
  void drain() noexcept;
  [[nodiscard]] std::uint64_t recorded() const noexcept;
  [[nodiscard]] SendReport report() const;
  [[nodiscard]] std::optional<Error> failure() const;

  const SendOptions& options_;
  const std::string node_;
  const char* (*const advice_)(int code);
  UniqueFd socket_;
  FrameLatency latency_;
  ChosenSender chosen_;
  Sender& sender_;
  std::unique_ptr<FrameSource> source_;
  std::optional<Recorder> recorder_;
  std::optional<Hash> hash_;
  std::error_code send_error_;
};

}  // namespace dmawire::commands
