// SPDX-License-Identifier: MIT
//
// Every path over real sockets of this machine; error branches through the seam.

#include <dmawire/sender.hpp>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/paths.hpp>
#include <thread>
#include <vector>

#include "fake_sys.hpp"
#include "loopback.hpp"
#include "message_of.hpp"

namespace dmawire::test {
namespace {

constexpr std::size_t frame_length = 60'000;
constexpr std::uint32_t pool_size = 24;

FramePool make_pool() {
  return make_pool(Exporter::memfd, pool_size, frame_length);
}

/// Reads a socket to its end, at leisure.
class Collector {
 public:
  explicit Collector(int socket)
      : thread_{[this, socket] {
          std::vector<char> chunk(1 << 20);
          for (ssize_t count; (count = ::read(socket, chunk.data(), chunk.size())) > 0;) {
            bytes_.insert(bytes_.end(), chunk.data(), chunk.data() + count);
          }
        }} {}
  const std::vector<char>& finish() {
    thread_.join();
    return bytes_;
  }

 private:
  std::vector<char> bytes_;
  std::thread thread_;
};

class EveryPath : public testing::TestWithParam<Path> {
 protected:
  /// Sends numbered frames of different lengths; waits only when the pool is empty.
  void send_numbered(Sender& sender, FramePool& pool, std::uint32_t count) {
    for (std::uint32_t number = 0; number < count; ++number) {
      std::optional<Frame> frame = pool.take();
      if (!frame) {
        ASSERT_FALSE(sender.wait());
        frame = pool.take();
        ASSERT_TRUE(frame);
      }
      const std::size_t length = length_of(number);
      std::fill_n(frame->bytes().begin(), length, static_cast<std::byte>(number % 251));
      ASSERT_FALSE(sender.send(std::move(*frame), length));
      expected_.insert(expected_.end(), length, static_cast<char>(number % 251));
    }
  }

  static std::size_t length_of(std::uint32_t number) { return 1 + number * 7919 % frame_length; }

  std::vector<char> expected_;
  Loopback connection_;
};

INSTANTIATE_TEST_SUITE_P(Sender, EveryPath,
                         testing::Values(Path::fixed, Path::plain, Path::msg, Path::copy),
                         [](const auto& parameter) { return std::string{name(parameter.param)}; });

TEST_P(EveryPath, DeliversFramesInOrder) {
  FramePool pool = make_pool();
  const auto sender =
      make_sender(GetParam(), std::array{connection_.near.get()}, pool, {.depth = 8});
  Collector collector{connection_.far.get()};
  send_numbered(*sender, pool, 500);
  EXPECT_FALSE(sender->finish());
  EXPECT_FALSE(finish_stream(connection_.near.get()));
  EXPECT_TRUE(collector.finish() == expected_);

  const SenderStatistics& statistics = sender->statistics();
  EXPECT_EQ(statistics.bytes, expected_.size());
  EXPECT_EQ(statistics.frames, 500U);
  EXPECT_GT(statistics.system_calls, 0U);
  if (GetParam() == Path::copy) {
    EXPECT_EQ(statistics.notifications, 0U);
  } else {
    EXPECT_EQ(statistics.notifications, statistics.sends);
    EXPECT_EQ(statistics.zero_copied + statistics.copied + statistics.merged,
              statistics.notifications);
  }
}

TEST_P(EveryPath, HasEveryFrameBackAfterFinish) {
  FramePool pool = make_pool();
  const auto sender = make_sender(GetParam(), std::array{connection_.near.get()}, pool, {});
  Collector collector{connection_.far.get()};
  send_numbered(*sender, pool, pool_size - 1);
  EXPECT_FALSE(sender->finish());
  EXPECT_EQ(pool.available(), pool_size);
  EXPECT_FALSE(sender->busy());
  EXPECT_FALSE(finish_stream(connection_.near.get()));
  collector.finish();
}

TEST_P(EveryPath, WaitsForNoBatchThatCannotComeTogether) {
  FramePool pool = make_pool();
  const auto sender =
      make_sender(GetParam(), std::array{connection_.near.get()}, pool, {.batch = 10 * pool_size});
  Collector collector{connection_.far.get()};
  send_numbered(*sender, pool, 3 * pool_size);
  EXPECT_FALSE(sender->finish());
  EXPECT_FALSE(finish_stream(connection_.near.get()));
  collector.finish();
  EXPECT_EQ(sender->statistics().frames, 3 * pool_size);
}

TEST_P(EveryPath, StartsALoneFrameWhenToldThatNoMoreIsAtHand) {
  FramePool pool = make_pool();
  const auto sender = make_sender(GetParam(), std::array{connection_.near.get()}, pool, {});
  auto frame = pool.take();
  frame->bytes()[0] = std::byte{'!'};
  ASSERT_FALSE(sender->send(std::move(*frame), 1));
  ASSERT_FALSE(sender->progress());
  char byte = 0;
  EXPECT_EQ(::read(connection_.far.get(), &byte, 1), 1);
  EXPECT_EQ(byte, '!');
  EXPECT_FALSE(sender->finish());
}

TEST_P(EveryPath, TellsThatThePeerIsGoneAndGoesOnTellingIt) {
  FramePool pool = make_pool();
  const auto sender = make_sender(GetParam(), std::array{connection_.near.get()}, pool, {});
  connection_.far.reset();
  std::error_code error;
  for (int i = 0; i < 1000 && !error; ++i) {
    auto frame = pool.take();
    error = frame ? sender->send(std::move(*frame), frame_length) : sender->wait();
  }
  EXPECT_TRUE(error.value() == EPIPE || error.value() == ECONNRESET) << error.message();
  EXPECT_EQ(sender->finish(), error);
  EXPECT_EQ(sender->progress(), error);
}

TEST_P(EveryPath, HandsTheKernelNoMoreFramesThanItsDepth) {
  FramePool pool = make_pool();
  const auto sender =
      make_sender(GetParam(), std::array{connection_.near.get()}, pool, {.depth = 4});
  for (std::uint32_t i = 0; i < pool_size; ++i) {  // the peer does not read
    ASSERT_FALSE(sender->send(std::move(*pool.take()), frame_length));
  }
  EXPECT_FALSE(sender->progress());
  EXPECT_LE(sender->statistics().bytes,
            GetParam() == Path::copy ? pool_size * frame_length : 4 * frame_length);
  Collector collector{connection_.far.get()};
  EXPECT_FALSE(sender->finish());
  EXPECT_FALSE(finish_stream(connection_.near.get()));
  EXPECT_EQ(collector.finish().size(), pool_size * frame_length);
}

TEST_P(EveryPath, WakesItsOwnerThroughADescriptor) {
  FramePool pool = make_pool();
  const auto sender = make_sender(GetParam(), std::array{connection_.near.get()}, pool, {});
  while (auto frame = pool.take()) {
    ASSERT_FALSE(sender->send(std::move(*frame), frame_length));
  }
  ASSERT_FALSE(sender->progress());
  Collector collector{connection_.far.get()};
  while (sender->busy()) {
    const Sender::Wakeup wakeup = sender->wakeup();
    pollfd entry{.fd = wakeup.fd, .events = wakeup.events, .revents = 0};
    ASSERT_EQ(::poll(&entry, 1, 10'000), 1) << "nothing woke us";
    ASSERT_FALSE(sender->progress());
  }
  EXPECT_FALSE(sender->finish());
  EXPECT_FALSE(finish_stream(connection_.near.get()));
  collector.finish();
}

/// Sends `count` frames of `length` bytes that name their number, to each connection in turn.
void send_in_turn(Sender& sender, FramePool& pool, std::uint32_t connections, std::uint32_t count,
                  std::size_t length) {
  for (std::uint32_t number = 0; number < count * connections; ++number) {
    std::optional<Frame> frame = pool.take();
    while (!frame) {
      (void)sender.wait();
      frame = pool.take();
    }
    std::fill_n(frame->bytes().begin(), length, static_cast<std::byte>(number / connections));
    (void)sender.send_to(number % connections, std::move(*frame), length);
  }
}

std::vector<char> numbered(std::uint32_t count, std::size_t length) {
  std::vector<char> bytes;
  for (std::uint32_t number = 0; number < count; ++number) {
    bytes.insert(bytes.end(), length, static_cast<char>(number));
  }
  return bytes;
}

/// A pool of memory that is labeled with `pages`.
FramePool pool_of(Buffer::Pages pages) {
  Buffer memfd = Buffer::memfd(pool_size * frame_length);
  std::vector<Buffer> buffers;
  buffers.emplace_back(UniqueFd{::dup(memfd.fd())}, memfd.length(), Buffer::Kind::memfd, 1, pages);
  return {std::move(buffers), frame_length, pool_size / 2};
}

TEST(MakeSender, RefusesMemoryThatThePathCannotSendFrom) {
  const Loopback connection;
  const std::array sockets{connection.near.get()};
  const auto refusal = [&](Path path, Buffer::Pages pages) {
    FramePool pool = pool_of(pages);
    return message_of([&] { (void)make_sender(path, sockets, pool, {}); });
  };
  EXPECT_NE(refusal(Path::fixed, Buffer::Pages::looked_up).find("CMA area"), std::string::npos);
  for (const Path path : {Path::plain, Path::msg, Path::copy}) {
    EXPECT_EQ(refusal(path, Buffer::Pages::looked_up), "no error") << name(path);
  }
  for (const Path path : {Path::direct, Path::fixed, Path::plain, Path::msg}) {
    EXPECT_NE(refusal(path, Buffer::Pages::none).find("no pages"), std::string::npos) << name(path);
  }
  EXPECT_EQ(refusal(Path::copy, Buffer::Pages::none), "no error");
}

TEST(ChooseSender, SaysWhyTheMemoryAllowsNoBetterPath) {
  const Loopback connection;
  const std::array sockets{connection.near.get()};
  FramePool cma = pool_of(Buffer::Pages::looked_up);
  const ChosenSender looked_up = choose_sender(sockets, cma, {});
  EXPECT_EQ(looked_up.path, Path::plain);
  EXPECT_NE(looked_up.reason.find("CMA area"), std::string::npos) << looked_up.reason;
  FramePool uncached = pool_of(Buffer::Pages::none);
  const ChosenSender copied = choose_sender(sockets, uncached, {});
  EXPECT_EQ(copied.path, Path::copy);
  EXPECT_NE(
      copied.reason.find("; not direct, fixed, plain, msg: the memory's mapping has no pages"),
      std::string::npos)
      << copied.reason;
}

TEST(RingSender, ServesManyConnectionsEachInOrder) {
  constexpr std::uint32_t count = 20;
  std::vector<Loopback> connections(count);
  std::vector<int> sockets;
  std::vector<std::unique_ptr<Collector>> collectors;
  for (const Loopback& connection : connections) {
    sockets.push_back(connection.near.get());
    collectors.push_back(std::make_unique<Collector>(connection.far.get()));
  }
  FramePool pool = make_pool();
  const auto sender = make_sender(Path::fixed, sockets, pool, {.depth = 40});
  send_in_turn(*sender, pool, count, 50, 10'000);
  EXPECT_FALSE(sender->finish());
  EXPECT_EQ(sender->statistics().frames, count * 50U);
  const std::vector<char> expected = numbered(50, 10'000);
  for (std::uint32_t i = 0; i < count; ++i) {
    EXPECT_FALSE(finish_stream(sockets[i]));
    EXPECT_TRUE(collectors[i]->finish() == expected) << "connection " << i;
  }
}

TEST(RingSender, GoesOnWithTheOthersWhenOneConnectionFails) {
  std::vector<Loopback> connections(3);
  connections[1].far.reset();
  Collector first{connections[0].far.get()};
  Collector last{connections[2].far.get()};
  FramePool pool = make_pool();
  const std::array sockets{connections[0].near.get(), connections[1].near.get(),
                           connections[2].near.get()};
  const auto sender = make_sender(Path::plain, sockets, pool, {});
  send_in_turn(*sender, pool, 3, 60, 10'000);
  const std::error_code error = sender->finish();
  EXPECT_TRUE(error.value() == EPIPE || error.value() == ECONNRESET) << error.message();
  EXPECT_EQ(sender->send_to(1, std::move(*pool.take()), 1), error);
  EXPECT_FALSE(sender->send_to(2, std::move(*pool.take()), 1));
  EXPECT_EQ(sender->finish(), error);
  EXPECT_FALSE(finish_stream(sockets[0]));
  EXPECT_FALSE(finish_stream(sockets[2]));
  EXPECT_TRUE(first.finish() == numbered(60, 10'000));
  EXPECT_EQ(last.finish().size(), 60U * 10'000 + 1);
  EXPECT_EQ(pool.available(), pool.size());
}

/// The received datagrams, until an empty one.
std::vector<std::string> take_datagrams(int socket) {
  std::vector<std::string> datagrams;
  std::array<char, 70'000> chunk;
  for (ssize_t count; (count = ::recv(socket, chunk.data(), chunk.size(), 0)) > 0;) {
    datagrams.emplace_back(chunk.data(), static_cast<std::size_t>(count));
  }
  return datagrams;
}

class Datagrams : public testing::TestWithParam<const char*> {
 protected:
  const UniqueFd far_ = bind_datagram({GetParam(), "0"});
  const UniqueFd near_ = connect_datagram({GetParam(), std::to_string(local_port(far_.get()))});
};
INSTANTIATE_TEST_SUITE_P(BothVersionsOfIp, Datagrams, testing::Values("127.0.0.1", "::1"),
                         [](const auto& parameter) {
                           return std::string{parameter.param} == "::1" ? "v6" : "v4";
                         });

TEST_P(Datagrams, GoOutManyAtATimeAndArriveOneByOne) {
  constexpr std::size_t length = 1408;  // whole cache lines: frames are neighbours
  FramePool pool = dmawire::make_pool(Exporter::memfd, 64, length);
  for (const Path path : {Path::fixed, Path::plain, Path::copy}) {
    const auto sender = make_sender(path, std::array{near_.get()}, pool, {});
    for (int i = 0; i < 40; ++i) {
      std::fill_n(pool.take()->bytes().begin(), length, std::byte{1});
    }
    send_in_turn(*sender, pool, 1, 40, length);
    auto frame = pool.take();
    ASSERT_FALSE(sender->send(std::move(*frame), 10));  // a shorter one ends a request
    ASSERT_FALSE(sender->finish());
    EXPECT_LE(sender->statistics().sends, 10U) << name(path);
    ASSERT_FALSE(finish_datagrams(near_.get()));
    const std::vector<std::string> datagrams = take_datagrams(far_.get());
    ASSERT_EQ(datagrams.size(), 41U) << name(path);
    for (std::size_t i = 0; i < 40; ++i) {
      EXPECT_EQ(datagrams[i], std::string(length, static_cast<char>(i)));
    }
    EXPECT_EQ(datagrams[40].size(), 10U);
    while (::recv(far_.get(), nullptr, 0, MSG_DONTWAIT) == 0) {
    }  // the other empty ones
  }
}

TEST_P(Datagrams, GoOutOneByOneWhereTheyAreTooLongToBeCutApart) {
  constexpr std::size_t length = 40'000;
  FramePool pool = dmawire::make_pool(Exporter::memfd, 8, length);
  const auto sender = make_sender(Path::fixed, std::array{near_.get()}, pool, {});
  send_in_turn(*sender, pool, 1, 5, length);
  ASSERT_FALSE(sender->finish());
  EXPECT_EQ(sender->statistics().sends, 5U);
  ASSERT_FALSE(finish_datagrams(near_.get()));
  EXPECT_EQ(take_datagrams(far_.get()).size(), 5U);
}

TEST_P(Datagrams, ThatAreTooLongForUdpAreRefused) {
  constexpr std::size_t length = 66'000;
  FramePool pool = dmawire::make_pool(Exporter::memfd, 2, length);
  const auto sender = make_sender(Path::fixed, std::array{near_.get()}, pool, {});
  (void)sender->send(std::move(*pool.take()), length);
  EXPECT_EQ(sender->finish().value(), EMSGSIZE);
  EXPECT_EQ(pool.available(), 2U);
}

TEST(RingSender, GathersNeighboursIntoOneRequestButNeverAQuarterOfTheWindow) {
  const Loopback connection;
  Collector collector{connection.far.get()};
  FramePool pool = dmawire::make_pool(Exporter::memfd, 256, 4096);
  const auto sender =
      make_sender(Path::fixed, std::array{connection.near.get()}, pool, {.depth = 64});
  send_in_turn(*sender, pool, 1, 1024, 4096);
  EXPECT_FALSE(sender->finish());
  EXPECT_LE(sender->statistics().sends, 1024U / 16 * 5 / 4);
  EXPECT_GE(sender->statistics().sends, 1024U / 16);
  EXPECT_FALSE(finish_stream(connection.near.get()));
  EXPECT_TRUE(collector.finish() == numbered(1024, 4096));
}

TEST(RingSender, CopiesWhereTheNetworkCopiesAnywayIfItMay) {
  const Loopback connection;
  Collector collector{connection.far.get()};
  FramePool pool = make_pool();
  const auto sender = make_sender(Path::fixed, std::array{connection.near.get()}, pool,
                                  {.gather = 1, .may_copy = true});
  send_in_turn(*sender, pool, 1, 200, frame_length);
  EXPECT_FALSE(sender->finish());
  EXPECT_FALSE(finish_stream(connection.near.get()));
  EXPECT_GE(sender->statistics().copying_sends, 100U);
  EXPECT_TRUE(collector.finish() == numbered(200, frame_length));
}

TEST(RingSender, CopiesShortFramesThatTheCpuHasJustWrittenIfItMay) {
  const Loopback connection;
  FramePool pool = make_pool();
  const auto sender = make_sender(Path::fixed, std::array{connection.near.get()}, pool,
                                  {.gather = 1, .may_copy = true, .cached_data = true});
  ASSERT_FALSE(sender->send(std::move(*pool.take()), 1000));
  ASSERT_FALSE(sender->finish());
  EXPECT_EQ(sender->statistics().copying_sends, 1U);
  EXPECT_EQ(sender->statistics().notifications, 0U);
}

TEST(RingSender, SendsThroughAThreadOfTheKernel) {
  const Loopback connection;
  Collector collector{connection.far.get()};
  FramePool pool = make_pool();
  const auto sender =
      make_sender(Path::fixed, std::array{connection.near.get()}, pool, {.sq_poll = true});
  send_in_turn(*sender, pool, 1, 100, frame_length);
  EXPECT_FALSE(sender->finish());
  EXPECT_FALSE(finish_stream(connection.near.get()));
  EXPECT_TRUE(collector.finish() == numbered(100, frame_length));
}

/// Makes results of the requests that complete look like a refusal; the data has gone out. Each
/// test has a count of its own.
template <int Code, int Times, int Test>
int refuse_some(io_uring* ring, unsigned wait_for, unsigned) {
  static int left = Times;
  const int status = ::io_uring_submit_and_wait(ring, wait_for);
  unsigned head;
  io_uring_cqe* cqe;
  io_uring_for_each_cqe(ring, head, cqe) {
    if (left > 0 && cqe->res > 0) {
      --left;
      cqe->res = -Code;
    }
  }
  return status;
}

TEST(RingSender, SendsAgainWhatFoundNoMemoryWhileOthersAreInFlight) {
  const std::vector<Loopback> connections(2);
  const std::array sockets{connections[0].near.get(), connections[1].near.get()};
  Collector first{connections[0].far.get()};
  Collector second{connections[1].far.get()};
  FramePool pool = make_pool();
  const auto sender = make_sender(Path::copy, sockets, pool, {});
  FakeSys fake;
  fake->ring_submit_and_wait = [](io_uring* ring, unsigned wait_for) {
    return refuse_some<ENOBUFS, 1, 1>(ring, wait_for, 0);
  };
  fake->ring_wait_for_at_most = refuse_some<ENOBUFS, 1, 1>;
  send_in_turn(*sender, pool, 2, 1, frame_length);
  EXPECT_FALSE(sender->finish());
  EXPECT_EQ(sender->statistics().retries, 1U);
  EXPECT_EQ(sender->statistics().frames, 2U);
  for (const int socket : sockets) {
    EXPECT_FALSE(finish_stream(socket));
  }
  EXPECT_EQ(first.finish().size() + second.finish().size(), 3 * frame_length);
}

TEST(RingSender, SendsARefusedDatagramAgainAndNotThoseBehindIt) {
  const UniqueFd far = bind_datagram({"127.0.0.1", "0"});
  const UniqueFd near = connect_datagram({"127.0.0.1", std::to_string(local_port(far.get()))});
  FramePool pool = make_pool();
  const auto sender = make_sender(Path::copy, std::array{near.get()}, pool, {.gather = 1});
  FakeSys fake;
  fake->ring_submit_and_wait = [](io_uring* ring, unsigned wait_for) {
    return refuse_some<ENOBUFS, 1, 2>(ring, wait_for, 0);
  };
  fake->ring_wait_for_at_most = refuse_some<ENOBUFS, 1, 2>;
  send_in_turn(*sender, pool, 1, 3, 1000);
  EXPECT_FALSE(sender->finish());
  EXPECT_EQ(sender->statistics().frames, 3U);
  EXPECT_EQ(sender->statistics().sends, 3U);  // one more would be an empty datagram
  EXPECT_FALSE(finish_datagrams(near.get()));
  EXPECT_EQ(take_datagrams(far.get()).size(), 4U);
}

TEST(RingSender, FailsWhenThereIsNoMemoryAndNothingInFlight) {
  const Loopback connection;
  Collector collector{connection.far.get()};
  FramePool pool = make_pool();
  const auto sender = make_sender(Path::fixed, std::array{connection.near.get()}, pool, {});
  FakeSys fake;
  fake->ring_submit_and_wait = [](io_uring* ring, unsigned wait_for) {
    return refuse_some<ENOMEM, 1, 3>(ring, wait_for, 0);
  };
  fake->ring_wait_for_at_most = refuse_some<ENOMEM, 1, 3>;
  ASSERT_FALSE(sender->send(std::move(*pool.take()), 1));
  EXPECT_EQ(sender->finish().value(), ENOMEM);
  EXPECT_FALSE(finish_stream(connection.near.get()));
  collector.finish();
}

TEST(RingSender, SendsSeveralFramesWithASystemCall) {
  const Loopback connection;
  FramePool pool = make_pool(Exporter::memfd, 64, 1000);
  const auto sender = make_sender(Path::fixed, std::array{connection.near.get()}, pool, {});
  for (int i = 0; i < 64; ++i) {
    ASSERT_FALSE(sender->send(std::move(*pool.take()), 1000));
  }
  ASSERT_FALSE(sender->finish());
  EXPECT_LE(sender->statistics().system_calls, 64U / 4);
}

TEST(RingSender, PassesAFailureOfTheRingOn) {
  const Loopback connection;
  FramePool pool = make_pool();
  const auto sender = make_sender(Path::plain, std::array{connection.near.get()}, pool, {});
  FakeSys fake;
  fake->ring_submit_and_wait = [](io_uring*, unsigned) { return -EBADR; };
  ASSERT_FALSE(sender->send(std::move(*pool.take()), 1));
  EXPECT_EQ(sender->progress().value(), EBADR);
  EXPECT_EQ(sender->send(std::move(*pool.take()), 1).value(), EBADR);
}

TEST(MsgSender, WaitsForNotificationsWhenTheKernelHasNoRoomForMore) {
  const Loopback connection;
  FramePool pool = make_pool();
  const auto sender = make_sender(Path::msg, std::array{connection.near.get()}, pool, {});
  FakeSys fake;
  static int calls;
  calls = 0;
  fake->sendmsg = [](int socket, const msghdr* message, int flags) -> ssize_t {
    if (++calls % 3 == 0) {
      errno = ENOBUFS;
      return -1;
    }
    return ::sendmsg(socket, message, flags);
  };
  Collector collector{connection.far.get()};
  for (int i = 0; i < 20; ++i) {
    ASSERT_FALSE(sender->send(std::move(*pool.take()), frame_length));
  }
  EXPECT_FALSE(sender->finish());
  EXPECT_FALSE(finish_stream(connection.near.get()));
  EXPECT_EQ(collector.finish().size(), 20 * frame_length);
}

TEST(MsgSender, FailsWhenTheKernelHasNoRoomAndNothingIsInFlight) {
  const Loopback connection;
  FramePool pool = make_pool();
  const auto sender = make_sender(Path::msg, std::array{connection.near.get()}, pool, {});
  FakeSys fake;
  fake->sendmsg = [](int, const msghdr*, int) -> ssize_t {
    errno = ENOBUFS;
    return -1;
  };
  ASSERT_FALSE(sender->send(std::move(*pool.take()), 1));
  EXPECT_EQ(sender->progress().value(), ENOBUFS);
}

TEST(MsgSender, IsImpossibleOnASocketWithoutZeroCopy) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd near{pair[0]};
  const UniqueFd far{pair[1]};
  FramePool pool = make_pool();
  EXPECT_THROW((void)make_sender(Path::msg, std::array{near.get()}, pool, {}), Error);
}

TEST(Paths, AllButDirectWorkFromAMemfd) {
  FramePool pool = make_pool();
  for (const PathReport& report : probe_paths(pool)) {
    EXPECT_EQ(report.available, report.path != Path::direct)
        << name(report.path) << ": " << report.reason;
  }
}

TEST(Paths, TheBestIsTakenWhereNothingForbidsIt) {
  const Loopback connection;
  FramePool pool = make_pool();
  EXPECT_EQ(choose_sender(std::array{connection.near.get()}, pool, {}).path, Path::fixed);
}

TEST(Paths, IsACopyWhereTheKernelCopiesInAnyCaseIfItMay) {
  FramePool pool = make_pool();
  for (const char* address : {"127.0.0.1", "::1"}) {
    const Loopback connection{address};
    const ChosenSender chosen =
        choose_sender(std::array{connection.near.get()}, pool, {.may_copy = true});
    EXPECT_EQ(chosen.path, Path::copy) << address;
    EXPECT_NE(chosen.reason.find("the destination is this machine"), std::string::npos)
        << chosen.reason;
  }
}

TEST(Paths, TheNextIsTakenAndTheReasonToldWhereBuffersCannotBeRegistered) {
  const Loopback connection;
  FramePool pool = make_pool();
  FakeSys fake;
  fake->ring_register_buffers = [](io_uring*, const iovec*, unsigned) { return -ENOMEM; };
  const ChosenSender chosen = choose_sender(std::array{connection.near.get()}, pool, {});
  EXPECT_EQ(chosen.path, Path::plain);
  EXPECT_NE(chosen.reason.find("not fixed: registering 2 buffers"), std::string::npos)
      << chosen.reason;
}

TEST(Paths, SendmsgServesWhereThereIsNoRing) {
  const Loopback connection;
  FramePool pool = make_pool();
  FakeSys fake;
  fake->ring_init = [](unsigned, io_uring*, io_uring_params*) { return -ENOSYS; };
  EXPECT_EQ(choose_sender(std::array{connection.near.get()}, pool, {}).path, Path::msg);
  for (const PathReport& report : probe_paths(pool)) {
    EXPECT_EQ(report.available, report.path == Path::msg) << name(report.path);
  }
}

}  // namespace
}  // namespace dmawire::test
