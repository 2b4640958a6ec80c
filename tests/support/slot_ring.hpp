// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

namespace dmawire::test {

/// An io_uring and its table of fixed buffers, with the commands of uapi.h spoken raw.
class SlotRing {
 public:
  static constexpr unsigned slots = 4;

  SlotRing() { EXPECT_EQ(io_uring_queue_init(16, &ring_, 0), 0); }
  ~SlotRing() { end(); }
  SlotRing(const SlotRing&) = delete;
  SlotRing& operator=(const SlotRing&) = delete;

  [[nodiscard]] io_uring* get() noexcept { return &ring_; }
  /// Takes the ring down, with requests in flight or not.
  void end() {
    if (ring_.ring_fd >= 0) {
      io_uring_queue_exit(&ring_);
      ring_.ring_fd = -1;
    }
  }

  int make_table() { return io_uring_register_buffers_sparse(&ring_, slots); }

  template <typename Prepare>
  void submit(Prepare prepare) {
    prepare(io_uring_get_sqe(&ring_));
    EXPECT_EQ(io_uring_submit(&ring_), 1);
  }
  /// Puts a request of any kind through the ring; its result.
  template <typename Prepare>
  int result_of(Prepare prepare) {
    prepare(io_uring_get_sqe(&ring_));
    EXPECT_EQ(io_uring_submit_and_wait(&ring_, 1), 1);
    return next_result();
  }
  int next_result() {
    io_uring_cqe* cqe = nullptr;
    EXPECT_EQ(io_uring_wait_cqe(&ring_, &cqe), 0);
    const int result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    return result;
  }

  /// A command to a device node: its errno, or 0.
  int command(int device, unsigned op, const void* argument) {
    return -result_of([&](io_uring_sqe* sqe) {
      io_uring_prep_rw(IORING_OP_URING_CMD, sqe, device, argument, 0, 0);
      sqe->cmd_op = op;
    });
  }
  int register_slot(int device, int dmabuf, unsigned slot) {
    const dmawire_uring_register argument{.size = sizeof(argument), .fd = dmabuf, .slot = slot};
    return command(device, DMAWIRE_URING_CMD_REGISTER, &argument);
  }
  /// By address, as the kernel has always done it: its errno, or 0.
  int register_address(void* data, std::size_t length, unsigned slot) {
    const iovec range{data, length};
    return std::max(0, -io_uring_register_buffers_update_tag(&ring_, slot, &range, nullptr, 1));
  }

 private:
  io_uring ring_{.ring_fd = -1};
};

/// Reads so many bytes; a ring's work in this task interrupts recv(), so in a loop.
inline std::string receive(int socket, std::size_t length) {
  std::string bytes(length, '\0');
  for (std::size_t done = 0; done < length;) {
    const ssize_t count = recv(socket, &bytes[done], length - done, 0);
    if (count == 0 || (count < 0 && errno != EINTR)) {
      ADD_FAILURE() << "only " << done << " bytes came";
      break;
    }
    done += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
  }
  return bytes;
}

}  // namespace dmawire::test
