// SPDX-License-Identifier: MIT
//
// Capturing from a device that is played in user space, alone and on a sender's ring.

#include <dmawire/capture.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/frame_observer.hpp>
#include <dmawire/sender.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fake_capture_device.hpp"
#include "loopback.hpp"
#include "message_of.hpp"

namespace dmawire::test {
namespace {

constexpr std::uint32_t pool_size = 8;
constexpr std::size_t frame_length = 5000;
constexpr std::size_t aligned_length = 5056;  // as the fake device wants it

class CaptureTest : public testing::Test {
 protected:
  FakeCaptureDevice fake_;
  Device device_;
  FramePool pool_ = make_capture_pool(device_, pool_size, frame_length);
};

TEST_F(CaptureTest, CutsFramesThatBeginOnPagesAndAreAsLongAsTheDeviceWants) {
  EXPECT_EQ(pool_.frame_length(), aligned_length);
  EXPECT_EQ(pool_.stride(), 8192U);
  for (std::uint32_t frame = 0; frame < pool_size; ++frame) {
    EXPECT_EQ(pool_.place(frame).offset % 4096, 0U);
  }
}

TEST_F(CaptureTest, YieldsWhatTheDeviceFilledAndGivesItBack) {
  Capture capture{device_, pool_};
  EXPECT_FALSE(capture.give());
  EXPECT_EQ(pool_.available(), 0U);
  EXPECT_EQ(capture.given(), pool_size);
  capture.start(25);
  EXPECT_EQ(FakeCaptureDevice::rate(), 25U);
  EXPECT_FALSE(capture.next());

  FakeCaptureDevice::make(3);
  EXPECT_FALSE(capture.wait());
  for (std::uint64_t number = 0; number < 3; ++number) {
    const auto captured = capture.next();
    ASSERT_TRUE(captured);
    EXPECT_EQ(captured->length, aligned_length / 8 * 8);
    EXPECT_EQ(captured->sequence, number);
    EXPECT_EQ(captured->timestamp.count(), 1000 + static_cast<long>(number));
    EXPECT_EQ(captured->lost, 0U);
    EXPECT_EQ(captured->frame.bytes()[0], static_cast<std::byte>(number));
  }
  EXPECT_FALSE(capture.next());
  EXPECT_EQ(pool_.available(), 3U);
  EXPECT_EQ(capture.statistics().captured, 3U);
  EXPECT_EQ(capture.statistics().bytes, 3 * (aligned_length / 8 * 8));
}

TEST_F(CaptureTest, KeepsAFilledFrameUntilItsHolderLetsItGo) {
  Capture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCaptureDevice::make(1);
  capture.wait();
  {
    const auto captured = capture.next();
    ASSERT_TRUE(captured);
    capture.give();
    EXPECT_EQ(capture.given(), pool_size - 1);
  }
  capture.give();
  EXPECT_EQ(capture.given(), pool_size);
}

TEST_F(CaptureTest, GivesNoMoreThanAskedForNorThanTheDeviceTakes) {
  FakeCaptureDevice::info().out_max_captures = 3;
  Capture capture{device_, pool_};
  capture.give(2);
  EXPECT_EQ(capture.given(), 2U);
  capture.give();
  EXPECT_EQ(capture.given(), 3U);
}

TEST_F(CaptureTest, CountsWhatWasLost) {
  Capture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCaptureDevice::lose(4);
  FakeCaptureDevice::make(1);
  capture.wait();
  const auto captured = capture.next();
  ASSERT_TRUE(captured);
  EXPECT_EQ(captured->sequence, 4U);
  EXPECT_EQ(captured->lost, 4U);
  EXPECT_EQ(capture.statistics().lost, 4U);
}

TEST_F(CaptureTest, HasEverythingBackWhenItFinishes) {
  Capture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCaptureDevice::make(2);
  capture.wait();
  capture.stop();
  capture.finish();
  EXPECT_FALSE(FakeCaptureDevice::running());
  EXPECT_EQ(capture.given(), 0U);
  EXPECT_FALSE(capture.failure()) << "it was asked to stop";
  EXPECT_EQ(capture.statistics().canceled, pool_size - 2);
  EXPECT_EQ(pool_.available(), pool_size - 2) << "two are filled";
  EXPECT_TRUE(capture.next());
  EXPECT_TRUE(capture.next());
  EXPECT_FALSE(capture.next());
  capture.give();
  EXPECT_EQ(capture.given(), 0U) << "a capture that was stopped gives nothing";
}

TEST_F(CaptureTest, BringsBackWhatWasQueuedWhenItIsStopped) {
  Capture capture{device_, pool_};
  capture.start();
  capture.give();  // no system call has told the device yet
  capture.finish();
  EXPECT_EQ(capture.given(), 0U);
  EXPECT_EQ(pool_.available(), pool_size);
}

TEST_F(CaptureTest, DetachesAtItsEnd) {
  {
    Capture capture{device_, pool_};
    EXPECT_EQ(FakeCaptureDevice::attached(), pool_.buffers().size());
    capture.give();
    capture.start();
  }
  EXPECT_EQ(FakeCaptureDevice::attached(), 0U);
  EXPECT_FALSE(FakeCaptureDevice::running());
  EXPECT_EQ(pool_.available(), pool_size);
}

TEST_F(CaptureTest, TellsThatTheDeviceIsGone) {
  Capture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCaptureDevice::fail(ENODEV, pool_size);
  EXPECT_EQ(capture.wait().value(), ENODEV);
  EXPECT_EQ(capture.failure().value(), ENODEV);
  EXPECT_EQ(capture.statistics().canceled, pool_size);
  EXPECT_EQ(capture.give().value(), ENODEV);
  EXPECT_EQ(capture.given(), 0U);
  EXPECT_EQ(pool_.available(), pool_size);
}

TEST_F(CaptureTest, GoesOnAfterAFrameThatFailed) {
  Capture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCaptureDevice::fail(EIO, pool_size - 1);
  EXPECT_FALSE(capture.wait());
  EXPECT_EQ(capture.statistics().failed, pool_size - 1);
  FakeCaptureDevice::make(1);
  EXPECT_FALSE(capture.wait());
  EXPECT_TRUE(capture.next());
  capture.give();
  FakeCaptureDevice::fail(EIO, pool_size - 1);
  EXPECT_FALSE(capture.wait()) << "one was good in between";
}

TEST_F(CaptureTest, EndsWhenNoFrameIsGoodAnyMore) {
  Capture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCaptureDevice::fail(EIO, pool_size);
  EXPECT_EQ(capture.wait().value(), EIO);
}

TEST_F(CaptureTest, EndsWhenSomebodyElseStopsTheDevice) {
  Capture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCaptureDevice::fail(ECANCELED, pool_size);
  EXPECT_EQ(capture.wait().value(), ECANCELED);
}

TEST_F(CaptureTest, WaitsForMemoryWhileSomeIsUnderWay) {
  Capture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCaptureDevice::fail(ENOMEM, pool_size - 1);
  EXPECT_FALSE(capture.wait());
  capture.give();
  FakeCaptureDevice::fail(ENOMEM, pool_size);
  EXPECT_EQ(capture.wait().value(), ENOMEM) << "nothing is left that could make room";
}

TEST_F(CaptureTest, SaysWhyFramesAreNotTaken) {
  Capture capture{device_, pool_};
  capture.give();
  FakeCaptureDevice::fail(EINVAL, pool_size);
  expect_says(message_of([&] { capture.start(); }), "choose a smaller --size");
  EXPECT_FALSE(FakeCaptureDevice::running());
}

TEST_F(CaptureTest, SaysWhyTheDeviceDoesNotStart) {
  Capture capture{device_, pool_};
  FakeCaptureDevice::refuse(DMAWIRE_IOC_START, EOPNOTSUPP);
  expect_says(message_of([&] { capture.start(5); }), "leave --rate out");
  FakeCaptureDevice::refuse(DMAWIRE_IOC_START, EINVAL);
  expect_says(message_of([&] { capture.start(5); }), "cannot make so many frames a second");
}

TEST_F(CaptureTest, SaysWhoHasTheDeviceAndLeavesNothingAttached) {
  FramePool pool = make_capture_pool(device_, 3, 600 * 1024);
  ASSERT_EQ(pool.buffers().size(), 3U);
  FakeCaptureDevice::refuse_attach_after(2, EBUSY);
  expect_says(message_of([&] {
                const Capture capture{device_, pool};
              }),
              "another program captures from it");
  EXPECT_EQ(FakeCaptureDevice::attached(), 0U);
}

TEST_F(CaptureTest, SaysThatADeviceDoesNotCapture) {
  FakeCaptureDevice::info().out_features = 0;
  const std::string sentence = "/dev/dmawire0 does not capture";
  expect_says(message_of([&] { (void)make_capture_pool(device_, 1, 4096); }), sentence);
  expect_says(message_of([&] { const Capture capture{device_, pool_}; }), sentence);
}

TEST_F(CaptureTest, RefusesAPoolThatTheDeviceCannotFill) {
  FramePool odd_length = make_pool(Exporter::memfd, 2, 5000);
  EXPECT_THROW((Capture{device_, odd_length}), Error);
  FramePool side_by_side = make_pool(Exporter::memfd, 2, 1472);
  EXPECT_THROW((Capture{device_, side_by_side}), Error);
}

TEST_F(CaptureTest, NeedsASenderWithARing) {
  const Loopback connection;
  const auto sender = make_sender(Path::msg, std::array{connection.near.get()}, pool_, {});
  expect_says(message_of([&] {
                const Capture capture{device_, pool_, *sender};
              }),
              "choose another path than msg");
}

/// Counts the callbacks of a sender.
class Witness final : public FrameObserver {
 public:
  void started(std::uint32_t, std::chrono::nanoseconds now) noexcept override {
    ++starts;
    last = now;
  }
  void done(std::uint32_t, std::chrono::nanoseconds now) noexcept override {
    ++ends;
    EXPECT_GE(now, last);
  }
  unsigned starts = 0;
  unsigned ends = 0;
  std::chrono::nanoseconds last{};
};

/// The numbers of the frames that arrive at a socket.
class NumberReader {
 public:
  explicit NumberReader(int socket)
      : thread_{[this, socket] {
          std::vector<std::uint64_t> words(aligned_length / 8);
          const std::size_t length = words.size() * 8;
          while (::recv(socket, words.data(), length, MSG_WAITALL) ==
                 static_cast<ssize_t>(length)) {
            numbers_.push_back(words.front() == words.back() ? words.front() : ~std::uint64_t{0});
          }
        }} {}
  const std::vector<std::uint64_t>& finish() {
    thread_.join();
    return numbers_;
  }

 private:
  std::vector<std::uint64_t> numbers_;
  std::thread thread_;
};

class CaptureToPath : public CaptureTest, public testing::WithParamInterface<Path> {};
INSTANTIATE_TEST_SUITE_P(Every, CaptureToPath,
                         testing::Values(Path::fixed, Path::plain, Path::copy),
                         [](const auto& parameter) { return std::string{name(parameter.param)}; });

TEST_P(CaptureToPath, SendsEveryFrameInOrderOnTheSendersRing) {
  constexpr std::uint64_t count = 500;
  Loopback connection;
  NumberReader reader{connection.far.get()};
  Witness witness;
  const auto sender =
      make_sender(GetParam(), std::array{connection.near.get()}, pool_,
                  {.batch = pool_size, .client_requests = pool_size, .observer = &witness});
  Capture capture{device_, pool_, *sender};
  FakeCaptureDevice::make(count);
  capture.give();
  capture.start();
  std::uint64_t sent = 0;
  while (sent < count) {
    while (auto captured = capture.next()) {
      ASSERT_FALSE(sender->send(std::move(captured->frame), captured->length));
      ++sent;
    }
    ASSERT_FALSE(capture.give());
    ASSERT_FALSE(sent < count ? sender->wait() : sender->finish());
  }
  capture.finish();
  EXPECT_FALSE(finish_stream(connection.near.get()));
  const std::vector<std::uint64_t>& numbers = reader.finish();
  ASSERT_EQ(numbers.size(), count);
  for (std::uint64_t number = 0; number < count; ++number) {
    EXPECT_EQ(numbers[number], number);
  }
  EXPECT_EQ(sender->statistics().frames, count);
  EXPECT_EQ(witness.starts, count);
  EXPECT_EQ(witness.ends, count);
  EXPECT_EQ(pool_.available(), pool_size);
}

TEST_P(CaptureToPath, HasEverythingBackThoughTheReceiverIsGone) {
  Loopback connection;
  const auto sender = make_sender(GetParam(), std::array{connection.near.get()}, pool_,
                                  {.client_requests = pool_size});
  Capture capture{device_, pool_, *sender};
  FakeCaptureDevice::make(1'000'000);
  capture.give();
  capture.start();
  connection.far.reset();
  std::error_code error;
  for (int i = 0; i < 1000 && !error; ++i) {
    while (auto captured = capture.next()) {
      error = error ? error : sender->send(std::move(captured->frame), captured->length);
    }
    capture.give();
    error = error ? error : sender->wait();
  }
  EXPECT_TRUE(error.value() == EPIPE || error.value() == ECONNRESET) << error.message();
  FakeCaptureDevice::make(0);
  capture.finish();
  EXPECT_EQ(capture.given(), 0U);
  EXPECT_EQ(sender->finish(), error);
}

}  // namespace
}  // namespace dmawire::test
