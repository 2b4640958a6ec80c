// SPDX-License-Identifier: MIT
//
// Frames that are lent over real sockets, and owners with misbehaving clients; for the rest see
// share_client_test.cpp. The memory is memfds, since the host has no dma-bufs;
// tests/vm/share_test.cpp uses dma-bufs.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <dmawire/error.hpp>
#include <dmawire/packet_socket.hpp>
#include <dmawire/read_watch.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/share_client.hpp>
#include <dmawire/share_server.hpp>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "fake_sys.hpp"
#include "loopback.hpp"
#include "message_of.hpp"
#include "process.hpp"
#include "ring_host.hpp"
#include "share_message.hpp"
#include "shared_frames.hpp"

namespace dmawire::test {
namespace {

using share::Incoming;
using share::Outgoing;

constexpr std::uint32_t frames = 12;
constexpr std::size_t frame_length = 4096;
constexpr std::uint32_t max_clients = 3;
constexpr std::uint32_t hold = frames / (max_clients + 1);

/// A directory for sockets, gone at the end.
class SocketPlace {
 public:
  SocketPlace() { EXPECT_NE(::mkdtemp(directory_.data()), nullptr); }
  ~SocketPlace() {
    ::unlink(path().c_str());
    ::rmdir(directory_.c_str());
  }
  SocketPlace(const SocketPlace&) = delete;
  SocketPlace& operator=(const SocketPlace&) = delete;
  [[nodiscard]] std::string path() const { return directory_ + "/socket"; }

 private:
  std::string directory_ = "/tmp/dmawire-share.XXXXXX";
};

class ShareTest : public testing::Test {
 protected:
  void publish(std::uint64_t sequence) { test::publish(server_, pool_, sequence); }
  void publish_and_serve(std::uint64_t sequence) {
    publish(sequence);
    server_.serve();
  }
  std::unique_ptr<ShareClient> join(std::uint32_t most = 0) {
    return test::join(server_, {.hold = most, .memfds = true});
  }

  FramePool pool_ = sealed_pool(frames, frame_length);
  ShareServer server_{pool_, max_clients};
};

TEST_F(ShareTest, LendsEveryFrameToEveryClientUntilAllAreDone) {
  const auto one = join();
  const auto other = join();
  EXPECT_EQ(server_.clients(), 2U);
  EXPECT_EQ(one->hold(), hold);
  EXPECT_EQ(one->pool().size(), frames);
  publish_and_serve(7);
  auto first = one->next();
  auto second = other->next();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->sequence, 7U);
  EXPECT_EQ(first->length, frame_length);
  EXPECT_EQ(first->timestamp.count(), 8);
  EXPECT_EQ(first->frame.bytes()[100], std::byte{7});
  EXPECT_EQ(second->frame.bytes()[frame_length - 1], std::byte{7});
  EXPECT_FALSE(one->next());

  first.reset();
  EXPECT_FALSE(one->give_back());
  server_.serve();
  EXPECT_EQ(pool_.available(), frames - 1) << "the other has it still";
  second.reset();
  EXPECT_FALSE(other->give_back());
  server_.serve();
  EXPECT_EQ(pool_.available(), frames);
  EXPECT_EQ(server_.statistics().lent, 2U);
  EXPECT_EQ(server_.statistics().returned, 2U);
}

TEST_F(ShareTest, GoesRoundAndRoundInOrder) {
  const auto client = join();
  for (std::uint64_t sequence = 0; sequence < 10 * frames; ++sequence) {
    publish_and_serve(sequence);
    const auto lent = client->next();
    ASSERT_TRUE(lent);
    EXPECT_EQ(lent->sequence, sequence);
    EXPECT_EQ(lent->skipped, 0U);
    EXPECT_EQ(lent->frame.bytes()[0], static_cast<std::byte>(sequence));
    client->give_back();  // the one before
    server_.serve();
  }
  EXPECT_EQ(client->statistics().frames, 10 * frames);
  EXPECT_EQ(client->statistics().bytes, 10 * frames * frame_length);
}

TEST_F(ShareTest, LendsToNobodyWhereNobodyIs) {
  EXPECT_FALSE(server_.wanted());
  publish_and_serve(0);
  EXPECT_EQ(server_.statistics().unseen, 1U);
  EXPECT_EQ(pool_.available(), frames);
}

TEST_F(ShareTest, SkipsAClientThatHoldsItsShareAndTellsIt) {
  const auto slow = join();
  const auto fast = join();
  std::vector<LentFrame> kept;
  for (std::uint64_t sequence = 0; sequence < 8; ++sequence) {
    publish_and_serve(sequence);
    EXPECT_TRUE(fast->next()) << "the slow one must not stop it";
    fast->give_back();
    server_.serve();
    if (auto lent = slow->next()) {
      kept.push_back(std::move(*lent));
    }
  }
  EXPECT_EQ(kept.size(), hold);
  EXPECT_EQ(server_.held(), hold);
  EXPECT_EQ(server_.statistics().skipped, 8 - hold);
  kept.clear();
  slow->give_back();
  server_.serve();
  publish_and_serve(8);
  const auto next = slow->next();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->sequence, 8U);
  EXPECT_EQ(next->skipped, 8 - hold);
  EXPECT_EQ(slow->statistics().skipped, 8 - hold);
}

TEST_F(ShareTest, LeavesTheOwnerFramesWhateverAllItsClientsHold) {
  std::vector<std::unique_ptr<ShareClient>> clients;
  for (std::uint32_t i = 0; i < max_clients; ++i) {
    clients.push_back(join());
    for (std::uint64_t sequence = 0; sequence < hold; ++sequence) {
      publish_and_serve(sequence);  // the ones before are full, this one takes them
    }
  }
  EXPECT_EQ(server_.held(), max_clients * hold);
  EXPECT_FALSE(server_.wanted());
  EXPECT_EQ(pool_.available(), frames - max_clients * hold);
  EXPECT_GE(pool_.available(), hold);
}

TEST_F(ShareTest, LendsNoMoreAtATimeThanAClientWants) {
  const auto client = join(1);
  EXPECT_EQ(client->hold(), 1U);
  publish_and_serve(0);
  publish_and_serve(1);
  EXPECT_TRUE(client->next());
  EXPECT_FALSE(client->next());
}

TEST_F(ShareTest, TakesBackWhatAClientHeldThatHasGone) {
  auto gone = join();
  const auto stays = join();
  publish_and_serve(0);
  {
    const auto lent = gone->next();  // it holds one,
    publish_and_serve(1);            // and has not seen another
  }
  gone.reset();
  server_.serve();
  EXPECT_EQ(server_.clients(), 1U);
  EXPECT_EQ(server_.statistics().reclaimed, 2U);
  EXPECT_EQ(server_.held(), 2U) << "of the one that stays";
  EXPECT_TRUE(stays->next());
  EXPECT_TRUE(stays->next());
  stays->give_back();
  server_.serve();
  EXPECT_EQ(pool_.available(), frames);
}

TEST_F(ShareTest, EndsBehindTheLastFrameAndLeavesItReadable) {
  const auto client = join();
  publish(0);
  publish(1);
  server_.end(DMAWIRE_SHARE_FINISHED);
  server_.serve();
  EXPECT_FALSE(server_.all_released());
  std::vector<LentFrame> kept;
  EXPECT_FALSE(client->wait());
  while (auto lent = client->next()) {
    kept.push_back(std::move(*lent));
  }
  EXPECT_EQ(kept.size(), 2U);
  EXPECT_EQ(client->wait().value(), ENODATA);
  EXPECT_EQ(client->reason(), DMAWIRE_SHARE_FINISHED);
  EXPECT_EQ(kept[1].frame.bytes()[5], std::byte{1});
  kept.clear();
  EXPECT_EQ(client->give_back().value(), ENODATA);
  server_.serve();
  EXPECT_TRUE(server_.all_released());
  EXPECT_EQ(pool_.available(), frames);
}

TEST_F(ShareTest, CountsWhatWasSkippedBeforeTheEnd) {
  const auto client = join(1);
  publish_and_serve(0);
  publish_and_serve(1);
  server_.end(DMAWIRE_SHARE_FAILED);
  server_.serve();
  EXPECT_TRUE(client->next());
  EXPECT_FALSE(client->next());
  EXPECT_EQ(client->failure().value(), ENODATA);
  EXPECT_EQ(client->reason(), DMAWIRE_SHARE_FAILED);
  EXPECT_EQ(client->statistics().skipped, 1U);
}

TEST(ShareOwner, IsMissedWhenItGoesWithoutAWord) {
  std::unique_ptr<ShareClient> client;
  FramePool pool = sealed_pool(frames, frame_length);
  std::optional<LentFrame> kept;
  {
    ShareServer server{pool, max_clients};
    client = join(server);
    publish(server, pool, 3);
    server.serve();
    kept = client->next();
  }
  EXPECT_EQ(client->wait().value(), ECONNRESET);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->frame.bytes()[0], std::byte{3});
}

TEST(ShareOwner, HandsOverMoreBuffersThanAMessageHasRoomFor) {
  constexpr std::uint32_t many = 3 * DMAWIRE_SHARE_MAX_ENTRIES / 2;
  std::vector<Buffer> buffers;
  for (std::uint32_t i = 0; i < many; ++i) {
    buffers.push_back(Buffer::memfd(2 * frame_length));
    ASSERT_EQ(::fcntl(buffers.back().fd(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  }
  FramePool pool = FramePool::one_in_each(std::move(buffers), frame_length, 512);
  ShareServer server{pool, 2};
  const auto client = join(server);
  EXPECT_EQ(client->buffers().size(), many);
  EXPECT_EQ(client->buffers()[0].exporter, "memfd");
  EXPECT_TRUE(client->buffers()[0].foreign);
  EXPECT_EQ(client->pool().place(70).buffer, 70U);
  EXPECT_EQ(client->pool().place(70).offset, 512U);
  publish(server, pool, 9);
  server.serve();
  const auto lent = client->next();
  ASSERT_TRUE(lent);
  EXPECT_EQ(lent->frame.bytes()[0], std::byte{9});
}

TEST(ShareOwner, WantsMoreFramesThanClients) {
  FramePool pool = sealed_pool(2, frame_length);
  expect_says(message_of([&] { const ShareServer server{pool, 2}; }), "too few for 2 clients");
}

TEST(ShareOwner, SharesAtANameAndTakesOverWhatAKilledOneLeft) {
  const SocketPlace place;
  FramePool pool = sealed_pool(frames, frame_length);
  // A socket without a listener: its owner had no time to remove it.
  { const UniqueFd left_over = listen_packets(place.path()); }
  {
    ShareServer server{place.path(), pool, max_clients};
    const auto client = while_served(server, [&] {
      return std::make_unique<ShareClient>(place.path(), ShareClient::Options{.memfds = true});
    });
    EXPECT_EQ(server.clients(), 1U);
    FramePool other = sealed_pool(frames, frame_length);
    expect_says(message_of([&] {
                  const ShareServer second{place.path(), other, 1};
                }),
                "EADDRINUSE");
    server.end(DMAWIRE_SHARE_FINISHED);
    expect_says(message_of([&] { const ShareClient late{place.path()}; }), "nobody shares there");
  }
  struct stat status {};
  EXPECT_EQ(::stat(place.path().c_str(), &status), -1) << "the name is gone with its owner";
}

TEST(ShareOwner, DoesNotTakeOverWhatIsNoSocket) {
  const SocketPlace place;
  { const UniqueFd file{::open(place.path().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)}; }
  expect_says(message_of([&] { (void)listen_packets(place.path()); }), "EADDRINUSE");
  struct stat status {};
  EXPECT_EQ(::stat(place.path().c_str(), &status), 0);
  expect_says(message_of([] { (void)listen_packets(std::string(200, 'x')); }), "ENAMETOOLONG");
}

TEST(ShareOwner, LeavesTheNameToWhoeverTookItOver) {
  const SocketPlace place;
  FramePool pool = sealed_pool(frames, frame_length);
  struct stat status {};
  {
    const ShareServer server{place.path(), pool, 1};
    ASSERT_EQ(::unlink(place.path().c_str()), 0);
    const UniqueFd next = listen_packets(place.path());
  }
  EXPECT_EQ(::stat(place.path().c_str(), &status), 0);
}

TEST(ShareOwner, DoesNotKeepThoseWhoConnectWaiting) {
  const SocketPlace place;
  const UniqueFd never_accepts = listen_packets(place.path());
  std::vector<UniqueFd> clients;
  constexpr std::size_t more_than_wait = 64;
  expect_says(message_of([&] {
                while (clients.size() < more_than_wait) {
                  clients.push_back(connect_packets(place.path()));
                }
              }),
              "does not answer");
}

TEST(ShareOwner, TurnsAwayMoreClientsThanItTakes) {
  const SocketPlace place;
  FramePool pool = sealed_pool(frames, frame_length);
  ShareServer server{place.path(), pool, 1};
  const auto connect = [&] {
    return std::make_unique<ShareClient>(place.path(), ShareClient::Options{.memfds = true});
  };
  auto client = while_served(server, connect);
  expect_says(message_of([&] { (void)while_served(server, connect); }),
              "has as many clients as it takes");
  EXPECT_EQ(server.statistics().refused, 1U);
  client.reset();
  server.serve();
  client = while_served(server, connect);
  EXPECT_EQ(server.statistics().clients, 2U);
}

TEST(ShareOwner, TurnsAwayAClientThatItHasNoDescriptorFor) {
  const SocketPlace place;
  FramePool pool = sealed_pool(frames, frame_length);
  ShareServer server{place.path(), pool, 1};
  const UniqueFd client = connect_packets(place.path());
  const int lowest_free = ::dup(STDERR_FILENO);
  ::close(lowest_free);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit no_more{static_cast<rlim_t>(lowest_free), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &no_more), 0);
  server.serve();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(server.statistics().refused, 1U);
  pollfd entry{.fd = server.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0) << "it would be woken for ever";
  char byte = 0;
  EXPECT_EQ(::recv(client.get(), &byte, 1, MSG_DONTWAIT), 0) << "the connection is there still";
}

/// A client that sends arbitrary messages.
class RawClient {
 public:
  explicit RawClient(ShareServer& server) : server_(server) { server.add(std::move(pair_.owner)); }

  void say(const Outgoing& message) {
    EXPECT_FALSE(message.send(pair_.client.get()));
    server_.serve();
  }
  void say(std::span<const std::byte> bytes) {
    EXPECT_EQ(::send(pair_.client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    server_.serve();
  }
  void greet() { say(hello()); }
  static Outgoing hello(std::uint32_t magic = DMAWIRE_SHARE_MAGIC,
                        std::uint32_t version = DMAWIRE_SHARE_VERSION, std::uint32_t flags = 0) {
    return Outgoing{
        DMAWIRE_SHARE_HELLO,
        dmawire_share_hello{
            .header = {}, .magic = magic, .version = version, .hold = 0, .flags = flags}};
  }
  static Outgoing done(std::initializer_list<std::uint32_t> ids) {
    Outgoing message{DMAWIRE_SHARE_DONE};
    for (const std::uint32_t id : ids) {
      message.add(__u32{id});
    }
    return message;
  }

  /// Reads on to the end of the connection and returns the reason for it, if one was given.
  std::optional<std::uint32_t> reason() {
    Incoming message;
    std::optional<std::uint32_t> reason;
    for (;;) {
      const std::error_code error =
          message.receive(pair_.client.get(), Incoming::Descriptors::some);
      if (error) {
        EXPECT_EQ(error.value(), ECONNRESET) << "the connection is there still";
        return reason;
      }
      if (message.type() == DMAWIRE_SHARE_END) {
        reason = message.as<dmawire_share_end>().reason;
      }
    }
  }
  int fd() const { return pair_.client.get(); }

 private:
  ShareServer& server_;
  PacketPair pair_;
};

struct Rubbish {
  const char* name;
  std::function<void(RawClient&)> say;
};
void PrintTo(const Rubbish& rubbish, std::ostream* out) {
  *out << rubbish.name;
}

std::vector<std::byte> changed(const Outgoing& message, std::size_t at, std::uint32_t value) {
  std::vector<std::byte> bytes{message.bytes().begin(), message.bytes().end()};
  std::memcpy(bytes.data() + at, &value, sizeof(value));
  return bytes;
}

const Rubbish every_rubbish[] = {
    {"OneByte", [](RawClient& client) { client.say(std::vector<std::byte>(1)); }},
    {"Zeros", [](RawClient& client) { client.say(std::vector<std::byte>(100)); }},
    {"TooLong",
     [](RawClient& client) { client.say(std::vector<std::byte>(60'000, std::byte{5})); }},
    {"HelloCutShort", [](RawClient& client) { client.say(RawClient::hello().bytes().first(20)); }},
    {"HelloOfAnotherSize",
     [](RawClient& client) { client.say(changed(RawClient::hello(), 4, 33)); }},
    {"HelloWithAReservedField",
     [](RawClient& client) { client.say(changed(RawClient::hello(), 12, 1)); }},
    {"HelloWithEntries", [](RawClient& client) { client.say(changed(RawClient::hello(), 8, 1)); }},
    {"AnotherMagic", [](RawClient& client) { client.say(RawClient::hello(1)); }},
    {"UnknownFlags",
     [](RawClient& client) { client.say(RawClient::hello(DMAWIRE_SHARE_MAGIC, 1, 1)); }},
    {"HelloTwice",
     [](RawClient& client) {
       client.greet();
       client.greet();
     }},
    {"AnOwnersMessage",
     [](RawClient& client) {
       client.say(Outgoing{DMAWIRE_SHARE_END, dmawire_share_end{}});
     }},
    {"DoneWithoutHello", [](RawClient& client) { client.say(RawClient::done({0})); }},
    {"DoneWithNothing",
     [](RawClient& client) {
       client.greet();
       client.say(changed(RawClient::done({0}), 8, 0));
     }},
    {"DoneWithWhatItDoesNotHold",
     [](RawClient& client) {
       client.greet();
       client.say(RawClient::done({1}));
     }},
    {"DoneWithWhatThereIsNot",
     [](RawClient& client) {
       client.greet();
       client.say(RawClient::done({frames}));
     }},
    {"DescriptorsOfItsOwn",
     [](RawClient& client) {
       Outgoing message = RawClient::hello();
       message.add_descriptor(client.fd());
       client.say(message);
     }},
};

class ShareRubbish : public ShareTest, public testing::WithParamInterface<Rubbish> {};
INSTANTIATE_TEST_SUITE_P(Every, ShareRubbish, testing::ValuesIn(every_rubbish),
                         [](const auto& parameter) { return parameter.param.name; });

TEST_P(ShareRubbish, EndsTheConnectionAndNoOther) {
  const auto bystander = join();
  RawClient client{server_};
  GetParam().say(client);
  EXPECT_EQ(server_.statistics().dropped, 1U);
  EXPECT_EQ(client.reason(), DMAWIRE_SHARE_PROTOCOL_ERROR);
  EXPECT_EQ(server_.clients(), 1U);
  publish_and_serve(4);
  const auto lent = bystander->next();
  ASSERT_TRUE(lent);
  EXPECT_EQ(lent->sequence, 4U);
}

TEST_F(ShareTest, DropsAClientThatIsDoneWithAFrameTwice) {
  RawClient client{server_};
  client.greet();
  publish_and_serve(0);
  client.say(RawClient::done({0}));
  EXPECT_EQ(server_.statistics().returned, 1U);
  EXPECT_EQ(pool_.available(), frames);
  client.say(RawClient::done({0}));
  EXPECT_EQ(client.reason(), DMAWIRE_SHARE_PROTOCOL_ERROR);
}

TEST_F(ShareTest, DropsAClientThatIsDoneWithAFrameThatItCannotKnowOf) {
  RawClient client{server_};
  client.greet();
  publish(0);
  // The client guesses before the owner tells it.
  EXPECT_FALSE(RawClient::done({0}).send(client.fd()));
  FakeSys fake;
  fake->sendmsg = [](int, const msghdr*, int) -> ssize_t {
    errno = EAGAIN;
    return -1;
  };
  server_.serve();
  EXPECT_EQ(server_.statistics().dropped, 1U);
  EXPECT_EQ(pool_.available(), frames);
}

TEST_F(ShareTest, TellsOneThatSpeaksNoVersion) {
  RawClient client{server_};
  client.say(RawClient::hello(DMAWIRE_SHARE_MAGIC, 0));
  EXPECT_EQ(client.reason(), DMAWIRE_SHARE_BAD_VERSION);
  EXPECT_EQ(server_.statistics().refused, 1U);
  RawClient newer{server_};
  newer.say(RawClient::hello(DMAWIRE_SHARE_MAGIC, 99));
  Incoming message;
  ASSERT_FALSE(message.receive(newer.fd(), Incoming::Descriptors::none));
  ASSERT_EQ(message.type(), static_cast<std::uint32_t>(DMAWIRE_SHARE_WELCOME));
  EXPECT_EQ(message.as<dmawire_share_welcome>().version, 1U);
}

TEST_F(ShareTest, KeepsWhatASocketHasNoRoomForUntilItHas) {
  const auto client = join();
  {
    FakeSys fake;
    fake->sendmsg = [](int, const msghdr*, int) -> ssize_t {
      errno = EAGAIN;
      return -1;
    };
    publish_and_serve(0);
    EXPECT_FALSE(client->next());
  }
  // The socket has room, and its owner is woken for it.
  pollfd entry{.fd = server_.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&entry, 1, 1000), 1);
  server_.serve();
  EXPECT_TRUE(client->next());
}

TEST_F(ShareTest, TellsAClientThatTheKernelPassesNoDescriptorsOn) {
  FakeSys fake;
  fake->sendmsg = [](int socket, const msghdr* message, int flags) {
    if (message->msg_controllen > 0) {
      errno = ETOOMANYREFS;
      return ssize_t{-1};
    }
    return ::sendmsg(socket, message, flags);
  };
  expect_says(message_of([&] { (void)join(); }), "could not hand its buffers over");
  EXPECT_EQ(server_.clients(), 0U);
}

class LentFrames : public testing::TestWithParam<Path> {};
INSTANTIATE_TEST_SUITE_P(Every, LentFrames, testing::Values(Path::fixed, Path::plain, Path::copy),
                         [](const auto& parameter) { return std::string{name(parameter.param)}; });

/// Receives the frames that publish() filled, in order.
void expect_frames(int socket, std::uint64_t count) {
  std::vector<char> frame(frame_length);
  for (std::uint64_t sequence = 0; sequence < count; ++sequence) {
    ASSERT_EQ(::recv(socket, frame.data(), frame.size(), MSG_WAITALL),
              static_cast<ssize_t>(frame.size()));
    ASSERT_EQ(frame, std::vector<char>(frame_length, static_cast<char>(sequence)));
  }
}

TEST_P(LentFrames, GoFromTheirOwnerToTheNetworkAndBack) {
  constexpr std::uint64_t count = 500;
  FramePool pool = sealed_pool(frames, frame_length);
  ShareServer server{pool, max_clients};
  const auto client = join(server);
  const Loopback connection;
  const auto sender = make_sender(GetParam(), std::array{connection.near.get()}, client->pool(),
                                  {.batch = frames, .client_requests = 1});
  std::thread owner{[&] {
    for (std::uint64_t sequence = 0; sequence < count || !server.all_released();) {
      if (sequence < count && server.wanted()) {
        publish(server, pool, sequence++);
        if (sequence == count) {
          server.end(DMAWIRE_SHARE_FINISHED);
        }
      } else {
        pollfd entry{.fd = server.fd(), .events = POLLIN, .revents = 0};
        ::poll(&entry, 1, 1000);
      }
      server.serve();
    }
  }};
  std::thread receiver{[&] { expect_frames(connection.far.get(), count); }};
  {
    ReadWatch watch{*sender->ring_host(), client->fd()};
    for (;;) {
      while (auto lent = client->next()) {
        EXPECT_FALSE(sender->send(std::move(lent->frame), lent->length));
      }
      client->give_back();
      if (client->failure()) {
        break;
      }
      watch.arm();
      EXPECT_FALSE(sender->wait());
    }
  }
  EXPECT_FALSE(sender->finish());
  client->give_back();
  receiver.join();
  owner.join();
  EXPECT_EQ(client->statistics().frames, count);
  EXPECT_EQ(client->statistics().skipped, 0U);
  EXPECT_EQ(pool.available(), frames);
}

TEST_F(ShareTest, IsUnderstoodByAProgramInPython) {
  if (run({"python3", "--version"}).status != 0) {
    GTEST_SKIP() << "there is no python3";
  }
  const SocketPlace place;
  ShareServer server{place.path(), pool_, max_clients};
  Process look{{"python3", DMAWIRE_SOURCE_DIR "/uring_app/examples/look.py", place.path(), "5"}};
  std::uint64_t sequence = 0;
  // One frame is lent to it at a time; the sums are of the bytes that publish() writes.
  while (server.statistics().returned < 5 && sequence < 100'000) {
    if (server.wanted()) {
      test::publish(server, pool_, sequence++ % 256);
    }
    server.serve();
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
    ++sequence;
  }
  const Process::Result result = look.wait();
  EXPECT_EQ(result.status, 0) << result.err;
  std::istringstream lines{result.out};
  int seen = 0;
  for (std::string line; std::getline(lines, line); ++seen) {
    unsigned long number = 0;
    unsigned long sum = 0;
    ASSERT_EQ(std::sscanf(line.c_str(), "frame %lu: 4096 bytes, sum %lu", &number, &sum), 2)
        << line;
    EXPECT_EQ(sum, 4096 * number);
  }
  EXPECT_EQ(seen, 5);
}

}  // namespace
}  // namespace dmawire::test
