// SPDX-License-Identifier: MIT
// Kernel behavior that our code has to know and that the kernel's documentation does not state.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "abi.hpp"
#include "loopback.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

/// io_req_tw_fail_links() in io_uring/timeout.c. Code that counts notifications by
/// IORING_CQE_F_MORE counts these too low, and waits forever or releases memory too early.
TEST(Kernel, NotifiesASendCancelledInAChainThoughItsResultSaysNothingFollows) {
  constexpr unsigned sends = 8;
  const Mapped memory(-1, sends * kMiB, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  Loopback connection;
  SlotRing ring;
  for (unsigned i = 0; i < sends; ++i) {
    io_uring_sqe* sqe = io_uring_get_sqe(ring.get());
    io_uring_prep_send_zc(sqe, connection.near.get(), memory.bytes().data() + i * kMiB, kMiB,
                          MSG_WAITALL | MSG_NOSIGNAL, 0);
    sqe->flags |= i + 1 < sends ? IOSQE_IO_LINK : 0;
    sqe->user_data = i;
  }
  ASSERT_EQ(io_uring_submit(ring.get()), static_cast<int>(sends));
  usleep(200'000);         // until the connection takes no more
  connection.far.reset();  // with data unread: a reset

  std::array<int, sends> notifications{};
  unsigned cancelled = 0;
  for (unsigned i = 0; i < 2 * sends; ++i) {
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec patience{.tv_sec = 10, .tv_nsec = 0};
    ASSERT_EQ(io_uring_wait_cqe_timeout(ring.get(), &cqe, &patience), 0) << i;
    if (cqe->flags & IORING_CQE_F_NOTIF) {
      ++notifications.at(cqe->user_data);
    } else if (cqe->res == -ECANCELED) {
      ++cancelled;
      EXPECT_EQ(cqe->flags & IORING_CQE_F_MORE, 0u);
    } else {
      EXPECT_NE(cqe->flags & IORING_CQE_F_MORE, 0u);
    }
    io_uring_cqe_seen(ring.get(), cqe);
  }
  EXPECT_GT(cancelled, 0u);
  for (int count : notifications)
    EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace dmawire::test
