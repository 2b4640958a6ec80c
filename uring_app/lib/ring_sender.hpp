// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/sender.hpp>

#include <array>
#include <span>
#include <vector>

#include "frame_ledger.hpp"
#include "frame_slots.hpp"
#include "ring.hpp"
#include "ring_host.hpp"

namespace dmawire {

/// Sends through an io_uring: the paths direct, fixed, plain and copy.
///
/// Order on a stream: what is queued for it goes out as one chain of linked requests at a time,
/// each of which gathers the frames that are neighbours. The next chain starts when the last
/// *result* of the one before is in; notifications are not waited for. MSG_WAITALL makes the kernel
/// finish a short send itself; if it cannot, the chain breaks, the rest is cancelled, and the next
/// chain begins with what was left over.
///
/// Datagrams are spared the links: they go out in order as long as the socket has room. When it has
/// not, what did not go out is sent again from the first on, which then waits for room alone. Where
/// they fit the path's MTU, one request carries many and the kernel or the card cuts them apart
/// (UDP_SEGMENT).
///
/// Others may take part in its ring. While frames wait that cannot go out yet, nobody has anything
/// to do with each further one that is captured: a wait then insists for longer on what it was for.
class RingSender final : public Sender, public RingHost {
 public:
  RingSender(Path path, std::span<const int> sockets, FramePool& pool, const Options& options);

  [[nodiscard]] std::error_code send_to(std::uint32_t connection, Frame frame,
                                        std::size_t length) noexcept override;
  [[nodiscard]] std::error_code wait() noexcept override;
  [[nodiscard]] std::error_code progress() noexcept override;
  [[nodiscard]] std::error_code finish() noexcept override;
  [[nodiscard]] bool busy() const noexcept override { return unsent_frames_ > 0; }
  [[nodiscard]] Wakeup wakeup() const noexcept override;

  [[nodiscard]] RingHost* ring_host() noexcept override { return this; }
  [[nodiscard]] int drive(unsigned wait_for) noexcept override;
  [[nodiscard]] std::optional<FixedPlace> fixed_place(std::uint32_t frame) const noexcept override;

 private:
  /// Most ranges of memory of one request: the fragments of a packet (17 on stock kernels) bound
  /// what a datagram can have.
  static constexpr std::uint32_t max_ranges = 16;
  static constexpr std::uint32_t none = FrameLedger::none;

  struct Connection {
    /// Never a fixed file of the ring: notifications hold the ring, and the ring its files, so a
    /// process that is killed would leave the connection open until its peer has read everything.
    int socket = -1;
    FrameLedger::Queue unsent;
    std::uint32_t in_flight = 0;    ///< frames named by requests that are not done
    std::uint32_t results_due = 0;  ///< requests without a result
    std::uint32_t gather = 1;       ///< most frames of a request
    bool stream = true;
    bool socket_full = false;  ///< of datagrams: the last ones found no room
    int refusal = 0;           ///< ENOBUFS or ENOMEM: paused until something in flight ends
    bool ready = false;        ///< in ready_
    std::uint32_t message_flags = 0;
    std::error_code failure;
  };

  /// A request that the kernel is not done with, notification included.
  struct Request {
    std::uint32_t next_free;
    std::uint32_t connection;
    std::uint32_t sequence;
    std::uint32_t first;  ///< frame; the others follow it in the order of sending
    std::uint32_t frame_count;
    std::uint32_t range_count;
    std::uint32_t length;  ///< bytes
    std::uint32_t slot;    ///< of the ring's table
    bool failed;
    bool notification_due;  ///< announced with the result
    std::array<iovec, max_ranges> ranges;
  };

  void describe(Connection& connection, int socket);
  void register_frames();
  void probe_features();
  [[nodiscard]] bool takes(std::uint16_t send_flags, std::uint64_t addr3) noexcept;

  static void set_socket_full(Connection& connection, bool full) noexcept;
  void make_ready(std::uint32_t connection) noexcept;
  void start() noexcept;
  bool prepare_ready() noexcept;
  bool start_chain(std::uint32_t connection) noexcept;
  std::uint32_t gather(Request& request, std::uint32_t first) noexcept;
  [[nodiscard]] bool joins(const Connection& connection, const Request& request,
                           std::uint32_t previous, std::uint32_t frame) const noexcept;
  bool add(Connection& connection, Request& request, std::uint32_t frame) noexcept;
  void prepare(io_uring_sqe& sqe, std::uint32_t index) noexcept;
  [[nodiscard]] bool better_copied(const Request& request) const noexcept;

  [[nodiscard]] bool waits_for_something() const noexcept;
  [[nodiscard]] Ring& ring() noexcept override { return ring_; }
  void enter(unsigned wait_for) noexcept;
  void enter(unsigned wait_for, std::chrono::microseconds patience) noexcept;
  void ring_status(int status) noexcept;
  [[nodiscard]] bool something_to_wait_for() const noexcept;
  [[nodiscard]] std::uint32_t completions_due() const noexcept;
  [[nodiscard]] unsigned worth_waiting_for() const noexcept;
  [[nodiscard]] unsigned worth_waiting_for_with_clients() const noexcept;
  [[nodiscard]] bool nothing_can_start() const noexcept;
  void reap() noexcept;
  void handle_result(Completion completion) noexcept;
  void handle_notification(Completion completion) noexcept;
  void count_sent(const Request& request, std::uint32_t bytes) noexcept;
  void handle_refusal(Connection& connection, std::uint32_t number, int code) noexcept;
  void retry_refused(bool memory_was_freed) noexcept;
  void done_with(std::uint32_t index) noexcept;
  void fail(std::uint32_t connection, int code) noexcept;

  const Path path_;
  FramePool& pool_;
  const Options options_;
  FrameLedger ledger_;
  std::vector<Connection> connections_;
  FrameSlots slots_;
  const std::uint32_t window_;        ///< of each connection, in frames
  std::vector<std::uint32_t> ready_;  ///< connections that may have something to start
  std::vector<std::uint32_t> starting_;
  std::vector<Request> requests_;
  std::uint32_t free_request_ = none;  ///< the head of a list
  std::uint32_t queued_ = 0;           ///< frames ever
  std::uint32_t unsent_frames_ = 0;    ///< not completely sent
  std::uint32_t refused_ = 0;          ///< connections that found no memory
  std::uint32_t results_due_ = 0;
  std::uint32_t notifications_due_ = 0;
  std::uint32_t sequence_ = 0;
  std::uint64_t set_up_calls_ = 0;
  std::uint16_t zero_copy_flags_ = 0;   ///< of the SQE
  bool own_notification_tags_ = false;  ///< a notification has a user_data of its own
  bool vectored_ = false;               ///< a request may have several ranges
  bool copying_ = false;                ///< the network copied what we sent without
  UsageTally tally_;
  std::error_code failure_;  ///< the first, of any connection or of the ring
  bool ring_failed_ = false;
  /// Last, so that it goes first: in its end no request may find its frame gone.
  Ring ring_;
};

}  // namespace dmawire
