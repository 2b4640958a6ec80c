// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/sender.hpp>

#include <vector>

#include "frame_ledger.hpp"

namespace dmawire {

/// Sends frame by frame with sendmsg(MSG_ZEROCOPY) over one connection and reads notifications from
/// the socket's error queue.
class MsgSender final : public Sender {
 public:
  MsgSender(int socket, FramePool& pool, const Options& options);

  [[nodiscard]] std::error_code send_to(std::uint32_t connection, Frame frame,
                                        std::size_t length) noexcept override;
  [[nodiscard]] std::error_code wait() noexcept override;
  [[nodiscard]] std::error_code progress() noexcept override;
  [[nodiscard]] std::error_code finish() noexcept override;
  [[nodiscard]] bool busy() const noexcept override { return !unsent_.empty(); }
  [[nodiscard]] Wakeup wakeup() const noexcept override;

 private:
  enum class Blocked { no, socket_full, notifications_needed };

  void start() noexcept;
  void send_some(std::uint32_t frame) noexcept;
  void reap() noexcept;
  void handle_notifications(std::uint32_t first, std::uint32_t last, bool copied) noexcept;
  void sleep() noexcept;
  void fail(int code) noexcept;
  [[nodiscard]] bool window_open() const noexcept;
  [[nodiscard]] std::uint32_t notifications_due() const noexcept { return next_id_ - oldest_id_; }

  const int socket_;
  FramePool& pool_;
  FrameLedger ledger_;
  FrameLedger::Queue unsent_;
  const std::uint32_t depth_;
  const std::uint32_t batch_;
  std::uint32_t queued_ = 0;     ///< frames ever
  std::uint32_t in_flight_ = 0;  ///< frames that a call not notified yet has sent from
  /// The kernel numbers the calls that sent something; the frame of call i is at i modulo the size.
  struct Call {
    std::uint32_t frame;
    bool notified;
  };
  std::vector<Call> calls_;
  std::uint32_t oldest_id_ = 0;  ///< first call not notified
  std::uint32_t next_id_ = 0;
  Blocked blocked_ = Blocked::no;
  std::error_code failure_;
};

}  // namespace dmawire
