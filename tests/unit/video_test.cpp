// SPDX-License-Identifier: MIT
//
// A camera that is played in user space, alone and on a sender's ring.

#include <dmawire/video_capture.hpp>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <dmawire/error.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/video_device.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fake_camera.hpp"
#include "loopback.hpp"
#include "message_of.hpp"

namespace dmawire::test {
namespace {

constexpr std::uint32_t frames = 4;

FakeCamera::State& camera() {
  return FakeCamera::state();
}

/// The kind of the Error that an action throws.
template <typename Action>
std::optional<Error::Kind> kind_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.kind();
  }
  return std::nullopt;
}

class VideoDeviceTest : public testing::Test {
 protected:
  FakeCamera fake_;
};

TEST_F(VideoDeviceTest, TellsItsFormat) {
  const VideoDevice device{"/dev/video0"};
  EXPECT_EQ(device.format().fourcc, "YUYV");
  EXPECT_EQ(device.format().width, FakeCamera::width);
  EXPECT_EQ(device.format().height, FakeCamera::height);
  EXPECT_EQ(device.format().length, FakeCamera::frame_length);
}

TEST_F(VideoDeviceTest, RefusesWhatIsNoCamera) {
  const auto open = [] { const VideoDevice device{"/dev/video0"}; };
  camera().capabilities = V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_STREAMING;
  expect_says(message_of(open), "/dev/video0 does not capture video");
  camera().capabilities = V4L2_CAP_VIDEO_CAPTURE;  // by read(2) only
  EXPECT_EQ(kind_of(open), Error::Kind::impossible);
  camera().refusals[VIDIOC_QUERYCAP] = ENOTTY;
  expect_says(message_of(open), "no node of V4L2's");
}

TEST_F(VideoDeviceTest, SaysWhyANodeDoesNotOpen) {
  sys().open = [](const char*, int) {
    errno = EACCES;
    return -1;
  };
  expect_says(message_of([] { const VideoDevice device{"/dev/video7"}; }), "group `video`");
}

TEST_F(VideoDeviceTest, SetsWhatItIsAskedFor) {
  VideoDevice device{"/dev/video0"};
  device.set_format("Y16-BE", 0, 0);
  EXPECT_EQ(device.format().fourcc, "Y16-BE");
  EXPECT_EQ(camera().pixels, V4L2_PIX_FMT_Y16_BE);
  device.set_format("YUYV", FakeCamera::width, FakeCamera::height);
  EXPECT_EQ(camera().pixels, V4L2_PIX_FMT_YUYV);
  device.set_rate(25);
  EXPECT_EQ(camera().rate, 25U);
}

TEST_F(VideoDeviceTest, NamesWhatItHasInstead) {
  VideoDevice device{"/dev/video0"};
  const auto other_format = [&] { device.set_format("MJPG", 0, 0); };
  expect_says(message_of(other_format), "has no format MJPG; it has YUYV Y16-BE");
  EXPECT_EQ(kind_of(other_format), Error::Kind::impossible);
  expect_says(message_of([&] { device.set_format("", 41, 30); }), "next to it it has 40x30");
  camera().refusals[VIDIOC_S_FMT] = EINVAL;
  expect_says(message_of(other_format), "has no format MJPG");
}

TEST_F(VideoDeviceTest, RefusesWhatIsNoNameOfAFormat) {
  VideoDevice device{"/dev/video0"};
  expect_says(message_of([&] { device.set_format("YUYV2", 0, 0); }), "up to four letters");
  expect_says(message_of([&] { device.set_format("-BE", 0, 0); }), "up to four letters");
}

TEST_F(VideoDeviceTest, SaysThatAnotherHasIt) {
  VideoDevice device{"/dev/video0"};
  camera().refusals[VIDIOC_S_FMT] = camera().refusals[VIDIOC_REQBUFS] = EBUSY;
  const std::string sentence = "another program captures from it";
  expect_says(message_of([&] { device.set_format("YUYV", 0, 0); }), sentence);
  expect_says(message_of([&] { (void)device.request_buffers(4); }), sentence);
}

TEST_F(VideoDeviceTest, SaysThatItHasARateOfItsOwn) {
  const VideoDevice device{"/dev/video0"};
  camera().rate_capability = 0;
  expect_says(message_of([&] { device.set_rate(25); }), "leave --rate out");
  camera().refusals[VIDIOC_G_PARM] = ENOTTY;
  EXPECT_EQ(kind_of([&] { device.set_rate(25); }), Error::Kind::impossible);
  camera().refusals[VIDIOC_G_PARM] = EIO;
  EXPECT_EQ(kind_of([&] { device.set_rate(25); }), Error::Kind::failed);
}

TEST_F(VideoDeviceTest, SaysThatItDoesNotImport) {
  const VideoDevice device{"/dev/video0"};
  camera().refusals[VIDIOC_REQBUFS] = EINVAL;
  const auto request = [&] { (void)device.request_buffers(4); };
  expect_says(message_of(request), "does not import dma-bufs");
  EXPECT_EQ(kind_of(request), Error::Kind::impossible);
}

TEST_F(VideoDeviceTest, RefusesFramesInSeveralPieces) {
  camera().capabilities = V4L2_CAP_VIDEO_CAPTURE_MPLANE | V4L2_CAP_STREAMING;
  camera().memory_planes = 2;
  const VideoDevice device{"/dev/video0"};
  expect_says(message_of([&] { (void)device.request_buffers(4); }), "over several buffers");
}

/// Both of V4L2's interfaces.
class VideoCaptureTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  static std::string node() {
    camera().capabilities = GetParam() | V4L2_CAP_STREAMING;
    return "/dev/video0";
  }

  FakeCamera fake_;
  VideoDevice device_{node()};
  FramePool pool_ = make_video_pool(device_, frames);
};
INSTANTIATE_TEST_SUITE_P(Both, VideoCaptureTest,
                         testing::Values(V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE),
                         [](const auto& instance) {
                           return std::string{instance.param == V4L2_CAP_VIDEO_CAPTURE
                                                  ? "SinglePlanar"
                                                  : "MultiPlanar"};
                         });

TEST_P(VideoCaptureTest, HasADmaBufForEachFrame) {
  EXPECT_EQ(pool_.size(), frames);
  EXPECT_EQ(pool_.buffers().size(), frames);
  EXPECT_EQ(pool_.frame_length(), FakeCamera::frame_length);
  EXPECT_EQ(camera().buffers, 0U) << "whoever makes a pool lets go of the camera";
}

TEST_P(VideoCaptureTest, YieldsWhatTheCameraFilledAndGivesItBack) {
  VideoCapture capture{device_, pool_};
  EXPECT_FALSE(capture.give());
  EXPECT_EQ(capture.given(), frames);
  EXPECT_EQ(pool_.available(), 0U);
  capture.start(25);
  EXPECT_EQ(camera().rate, 25U);
  EXPECT_FALSE(capture.next());
  for (std::uint32_t round = 0; round < 3; ++round) {
    FakeCamera::make(frames);
    EXPECT_FALSE(capture.wait());
    for (std::uint32_t i = 0; i < frames; ++i) {
      const auto captured = capture.next();
      ASSERT_TRUE(captured);
      EXPECT_EQ(captured->length, FakeCamera::frame_length);
      EXPECT_EQ(captured->sequence, round * frames + i);
      EXPECT_EQ(captured->timestamp,
                std::chrono::seconds{2} + std::chrono::microseconds{captured->sequence});
      EXPECT_EQ(captured->lost, 0U);
      EXPECT_EQ(captured->frame.bytes().back(), static_cast<std::byte>(captured->sequence));
    }
    EXPECT_FALSE(capture.next());
    EXPECT_FALSE(capture.give());
    EXPECT_EQ(capture.given(), frames);
  }
  EXPECT_EQ(capture.statistics().captured, 3 * frames);
  EXPECT_EQ(capture.statistics().bytes, 3UL * frames * FakeCamera::frame_length);
  EXPECT_EQ(camera().imports, 2 * frames) << "each is mapped once, and was before, to try";
}

TEST_P(VideoCaptureTest, KeepsAFrameFromTheCameraUntilItsHolderLetsItGo) {
  VideoCapture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCamera::make(1);
  capture.wait();
  std::optional<CapturedFrame> captured = capture.next();
  ASSERT_TRUE(captured);
  EXPECT_EQ(camera().syncs, 1U) << "who holds it may read it";
  FakeCamera::make(frames);
  capture.give();
  EXPECT_EQ(capture.given(), frames - 1);
  EXPECT_EQ(captured->frame.bytes()[0], std::byte{0});
  captured.reset();
  capture.give();
  EXPECT_EQ(capture.given(), frames);
  EXPECT_EQ(camera().syncs, 0U);
}

TEST_P(VideoCaptureTest, GivesNoMoreThanAskedFor) {
  VideoCapture capture{device_, pool_};
  capture.give(2);
  EXPECT_EQ(capture.given(), 2U);
}

TEST_P(VideoCaptureTest, CountsWhatWasLost) {
  VideoCapture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCamera::make(frames + 3);
  capture.wait();
  while (capture.next()) {
  }
  capture.give();
  FakeCamera::make(1);
  capture.wait();
  const auto captured = capture.next();
  ASSERT_TRUE(captured);
  EXPECT_EQ(captured->lost, 3U);
  EXPECT_EQ(capture.statistics().lost, 3U);
}

TEST_P(VideoCaptureTest, CountsFromTheFirstFrameOn) {
  VideoCapture capture{device_, pool_};
  camera().sequence = 2;
  capture.give();
  capture.start();
  FakeCamera::make(1);
  capture.wait();
  EXPECT_EQ(capture.next()->lost, 2U);
}

TEST_P(VideoCaptureTest, TakesNoNumbersForLossThatStandStill) {
  VideoCapture capture{device_, pool_};
  capture.give();
  capture.start();
  for (int i = 0; i < 3; ++i) {
    camera().sequence = 0;
    FakeCamera::make(1);
  }
  capture.wait();
  EXPECT_TRUE(capture.next());
  EXPECT_TRUE(capture.next());
  EXPECT_TRUE(capture.next());
  EXPECT_EQ(capture.statistics().lost, 0U);
}

TEST_P(VideoCaptureTest, TellsTheTimeWhereTheCameraDoesNot) {
  camera().timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_UNKNOWN;
  VideoCapture capture{device_, pool_};
  capture.give();
  capture.start();
  const auto before = std::chrono::steady_clock::now().time_since_epoch();
  FakeCamera::make(1);
  capture.wait();
  EXPECT_GE(capture.next()->timestamp, before);
}

TEST_P(VideoCaptureTest, PassesOverDamagedFrames) {
  VideoCapture capture{device_, pool_};
  capture.give();
  capture.start();
  camera().damaged = frames - 1;
  FakeCamera::make(frames);
  capture.wait();
  const auto captured = capture.next();
  ASSERT_TRUE(captured);
  EXPECT_EQ(captured->sequence, frames - 1);
  EXPECT_EQ(captured->lost, 0U);
  EXPECT_EQ(capture.statistics().failed, frames - 1);
  EXPECT_EQ(pool_.available(), frames - 1);
  EXPECT_FALSE(capture.failure());
}

TEST_P(VideoCaptureTest, EndsWhenNoFrameIsGoodAnyMore) {
  VideoCapture capture{device_, pool_};
  capture.give();
  capture.start();
  camera().damaged = frames;
  FakeCamera::make(frames);
  capture.wait();
  EXPECT_FALSE(capture.next());
  EXPECT_EQ(capture.failure().value(), EIO);
  EXPECT_EQ(capture.give().value(), EIO);
}

TEST_P(VideoCaptureTest, KeepsWhatWasFilledWhenItFinishes) {
  VideoCapture capture{device_, pool_};
  capture.give();
  capture.start();
  FakeCamera::make(2);
  capture.finish();
  EXPECT_FALSE(camera().streaming);
  EXPECT_EQ(capture.given(), 0U);
  EXPECT_EQ(capture.statistics().captured, 2U);
  EXPECT_EQ(capture.statistics().canceled, frames - 2);
  EXPECT_FALSE(capture.failure()) << "it was asked to stop";
  EXPECT_EQ(capture.next()->sequence, 0U);
  EXPECT_EQ(capture.next()->sequence, 1U);
  EXPECT_FALSE(capture.next());
  capture.give();
  EXPECT_EQ(capture.given(), 0U) << "a capture that was stopped gives nothing";
}

TEST_P(VideoCaptureTest, AStopEndsTheWait) {
  VideoCapture capture{device_, pool_};
  capture.give();
  capture.start();
  std::thread other{[&] { capture.stop(); }};
  EXPECT_FALSE(capture.wait());
  other.join();
  EXPECT_FALSE(capture.next());
  EXPECT_FALSE(capture.failure());
  capture.finish();
  EXPECT_EQ(pool_.available(), frames);
}

TEST_P(VideoCaptureTest, LetsGoOfEverythingAtItsEnd) {
  {
    VideoCapture capture{device_, pool_};
    capture.give();
    capture.start();
    EXPECT_EQ(camera().buffers, frames);
  }
  EXPECT_EQ(camera().buffers, 0U);
  EXPECT_FALSE(camera().streaming);
  EXPECT_EQ(camera().syncs, 0U);
  EXPECT_EQ(pool_.available(), frames);
}

TEST_P(VideoCaptureTest, TellsThatTheCameraIsGone) {
  VideoCapture capture{device_, pool_};
  capture.give();
  capture.start();
  camera().refusals[VIDIOC_DQBUF] = ENODEV;
  FakeCamera::make(1);
  capture.wait();
  EXPECT_FALSE(capture.next());
  EXPECT_EQ(capture.failure().value(), ENODEV);
  EXPECT_EQ(capture.wait().value(), ENODEV);
}

TEST_P(VideoCaptureTest, SaysWhyFramesAreNotTaken) {
  VideoCapture capture{device_, pool_};
  camera().refusals[VIDIOC_QBUF] = ENOMEM;
  EXPECT_EQ(capture.give().value(), ENOMEM);
  EXPECT_EQ(pool_.available(), frames);
  expect_says(message_of([&] { capture.start(); }), "giving frames to /dev/video0");
}

TEST_P(VideoCaptureTest, SaysWhyItDoesNotStart) {
  VideoCapture capture{device_, pool_};
  capture.give();
  for (const auto& [code, words] : {std::pair{EBUSY, "another program"},
                                    {EPIPE, "media-ctl"},
                                    {ENOLINK, "media-ctl"},
                                    {ENOSPC, "a lower --rate"},
                                    {EIO, "starting /dev/video0"}}) {
    camera().refusals[VIDIOC_STREAMON] = code;
    expect_says(message_of([&] { capture.start(); }), words);
  }
}

TEST_P(VideoCaptureTest, RefusesAPoolThatTheCameraCannotFill) {
  std::vector<Buffer> one;
  one.push_back(Buffer::memfd(frames * 4096UL));
  FramePool side_by_side{std::move(one), FakeCamera::frame_length, frames, 4096};
  expect_says(message_of([&] {
                const VideoCapture capture{device_, side_by_side};
              }),
              "each is a buffer of its own here");
  camera().max_buffers = frames - 1;
  expect_says(message_of([&] {
                const VideoCapture capture{device_, pool_};
              }),
              "takes 3 frames, the pool has 4");
  EXPECT_EQ(camera().buffers, 0U);
}

TEST_P(VideoCaptureTest, CutsAsManyFramesAsTheCameraTakes) {
  EXPECT_EQ(make_video_pool(device_, 1).size(), camera().least_buffers);
  EXPECT_EQ(make_video_pool(device_, 1000).size(), camera().max_buffers);
}

TEST_P(VideoCaptureTest, TakesMemoryInOnePieceWhereTheCameraInsists) {
  camera().wants_one_piece = true;
  const FramePool pool = make_video_pool(device_, frames);
  EXPECT_EQ(pool.size(), frames);
  EXPECT_EQ(camera().contiguous.size(), frames);
  const auto insist = [&] { (void)make_video_pool(device_, frames, Backing::coherent); };
  expect_says(message_of(insist), "--backing contig");
  EXPECT_EQ(kind_of(insist), Error::Kind::impossible);
  EXPECT_EQ(camera().buffers, 0U);
}

TEST_P(VideoCaptureTest, TakesMemoryInOnePieceThoughSomeFramesAreInOneByChance) {
  camera().wants_one_piece = true;
  camera().by_chance = frames - 1;
  FramePool pool = make_video_pool(device_, frames);
  VideoCapture capture{device_, pool};
  EXPECT_FALSE(capture.give());
}

TEST_P(VideoCaptureTest, SaysThatTheCameraTakesNoMemoryOfOurs) {
  camera().refusals[VIDIOC_QBUF] = EINVAL;
  const auto make = [&] { (void)make_video_pool(device_, frames); };
  expect_says(message_of(make), "does not take frames of 2400 bytes");
  EXPECT_EQ(kind_of(make), Error::Kind::impossible);
  EXPECT_EQ(camera().buffers, 0U);
}

TEST_P(VideoCaptureTest, LetsGoOfTheCameraWhereThereIsNoMemory) {
  camera().refusals[DMAWIRE_IOC_CREATE] = ENOMEM;
  EXPECT_THROW((void)make_video_pool(device_, frames), Error);
  EXPECT_EQ(camera().buffers, 0U);
}

TEST_P(VideoCaptureTest, SendsOnTheRingThatWaitsForBoth) {
  const Loopback connection;
  const auto sender = make_sender(Path::plain, std::array{connection.near.get()}, pool_,
                                  {.batch = frames, .client_requests = VideoCapture::requests});
  constexpr std::uint32_t count = 10;
  VideoCapture capture{device_, pool_, *sender};
  capture.give();
  capture.start();
  for (std::uint32_t sent = 0; sent < count;) {
    FakeCamera::make(1);
    while (auto captured = capture.next()) {
      EXPECT_FALSE(sender->send(std::move(captured->frame), captured->length));
      ++sent;
    }
    capture.give();
    EXPECT_FALSE(sender->wait());
  }
  capture.finish();
  EXPECT_FALSE(sender->finish());
  std::string bytes(count * FakeCamera::frame_length, '\0');
  ASSERT_EQ(::recv(connection.far.get(), bytes.data(), bytes.size(), MSG_WAITALL),
            static_cast<ssize_t>(bytes.size()));
  std::uint32_t previous = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string frame = bytes.substr(i * FakeCamera::frame_length, FakeCamera::frame_length);
    EXPECT_EQ(frame, std::string(frame.size(), frame[0])) << "frame " << i << " is torn";
    const std::uint32_t number = static_cast<unsigned char>(frame[0]);
    EXPECT_TRUE(i == 0 || number > previous) << number << " after " << previous;
    previous = number;
  }
}

TEST_P(VideoCaptureTest, WantsASenderWithARing) {
  const Loopback connection;
  const auto sender = make_sender(Path::msg, std::array{connection.near.get()}, pool_, {});
  const auto make = [&] { const VideoCapture capture{device_, pool_, *sender}; };
  expect_says(message_of(make), "no io_uring to capture with");
  EXPECT_EQ(kind_of(make), Error::Kind::impossible);
}

class VideoPlanes : public testing::Test {
 protected:
  VideoPlanes() {
    camera().capabilities = V4L2_CAP_VIDEO_CAPTURE_MPLANE | V4L2_CAP_STREAMING;
    camera().data_offset = 64;
  }

  FakeCamera fake_;
};

TEST_F(VideoPlanes, EndsWhereFramesDoNotBeginWithTheirMemory) {
  const VideoDevice device{"/dev/video0"};
  FramePool pool = make_video_pool(device, frames);
  VideoCapture capture{device, pool};
  capture.give();
  capture.start();
  FakeCamera::make(1);
  capture.wait();
  EXPECT_FALSE(capture.next());
  EXPECT_EQ(capture.failure().value(), EOPNOTSUPP);
}

}  // namespace
}  // namespace dmawire::test
