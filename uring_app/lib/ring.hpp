// SPDX-License-Identifier: MIT
#pragma once

#include <liburing.h>

#include <chrono>
#include <cstdint>
#include <span>

#include "completion.hpp"

namespace dmawire {

class Device;

/// Whole pages of a dma-buf, in bytes.
struct DmaBufRange {
  int fd;
  std::uint64_t offset;
  std::uint64_t length;  ///< 0: to the end
};

/// An io_uring of one thread. Completions are processed when the owner asks for them
/// (DEFER_TASKRUN, Linux 6.1), else whenever the kernel sees fit.
class Ring {
 public:
  enum class Submit {
    by_system_call,
    by_kernel_thread,  ///< IORING_SETUP_SQPOLL
  };

  /// Throws Error, of the kind `impossible` where the kernel or its configuration forbids io_uring.
  Ring(unsigned submissions, unsigned completions, Submit submit = Submit::by_system_call);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  [[nodiscard]] io_uring* get() noexcept { return &ring_; }
  [[nodiscard]] int fd() const noexcept { return ring_.ring_fd; }
  [[nodiscard]] bool supports(int opcode) noexcept;
  /// Makes buffer i of `buffers` the ring's fixed buffer i. Throws Error.
  void register_buffers(std::span<const iovec> buffers);
  /// Makes range i of `ranges`, all of dmawire's dma-bufs, the ring's fixed buffer i, addressed
  /// from 0. Throws Error. Uses the ring: nothing else may be queued or in flight.
  void register_dma_bufs(const Device& device, std::span<const DmaBufRange> ranges);

  /// Room for a request; the owner never queues more than it made the ring for.
  [[nodiscard]] io_uring_sqe* next_sqe() noexcept {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    return sqe != nullptr ? sqe : wait_for_sqe();
  }
  /// Starts what is queued and waits for completions. 0 or -errno; a signal is not an error.
  [[nodiscard]] int submit_and_wait(unsigned wait_for) noexcept;
  /// The same, but once the time is over the first completion is enough, if the ring is patient;
  /// else it is submit_and_wait().
  [[nodiscard]] int submit_and_wait(unsigned wait_for, std::chrono::microseconds patience) noexcept;
  /// Whether waits know such a time: with Linux 6.12 and liburing 2.8.
  [[nodiscard]] bool has_min_wait() const noexcept;
  /// Has the kernel post the completions it holds back. 0 or -errno.
  [[nodiscard]] int get_events() noexcept;
  /// Whether there are completions to take, or the kernel holds some back.
  [[nodiscard]] bool has_events() const noexcept;

  /// Calls `handle(Completion)` for every completion posted.
  template <typename Handle>
  void for_each_completion(Handle handle) noexcept {
    unsigned head;
    unsigned count = 0;
    io_uring_cqe* cqe;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      handle(Completion{*cqe});
      ++count;
    }
    io_uring_cq_advance(&ring_, count);
  }

  /// How many times the kernel was entered.
  [[nodiscard]] std::uint64_t enters() const noexcept { return enters_; }

 private:
  [[nodiscard]] int init(unsigned submissions, unsigned completions, unsigned flags) noexcept;
  /// Registers the ranges from `first` on that one system call takes; returns how many. Throws.
  std::size_t register_some(const Device& device, std::span<const DmaBufRange> ranges,
                            std::size_t first);
  [[nodiscard]] io_uring_sqe* wait_for_sqe() noexcept;

  io_uring ring_{};
  unsigned features_ = 0;
  std::uint64_t enters_ = 0;
};

}  // namespace dmawire
