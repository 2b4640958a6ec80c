// SPDX-License-Identifier: MIT
#include <dmawire/receiver.hpp>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <dmawire/error.hpp>
#include <thread>
#include <vector>

#include "fake_sys.hpp"
#include "loopback.hpp"

namespace dmawire::test {
namespace {

TEST(Receiver, GivesEveryByteInOrderAndThenTheEnd) {
  Loopback connection;
  std::vector<std::uint32_t> sent(8 << 20);  // more than its buffers hold
  for (std::size_t i = 0; i < sent.size(); ++i) {
    sent[i] = static_cast<std::uint32_t>(i);
  }
  std::thread writer{[&] {
    const auto* bytes = reinterpret_cast<const char*>(sent.data());
    std::size_t left = sent.size() * sizeof(sent[0]);
    while (left > 0) {
      const ssize_t count = ::write(connection.near.get(), bytes, left);
      bytes += count;
      left -= static_cast<std::size_t>(count);
    }
    connection.near.reset();
  }};

  class Receiver receiver {
    connection.far.get()
  };
  std::vector<std::byte> received;
  for (;;) {
    const auto next = receiver.next();
    ASSERT_FALSE(next.error) << next.error.message();
    if (next.bytes.empty()) {
      break;
    }
    received.insert(received.end(), next.bytes.begin(), next.bytes.end());
  }
  writer.join();
  const auto expected = std::as_bytes(std::span{sent});
  EXPECT_TRUE(std::equal(received.begin(), received.end(), expected.begin(), expected.end()));
}

TEST(Receiver, TellsThatThePeerBrokeOff) {
  Loopback connection;
  class Receiver receiver {
    connection.far.get()
  };
  const linger reset_at_close{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(connection.near.get(), SOL_SOCKET, SO_LINGER, &reset_at_close,
               sizeof(reset_at_close));
  connection.near.reset();
  EXPECT_EQ(receiver.next().error.value(), ECONNRESET);
}

TEST(Receiver, IsImpossibleWithoutARing) {
  const Loopback connection;
  FakeSys fake;
  fake->ring_init = [](unsigned, io_uring*, io_uring_params*) { return -ENOSYS; };
  EXPECT_THROW(Receiver{connection.far.get()}, Error);
}

TEST(Receiver, PassesAFailureOfTheRingOn) {
  const Loopback connection;
  class Receiver receiver {
    connection.far.get()
  };
  FakeSys fake;
  fake->ring_submit_and_wait = [](io_uring*, unsigned) { return -EBADR; };
  EXPECT_EQ(receiver.next().error.value(), EBADR);
}

}  // namespace
}  // namespace dmawire::test
