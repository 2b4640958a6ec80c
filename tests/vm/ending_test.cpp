// SPDX-License-Identifier: MIT
// How things end: in every order, across fork and exec, with tables that are full, and on a wire
// or with a receiver that goes away while a send is in flight.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "abi.hpp"
#include "cards.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "loopback.hpp"
#include "mapped.hpp"
#include "process.hpp"
#include "pulled_cable.hpp"
#include "resource_snapshot.hpp"
#include "slot_ring.hpp"
#include "transfer.hpp"

namespace dmawire::test {
namespace {

enum class By { dma_buf, address };
constexpr By every_way[] = {By::dma_buf, By::address};
const auto name_of_way = [](const auto& instance) {
  return std::string(instance.param == By::dma_buf ? "DmaBuf" : "Address");
};

/// A send of which the receiver's socket has no room for all: the rest stays in the buffer.
class Flight {
 public:
  static constexpr size_t length = 512 * 1024;

  static bool possible(By by) { return by == By::address || has_direct(); }

  Flight(By by, int socket) {
    ring.emplace();
    EXPECT_EQ(ring->make_table(), 0);
    EXPECT_EQ(by == By::dma_buf ? ring->register_slot(device.get(), dmabuf.get(), 0)
                                : ring->register_address(mapping.data(), length, 0),
              0);
    const int room = 8 * length;  // the sender's socket takes all at once
    EXPECT_EQ(setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)), 0);
    const void* const base = by == By::dma_buf ? nullptr : mapping.data();
    EXPECT_EQ(ring->result_of([&](io_uring_sqe* sqe) {
      io_uring_prep_send_zc_fixed(sqe, socket, base, length, MSG_WAITALL, 0, 0);
    }),
              static_cast<int>(length));
    io_uring_cqe* notification = nullptr;
    EXPECT_EQ(io_uring_peek_cqe(ring->get(), &notification), -EAGAIN) << "nothing is in flight";
  }

  /// How many buffers are left when nothing but the send holds them: a slot holds all of its
  /// dma-buf, an address only the pages.
  static unsigned held(By by) { return by == By::dma_buf ? 1 : 0; }

  /// Releases everything except the ring and its references.
  void let_go() {
    mapping.reset();
    dmabuf.reset();
    device.reset();
  }

  UniqueFd device = open_device();
  UniqueFd dmabuf = create_buffer(device.get(), length);
  Mapped mapping{dmabuf.get(), length};
  const std::string text = fill(mapping);
  std::optional<SlotRing> ring;
};

class Ending : public testing::TestWithParam<By> {
 protected:
  void SetUp() override {
    if (!Flight::possible(GetParam()))
      GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  }
};
INSTANTIATE_TEST_SUITE_P(Every, Ending, testing::ValuesIn(every_way), name_of_way);

TEST_P(Ending, EveryOrderOfClosingDeliversAndLeavesNothing) {
  const ResourceSnapshot before = ResourceSnapshot::now();
  std::array<unsigned, 5> order;
  std::iota(order.begin(), order.end(), 0U);
  do {
    SCOPED_TRACE(testing::PrintToString(order));
    Loopback connection;
    Flight flight{GetParam(), connection.near.get()};
    const std::function<void()> closings[] = {
        [&] { flight.device.reset(); },   [&] { flight.dmabuf.reset(); },
        [&] { flight.mapping.reset(); },  [&] { flight.ring.reset(); },
        [&] { connection.near.reset(); },
    };
    for (const unsigned which : order)
      closings[which]();
    EXPECT_EQ(module_info().out_buffers, before.buffers + Flight::held(GetParam()));
    ASSERT_TRUE(receive(connection.far.get(), Flight::length) == flight.text);
    char byte = 0;
    EXPECT_EQ(recv(connection.far.get(), &byte, 1, 0), 0) << "more than was sent";
    connection.far.reset();
    ASSERT_EQ(before.settled(), before);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_P(Ending, AConnectionThatIsResetGivesTheBufferBack) {
  CardsConnection connection;
  Flight flight{GetParam(), connection.near.get()};
  flight.let_go();
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(setsockopt(connection.far.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
  connection.far.reset();
  EXPECT_EQ(flight.ring->next_result(), 0) << "the notification";
  EXPECT_EQ(send(connection.near.get(), "", 1, MSG_NOSIGNAL), -1);
}

TEST_P(Ending, AReceiverThatIsKilledGivesTheBufferBack) {
  CardsConnection connection;
  const pid_t receiver = fork();
  ASSERT_GE(receiver, 0);
  if (receiver == 0) {
    pause();
    _exit(0);
  }
  connection.far.reset();
  Flight flight{GetParam(), connection.near.get()};
  flight.let_go();
  kill(receiver, SIGKILL);
  ASSERT_EQ(waitpid(receiver, nullptr, 0), receiver);
  EXPECT_EQ(flight.ring->next_result(), 0) << "the notification";
}

TEST_P(Ending, WhatWaitsForACableIsDeliveredThoughItsBufferWasFreed) {
  CardsConnection connection;
  Flight flight{GetParam(), connection.near.get()};
  PulledCable cable;
  flight.let_go();
  EXPECT_EQ(module_info().out_buffers, Flight::held(GetParam()));
  cable.plug();
  EXPECT_TRUE(receive(connection.far.get(), Flight::length) == flight.text);
  EXPECT_EQ(flight.ring->next_result(), 0) << "the notification";
}

TEST_P(Ending, WhatWaitsForACableIsDeliveredThoughEverythingWasClosed) {
  CardsConnection connection;
  Flight flight{GetParam(), connection.near.get()};
  PulledCable cable;
  connection.near.reset();
  flight.ring.reset();
  flight.let_go();
  EXPECT_EQ(module_info().out_buffers, Flight::held(GetParam()));
  cable.plug();
  EXPECT_TRUE(receive(connection.far.get(), Flight::length) == flight.text);
}

/// A process that calls @p body and then ends, if it returns. The test can let it continue.
class Forked {
 public:
  explicit Forked(const std::function<void(int)>& body) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    UniqueFd read_end{ends[0]};
    go_.reset(ends[1]);
    pid_ = fork();
    if (pid_ == 0) {
      go_.reset();
      body(read_end.get());
      _exit(0);
    }
  }
  ~Forked() { wait(); }
  Forked(const Forked&) = delete;
  Forked& operator=(const Forked&) = delete;

  /// Until it has become a reader: then it has read something.
  void await_reader() {
    EXPECT_EQ(write(go_.get(), "x", 1), 1);
    EXPECT_TRUE(eventually([this] {
      int unread = 1;
      ioctl(go_.get(), FIONREAD, &unread);
      return unread == 0;
    })) << "it does not read";
  }
  /// Lets it go on, to its end; its wait status.
  int wait() {
    go_.reset();
    int status = 0;
    if (pid_ > 0)
      waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

 private:
  UniqueFd go_;
  pid_t pid_ = -1;
};

void await(int go) {
  char byte = 0;
  EXPECT_EQ(read(go, &byte, 1), 0);
}

TEST(Heirs, AChildKeepsAMappingThatItsParentGaveUp) {
  UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  Mapped mapping{buffer.get(), kMiB};
  mapping.bytes()[kMiB - 1] = 0x5a;
  Forked child{[&](int go) {
    await(go);
    _exit(mapping.bytes()[kMiB - 1] == 0x5b ? 0 : 1);
  }};
  mapping.bytes()[kMiB - 1] = 0x5b;
  buffer.reset();
  mapping.reset();
  EXPECT_EQ(module_info().out_buffers, 1U);
  EXPECT_EQ(child.wait(), 0) << "it sees what the parent wrote";
  EXPECT_EQ(module_info().out_buffers, 0U);
}

TEST(Heirs, AGrandchildKeepsAMappingWhoseMakerHasEnded) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd report{ends[0]};
  UniqueFd write_end{ends[1]};
  int gate[2];
  ASSERT_EQ(pipe2(gate, O_CLOEXEC), 0);
  const UniqueFd gate_read{gate[0]};
  UniqueFd gate_write{gate[1]};
  EXPECT_EQ(in_child([&] {
              const UniqueFd buffer = create_buffer(open_device().get(), kMiB);
              const Mapped mapping{buffer.get(), kMiB};
              mapping.bytes()[0] = 0x77;
              if (fork() == 0) {
                gate_write.reset();
                await(gate_read.get());
                _exit(write(write_end.get(), mapping.data(), 1) == 1 ? 0 : 1);
              }
              return 0;
            }),
            0);
  write_end.reset();
  EXPECT_EQ(module_info().out_buffers, 1U);
  gate_write.reset();
  char byte = 0;
  EXPECT_EQ(read(report.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 0x77);
}

/// Becomes a program that reads @p input until it ends.
void become_reader(int input) {
  dup2(input, 0);
  dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 1);
  execlp("cat", "cat", nullptr);
  _exit(127);
}

TEST(Heirs, ExecEndsMappingsAndDescriptorsMarkedForIt) {
  Forked child{[](int go) {
    const UniqueFd buffer = create_buffer(open_device().get(), kMiB, O_RDWR | O_CLOEXEC);
    const Mapped mapping{buffer.get(), kMiB};
    mapping.bytes()[0] = 1;
    become_reader(go);
  }};
  child.await_reader();
  EXPECT_EQ(module_info().out_buffers, 0U);
  EXPECT_EQ(child.wait(), 0);
}

TEST(Heirs, ExecKeepsADescriptorThatIsNotMarkedForIt) {
  Forked child{[](int go) {
    UniqueFd buffer = create_buffer(open_device().get(), kMiB, O_RDWR);
    become_reader(go);
  }};
  child.await_reader();
  EXPECT_EQ(module_info().out_buffers, 1U);
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(module_info().out_buffers, 0U);
}

TEST(Limits, ADescriptorIsClosedOnce) {
  const UniqueFd device = open_device();
  dmawire_create request = create_request(kMiB);
  ASSERT_EQ(call(device.get(), DMAWIRE_IOC_CREATE, &request), 0);
  const Mapped mapping{request.out_fd, kMiB};
  EXPECT_EQ(close(request.out_fd), 0);
  EXPECT_EQ(close(request.out_fd), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(module_info().out_buffers, 1U);
  mapping.bytes()[0] = 1;
}

TEST(Limits, CreateFailsWithEnfileWhenTheSystemHasNoFreeFile) {
  const std::string limit = "/proc/sys/fs/file-max";
  const std::string before = read_text(limit);
  const UniqueFd device = open_device();
  const int error = in_child([&] {
    // The kernel counts files exactly only if it seems to have enough of them.
    for (int i = 0; i < 512; ++i)
      open("/dev/null", O_RDONLY | O_CLOEXEC);
    // Root may always have one more.
    if (!write_text(limit, "1") || setuid(65534) != 0)
      return -1;
    return try_create(device.get(), kMiB);
  });
  EXPECT_TRUE(write_text(limit, before));
  EXPECT_EQ(error, ENFILE);
  EXPECT_EQ(info(device.get()).out_open_buffers, 0U);
}

TEST(Limits, ATableOfTheMostSlotsIsFilledAndEndsWithItsRing) {
  constexpr unsigned slots = 16'384;
  if (!Flight::possible(By::dma_buf))
    GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  const UniqueFd device = open_device();
  UniqueFd buffer = create_buffer(device.get(), kPage);
  SlotRing ring;
  ASSERT_EQ(io_uring_register_buffers_sparse(ring.get(), slots), 0);
  for (unsigned slot = 0; slot < slots; ++slot)
    ASSERT_EQ(ring.register_slot(device.get(), buffer.get(), slot), 0) << slot;
  EXPECT_EQ(ring.register_slot(device.get(), buffer.get(), slots), EINVAL);
  EXPECT_EQ(ring.register_slot(device.get(), buffer.get(), slots - 1), EBUSY);
  EXPECT_EQ(ring.register_slot(device.get(), buffer.get(), 0), EBUSY);
  buffer.reset();
  EXPECT_EQ(module_info().out_buffers, 1U);
  ring.end();
}

}  // namespace
}  // namespace dmawire::test
