// SPDX-License-Identifier: MIT
//
// A client of frames that are lent, and owners that do not behave.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <dmawire/error.hpp>
#include <dmawire/packet_socket.hpp>
#include <dmawire/share_client.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fake_sys.hpp"
#include "message_of.hpp"
#include "share_message.hpp"
#include "shared_frames.hpp"

namespace dmawire::test {
namespace {

using share::Outgoing;

constexpr std::size_t frame_length = 4096;

/// An owner that sends arbitrary messages to a new client.
class RawOwner {
 public:
  RawOwner() { memory_.emplace_back(Buffer::memfd(4 * frame_length)); }

  void say(const Outgoing& message) { EXPECT_FALSE(message.send(pair_.owner.get())); }
  static dmawire_share_welcome welcome() {
    return {.header = {},
            .version = 1,
            .hold = 2,
            .buffers = 1,
            .frames = 4,
            .frame_length = frame_length,
            .stride = frame_length};
  }
  static dmawire_share_buffer buffer() {
    return {.id = 0,
            .flags = 0,
            .first_frame = 0,
            .frames = 4,
            .length = 4 * frame_length,
            .offset = 0};
  }
  void say_welcome(const dmawire_share_welcome& message = welcome()) {
    say(Outgoing{DMAWIRE_SHARE_WELCOME, message});
  }
  void say_buffer(const dmawire_share_buffer& buffer, int fd) {
    Outgoing message{DMAWIRE_SHARE_BUFFERS};
    message.add(buffer);
    message.add_descriptor(fd);
    say(message);
  }
  void seal() { EXPECT_EQ(::fcntl(memory(), F_ADD_SEALS, F_SEAL_SHRINK), 0); }
  [[nodiscard]] int memory() const { return memory_[0].fd(); }

  std::unique_ptr<ShareClient> client(bool memfds = true) {
    return std::make_unique<ShareClient>(std::move(pair_.client), "the test",
                                         ShareClient::Options{.memfds = memfds});
  }
  /// The client's error for the messages sent so far.
  std::string complaint(bool memfds = true) {
    return message_of([&] { (void)client(memfds); });
  }
  void hang_up() { pair_.owner.reset(); }

 private:
  PacketPair pair_;
  std::vector<Buffer> memory_;
};

TEST(ShareClientSetUp, TakesDmaBufsOnlyUnlessTold) {
  {
    RawOwner owner;
    owner.seal();
    owner.say_welcome();
    owner.say_buffer(RawOwner::buffer(), owner.memory());
    expect_says(owner.complaint(false), "no dma-buf");
  }
  {
    RawOwner owner;  // a memfd that could shrink under its reader
    owner.say_welcome();
    owner.say_buffer(RawOwner::buffer(), owner.memory());
    expect_says(owner.complaint(), "no dma-buf");
  }
  RawOwner owner;
  const UniqueFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  owner.say_welcome();
  owner.say_buffer(RawOwner::buffer(), null.get());
  expect_says(owner.complaint(), "no dma-buf");
}

TEST(ShareClientSetUp, MeasuresWhatItIsHanded) {
  RawOwner owner;
  const Buffer shorter = Buffer::memfd(3 * frame_length);
  ASSERT_EQ(::fcntl(shorter.fd(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  owner.say_welcome();
  owner.say_buffer(RawOwner::buffer(), shorter.fd());
  expect_says(owner.complaint(), "has 12288 bytes, not 16384 as was said");
}

TEST(ShareClientSetUp, RefusesAnOwnerThatMakesNoSense) {
  const auto complaint_of = [](auto say) {
    RawOwner owner;
    owner.seal();
    say(owner);
    owner.hang_up();
    return owner.complaint();
  };
  const auto with_welcome = [&](auto change) {
    return complaint_of([&](RawOwner& owner) {
      auto welcome = RawOwner::welcome();
      change(welcome);
      owner.say_welcome(welcome);
    });
  };
  const auto with_buffer = [&](auto change) {
    return complaint_of([&](RawOwner& owner) {
      auto buffer = RawOwner::buffer();
      change(buffer);
      owner.say_welcome();
      owner.say_buffer(buffer, owner.memory());
    });
  };
  const std::string cannot_be = "it announces what cannot be";
  expect_says(with_welcome([](auto& welcome) { welcome.version = 2; }), cannot_be);
  expect_says(with_welcome([](auto& welcome) { welcome.hold = 0; }), cannot_be);
  expect_says(with_welcome([](auto& welcome) { welcome.buffers = 1'000'000; }), cannot_be);
  expect_says(with_welcome([](auto& welcome) { welcome.frames = 1'000'000; }), cannot_be);
  expect_says(with_welcome([](auto& welcome) { welcome.frame_length = 0; }), cannot_be);
  expect_says(with_welcome([](auto& welcome) { welcome.stride = 1ULL << 40; }), cannot_be);
  const std::string not_that = "a buffer cannot be what it says";
  expect_says(with_buffer([](auto& buffer) { buffer.id = 1; }), not_that);
  expect_says(with_buffer([](auto& buffer) { buffer.flags = 1; }), not_that);
  expect_says(with_buffer([](auto& buffer) { buffer.first_frame = 1; }), not_that);
  expect_says(with_buffer([](auto& buffer) { buffer.frames = 5; }), not_that);
  expect_says(with_buffer([](auto& buffer) { buffer.offset = 1; }), not_that);
  expect_says(with_buffer([](auto& buffer) { buffer.offset = ~0ULL; }), not_that);
  expect_says(with_buffer([](auto& buffer) { buffer.length = 1ULL << 33; }), not_that);
  expect_says(with_buffer([](auto& buffer) { buffer.frames = 3; }), "other frames than");
  expect_says(complaint_of([](RawOwner& owner) {
                owner.say_welcome();
                Outgoing message{DMAWIRE_SHARE_BUFFERS};
                message.add(RawOwner::buffer());
                owner.say(message);
              }),
              "more or fewer descriptors");
  expect_says(complaint_of([](RawOwner& owner) {
                Outgoing message{DMAWIRE_SHARE_FRAMES};
                message.add(dmawire_share_frame{});
                owner.say(message);
              }),
              "out of order");
  expect_says(complaint_of([](RawOwner&) {}), "its owner closed the connection");
}

TEST(ShareClientSetUp, SaysThatAnOwnerDoesNotAnswer) {
  FakeSys fake;
  fake->poll = [](pollfd*, nfds_t, int milliseconds) {
    EXPECT_GT(milliseconds, 5000);
    return 0;
  };
  RawOwner owner;
  expect_says(owner.complaint(), "its owner does not answer");
}

class ShareFrames : public testing::Test {
 protected:
  ShareFrames() {
    owner_.seal();
    owner_.say_welcome();
    owner_.say_buffer(RawOwner::buffer(), owner_.memory());
    client_ = owner_.client();
  }
  static dmawire_share_frame frame() {
    dmawire_share_frame frame{};
    frame.id = 1;
    frame.offset = frame_length;
    frame.length = 10;
    return frame;
  }
  void lend(const dmawire_share_frame& frame) {
    Outgoing message{DMAWIRE_SHARE_FRAMES};
    message.add(frame);
    owner_.say(message);
  }

  RawOwner owner_;
  std::unique_ptr<ShareClient> client_;
};

TEST_F(ShareFrames, AreTakenWhereTheyWereAnnounced) {
  lend(frame());
  EXPECT_TRUE(client_->next());
  EXPECT_FALSE(client_->failure());
}

TEST_F(ShareFrames, ThatMakeNoSenseEndTheConnection) {
  const std::function<void(dmawire_share_frame&)> changes[] = {
      [](auto& frame) { frame.id = 4; },
      [](auto& frame) { frame.buffer = 1; },
      [](auto& frame) { frame.offset = 0; },
      [](auto& frame) { frame.length = 0; },
      [](auto& frame) { frame.length = frame_length + 1; },
      [](auto& frame) { frame.flags = 1; },
      [](auto& frame) { frame.reserved = 1; },
  };
  for (const auto& change : changes) {
    RawOwner owner;
    owner.seal();
    owner.say_welcome();
    owner.say_buffer(RawOwner::buffer(), owner.memory());
    const auto client = owner.client();
    auto bad = frame();
    change(bad);
    Outgoing message{DMAWIRE_SHARE_FRAMES};
    message.add(bad);
    owner.say(message);
    EXPECT_FALSE(client->next());
    EXPECT_EQ(client->failure().value(), EPROTO);
  }
}

TEST_F(ShareFrames, AreNotLentTwice) {
  lend(frame());
  lend(frame());
  EXPECT_TRUE(client_->next());
  EXPECT_FALSE(client_->next());
  EXPECT_EQ(client_->failure().value(), EPROTO);
}

TEST_F(ShareFrames, AreToldToBeDoneWithOnceThereIsRoom) {
  lend(frame());
  EXPECT_TRUE(client_->next());
  {
    FakeSys fake;
    fake->sendmsg = [](int, const msghdr*, int) -> ssize_t {
      errno = EAGAIN;
      return -1;
    };
    EXPECT_FALSE(client_->give_back());
  }
  EXPECT_FALSE(client_->give_back());
  lend(frame());
  EXPECT_TRUE(client_->next()) << "it may be lent again";
}

}  // namespace
}  // namespace dmawire::test
