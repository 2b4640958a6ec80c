// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <dmawire/read_watch.hpp>

#include <chrono>
#include <dmawire/packet_socket.hpp>
#include <dmawire/recorder.hpp>
#include <optional>
#include <thread>

#include "fake_sys.hpp"
#include "ring_host.hpp"
#include "shared_frames.hpp"

namespace dmawire::test {
namespace {

/// Any ring will do; a recorder's is at hand.
class ReadWatchTest : public testing::Test {
 protected:
  ReadWatchTest() {
    fake_->create = [](const char*, int, mode_t) {
      return ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    };
    recorder_.emplace("unused", pool_);
  }

  FakeSys fake_;
  FramePool pool_ = sealed_pool(4, 4096);
  std::optional<Recorder> recorder_;
  const PacketPair pair_;
};

TEST_F(ReadWatchTest, EndsAWaitWhenADescriptorCanBeReadAndNotBefore) {
  {
    ReadWatch watch{recorder_->ring_host(), pair_.owner.get()};
    ReadWatch other{recorder_->ring_host(), pair_.client.get()};
    for (int i = 0; i < 3; ++i) {
      watch.arm();
      watch.arm();
      other.arm();
      std::thread later{[&] {
        std::this_thread::sleep_for(std::chrono::milliseconds{20});
        EXPECT_EQ(::send(pair_.client.get(), "x", 1, 0), 1);
      }};
      EXPECT_FALSE(recorder_->wait());
      char byte = 0;
      EXPECT_EQ(::recv(pair_.owner.get(), &byte, 1, MSG_DONTWAIT), 1);
      later.join();
    }
    watch.arm();
  }
  EXPECT_FALSE(recorder_->wait()) << "nothing is left to wait for";
}

TEST_F(ReadWatchTest, EndsThoughWhatWokeItHasBeenReadMeanwhile) {
  {
    ReadWatch watch{recorder_->ring_host(), pair_.owner.get()};
    watch.arm();
    ASSERT_EQ(recorder_->ring_host().drive(0), 0);
    char byte = 0;
    ASSERT_EQ(::send(pair_.client.get(), "x", 1, 0), 1);
    ASSERT_EQ(::recv(pair_.owner.get(), &byte, 1, 0), 1);
  }
  EXPECT_EQ(recorder_->ring_host().clients_due(), 0U);
}

}  // namespace
}  // namespace dmawire::test
