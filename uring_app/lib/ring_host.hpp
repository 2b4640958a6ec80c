// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "completion.hpp"
#include "ring.hpp"

namespace dmawire {

/// Somebody who makes requests on a ring that another party drives.
class RingClient {
 public:
  /// One of its requests is done. Must not enter the kernel.
  virtual void handle(Completion completion) noexcept = 0;

 protected:
  ~RingClient() = default;
};

/// The one who drives a ring: enters the kernel, for all who have queued something, and hands each
/// its completions. Its own requests have the client number 0.
class RingHost {
 public:
  /// The host that a sender is. Throws Error, of the kind `impossible` if it has no ring.
  [[nodiscard]] static RingHost& of(Sender& sender, std::string_view purpose);

  /// From now on `client` may queue requests; returns the number that goes into their tags. Throws
  /// Error if there are too many clients.
  [[nodiscard]] std::uint32_t join(RingClient& client);
  /// A client that has no requests in flight takes no part any more.
  void leave(std::uint32_t number) noexcept { clients_[number] = nullptr; }

  /// Room for a client's request.
  [[nodiscard]] io_uring_sqe* next_sqe() noexcept {
    ++clients_due_;
    return ring().next_sqe();
  }
  /// The same for a request of which nobody knows when it will be done: a wait must not count on
  /// it. Once it is, the client says so.
  [[nodiscard]] io_uring_sqe* next_open_ended_sqe() noexcept {
    ++open_ended_due_;
    return next_sqe();
  }
  void open_ended_is_done() noexcept { --open_ended_due_; }
  /// Starts what is queued, waits for completions, whose ever, and hands them out. A signal ends
  /// the wait. 0 or -errno.
  [[nodiscard]] virtual int drive(unsigned wait_for) noexcept = 0;

  /// Requests of clients that are not done.
  [[nodiscard]] std::uint32_t clients_due() const noexcept { return clients_due_; }
  /// Of those: that a wait may count on.
  [[nodiscard]] std::uint32_t clients_expected() const noexcept {
    return clients_due_ - open_ended_due_;
  }

  /// So many ReadWatches have room on a ring that is nobody else's.
  static constexpr std::uint32_t max_watches = 4;

  /// Where a frame is in the ring's table of fixed buffers.
  struct FixedPlace {
    std::uint16_t slot;
    std::uintptr_t address;  ///< as requests count it
  };
  /// Nothing if it is not there.
  [[nodiscard]] virtual std::optional<FixedPlace> fixed_place(std::uint32_t frame) const noexcept;

 protected:
  RingHost() = default;
  RingHost(const RingHost&) = delete;
  RingHost& operator=(const RingHost&) = delete;
  ~RingHost() = default;

  [[nodiscard]] virtual Ring& ring() noexcept = 0;
  void dispatch(Completion completion) noexcept {
    --clients_due_;
    clients_[completion.client()]->handle(completion);
  }

 private:
  std::array<RingClient*, RequestTag::max_clients> clients_{};  ///< the first is the host
  std::uint32_t clients_due_ = 0;
  std::uint32_t open_ended_due_ = 0;
};

}  // namespace dmawire
