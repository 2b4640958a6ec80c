// SPDX-License-Identifier: MIT
//
// Clients that are silent, do not read or never end: the deadlines of share.h.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <dmawire/packet_socket.hpp>
#include <dmawire/share_client.hpp>
#include <dmawire/share_server.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fake_sys.hpp"
#include "message_of.hpp"
#include "share_message.hpp"
#include "shared_frames.hpp"

namespace dmawire::test {
namespace {

using namespace std::chrono_literals;
using share::Incoming;
using share::Outgoing;

constexpr std::uint32_t frames = 12;
constexpr std::size_t frame_length = 4096;
constexpr std::uint32_t max_clients = 3;
constexpr auto to_greet = std::chrono::seconds{DMAWIRE_SHARE_HELLO_SECONDS};
constexpr auto to_read = std::chrono::seconds{DMAWIRE_SHARE_READ_SECONDS};
constexpr auto to_end = std::chrono::seconds{DMAWIRE_SHARE_END_SECONDS};

/// The library's clock stands still unless it is put forward.
class FakeClock {
 public:
  FakeClock() {
    time_ = std::chrono::steady_clock::now();
    fake_->now = [] { return time_; };
  }
  void advance(std::chrono::steady_clock::duration by) { time_ += by; }

 private:
  FakeSys fake_;
  static inline std::chrono::steady_clock::time_point time_;
};

/// The client's end of a connection, on which nothing is read unless a test does.
class Mute {
 public:
  explicit Mute(ShareServer& server) { server.add(std::move(pair_.owner)); }

  void greet() {
    const Outgoing hello{DMAWIRE_SHARE_HELLO, dmawire_share_hello{.header = {},
                                                                  .magic = DMAWIRE_SHARE_MAGIC,
                                                                  .version = DMAWIRE_SHARE_VERSION,
                                                                  .hold = 0,
                                                                  .flags = 0}};
    EXPECT_FALSE(hello.send(pair_.client.get()));
  }
  /// The type of the next message; nullopt at the end of the connection.
  std::optional<std::uint32_t> next() {
    if (message_.receive(pair_.client.get(), Incoming::Descriptors::some)) {
      return std::nullopt;
    }
    return message_.type();
  }
  /// The reason that the owner gives at the end of the connection, if it has come.
  std::optional<std::uint32_t> reason() {
    while (const auto type = next()) {
      if (*type == static_cast<std::uint32_t>(DMAWIRE_SHARE_END)) {
        return message_.as<dmawire_share_end>().reason;
      }
    }
    return std::nullopt;
  }

 private:
  PacketPair pair_;
  Incoming message_;
};

bool readable(const ShareServer& server, std::chrono::milliseconds within = 0ms) {
  pollfd entry{.fd = server.fd(), .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, static_cast<int>(within.count())) == 1;
}

class ShareHostile : public testing::Test {
 protected:
  FramePool pool_ = sealed_pool(frames, frame_length);
  ShareServer server_{pool_, max_clients};
};

TEST_F(ShareHostile, SilentConnectionsTakeNoClientsPlace) {
  std::vector<std::unique_ptr<Mute>> silent;
  for (std::uint32_t i = 0; i < 2 * max_clients; ++i) {
    silent.push_back(std::make_unique<Mute>(server_));
  }
  std::vector<std::unique_ptr<ShareClient>> clients;
  for (std::uint32_t i = 0; i < max_clients; ++i) {
    ASSERT_NO_THROW(clients.push_back(join(server_)));
  }
  EXPECT_EQ(server_.clients(), max_clients);
}

TEST_F(ShareHostile, ASilentConnectionIsEndedInTime) {
  FakeClock clock;
  Mute silent{server_};
  clock.advance(to_greet - 1ns);
  server_.serve();
  EXPECT_FALSE(silent.reason());
  clock.advance(1ns);
  server_.serve();
  EXPECT_EQ(silent.reason(), DMAWIRE_SHARE_TIMED_OUT);
  EXPECT_EQ(server_.statistics().dropped, 1U);
}

TEST_F(ShareHostile, AHelloThatCameInTimeIsHeardLate) {
  FakeClock clock;
  Mute client{server_};
  client.greet();
  clock.advance(2 * to_greet);
  server_.serve();
  EXPECT_EQ(server_.clients(), 1U);
}

TEST_F(ShareHostile, WakesItsOwnerWhenAConnectionIsLate) {
  Mute silent{server_};
  while (server_.statistics().dropped == 0) {
    ASSERT_TRUE(readable(server_, 60s)) << "the owner would sleep on";
    server_.serve();
  }
  EXPECT_EQ(silent.reason(), DMAWIRE_SHARE_TIMED_OUT);
  server_.serve();
  EXPECT_FALSE(readable(server_)) << "it would be woken for ever";
}

TEST_F(ShareHostile, TheOldestOfTooManySilentConnectionsGoes) {
  FakeClock clock;
  std::vector<std::unique_ptr<Mute>> silent;
  for (std::uint32_t i = 0; i < ShareServer::max_newcomers; ++i) {
    silent.push_back(std::make_unique<Mute>(server_));
    clock.advance(1ms);
  }
  silent[0]->greet();  // which is not silent any more
  silent.push_back(std::make_unique<Mute>(server_));
  EXPECT_EQ(server_.clients(), 1U);
  EXPECT_EQ(server_.statistics().refused, 0U);
  silent.push_back(std::make_unique<Mute>(server_));
  EXPECT_EQ(silent[1]->reason(), DMAWIRE_SHARE_FULL);
  EXPECT_FALSE(silent[2]->reason());
  EXPECT_EQ(server_.statistics().refused, 1U);
}

TEST(ShareHostileOwner, AcceptsAFewConnectionsAtATime) {
  std::string directory = "/tmp/dmawire-share.XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/socket";
  {
    FramePool pool = sealed_pool(frames, frame_length);
    ShareServer server{path, pool, max_clients};
    std::vector<UniqueFd> waiting;
    for (int i = 0; i < 17; ++i) {
      waiting.push_back(connect_packets(path));
    }
    server.serve();
    EXPECT_EQ(server.statistics().refused, 0U) << "one call takes them all";
    EXPECT_TRUE(readable(server)) << "nothing tells of the one that waits";
    server.serve();
    EXPECT_EQ(server.statistics().refused, 1U) << "more than may be silent";
  }
  std::filesystem::remove_all(directory);
}

/// An owner of so many buffers that a client has to read to learn of all.
class ShareOfMany : public testing::Test {
 protected:
  static FramePool pool_of_many() {
    std::vector<Buffer> buffers;
    for (int i = 0; i < 3 * DMAWIRE_SHARE_MAX_ENTRIES; ++i) {
      buffers.push_back(Buffer::memfd(frame_length));
      EXPECT_EQ(::fcntl(buffers.back().fd(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
    }
    return FramePool::one_in_each(std::move(buffers), frame_length, 0);
  }

  FramePool pool_ = pool_of_many();
  ShareServer server_{pool_, 1};
};

TEST_F(ShareOfMany, HasTheDescriptorsOfOneMessageOnTheirWayToAClient) {
  Mute client{server_};
  client.greet();
  for (int i = 0; i < 5; ++i) {
    server_.serve();
  }
  EXPECT_EQ(client.next(), DMAWIRE_SHARE_WELCOME);
  for (int message = 0; message < 3; ++message) {
    EXPECT_EQ(client.next(), DMAWIRE_SHARE_BUFFERS);
    EXPECT_FALSE(client.next()) << "more before this was read";
    server_.serve();
  }
  EXPECT_EQ(server_.statistics().clients, 1U);
}

TEST_F(ShareOfMany, OneThatDoesNotReadMakesRoomForAnother) {
  FakeClock clock;
  Mute deaf{server_};
  deaf.greet();
  server_.serve();
  expect_says(message_of([&] { (void)join(server_); }), "has as many clients as it takes");
  clock.advance(to_read);
  server_.serve();
  EXPECT_EQ(server_.clients(), 1U) << "there is none yet that wants its place";
  std::unique_ptr<ShareClient> client;
  ASSERT_NO_THROW(client = join(server_));
  EXPECT_EQ(server_.clients(), 1U);
  EXPECT_EQ(server_.statistics().dropped, 1U);
}

TEST_F(ShareOfMany, OneThatReadsAndHoldsAllItMayStays) {
  FakeClock clock;
  const auto client = join(server_);
  for (std::uint64_t sequence = 0; server_.wanted(); ++sequence) {
    publish(server_, pool_, sequence);
  }
  std::vector<LentFrame> kept;
  while (server_.held() > kept.size()) {
    server_.serve();
    while (auto lent = client->next()) {
      kept.push_back(std::move(*lent));
    }
  }
  clock.advance(100 * to_read);
  server_.serve();
  expect_says(message_of([&] { (void)join(server_); }), "has as many clients as it takes");
  EXPECT_EQ(server_.held(), kept.size());
}

TEST_F(ShareHostile, EndsThoughAClientKeepsItsFrames) {
  FakeClock clock;
  const auto client = join(server_);
  publish(server_, pool_, 0);
  server_.end(DMAWIRE_SHARE_FINISHED);
  server_.serve();
  const auto kept = client->next();
  ASSERT_TRUE(kept);
  clock.advance(to_end - 1ns);
  server_.serve();
  EXPECT_FALSE(server_.all_released());
  clock.advance(1ns);
  server_.serve();
  EXPECT_TRUE(server_.all_released());
  EXPECT_EQ(pool_.available(), frames);
  EXPECT_EQ(server_.statistics().reclaimed, 1U);
  EXPECT_EQ(server_.statistics().dropped, 1U);
}

TEST_F(ShareOfMany, EndsThoughAClientDoesNotRead) {
  FakeClock clock;
  Mute deaf{server_};
  deaf.greet();
  server_.serve();
  server_.end(DMAWIRE_SHARE_FINISHED);
  server_.serve();
  EXPECT_FALSE(server_.all_released());
  clock.advance(to_end);
  server_.serve();
  EXPECT_TRUE(server_.all_released());
}

TEST_F(ShareHostile, WakesItsOwnerWhenItsTimeToEndIsOver) {
  const auto client = join(server_);
  publish(server_, pool_, 0);
  server_.end(DMAWIRE_SHARE_FINISHED);
  while (!server_.all_released()) {
    ASSERT_TRUE(readable(server_, 60s)) << "the owner would sleep on";
    server_.serve();
  }
  EXPECT_EQ(pool_.available(), frames);
}

}  // namespace
}  // namespace dmawire::test
