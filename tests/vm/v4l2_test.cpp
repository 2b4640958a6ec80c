// SPDX-License-Identifier: MIT
//
// From a camera over the guest's two network cards: vivid's, which write through vmap, by DMA, and
// with the multi-planar interface. v4l2-ctl captures the expected pictures for comparison, into
// memory of the driver's own.

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "abi.hpp"
#include "guest.hpp"
#include "loop_disk.hpp"
#include "process.hpp"
#include "transfer.hpp"
#include "vivid.hpp"

namespace dmawire::test {
namespace {

constexpr const char* kReceived = "/tmp/received.yuv";
constexpr const char* kReference = "/tmp/reference.yuv";

struct Size {
  unsigned width;
  unsigned height;

  [[nodiscard]] std::string text() const {
    return std::to_string(width) + "x" + std::to_string(height);
  }
  [[nodiscard]] std::size_t bytes() const { return std::size_t{2} * width * height; }
};
constexpr Size kSmall{320, 180};
constexpr Size kLarge{640, 360};  // more than one block of the page allocator's in folios

std::string text_of(VividCamera camera) {
  constexpr std::array names{"Vmap", "Dma", "Planes"};
  return names.at(static_cast<std::size_t>(camera));
}

/// `send --v4l2` to a `recv` that keeps the received frames.
class VideoStream : public Stream {
 public:
  VideoStream(const std::string& node, Size size, const Words& options, unsigned rate = 30)
      : Stream{words({"--v4l2", node, "--format", "YUYV", "--video-size", size.text(), "--rate",
                      std::to_string(rate), "--hash"},
                     options),
               {"--hash", "--out", kReceived}} {}

  /// The received frames equal the sent ones.
  void finish(int sender_status = 0) {
    ASSERT_NO_FATAL_FAILURE(Stream::finish(sender_status));
    EXPECT_EQ(sent["xxh3"], received["xxh3"]);
    EXPECT_EQ(sent["bytes"], received["bytes"]);
  }
};

std::vector<std::string> frames_of(const std::string& file, Size size) {
  const std::string bytes = read_text(file);
  EXPECT_EQ(bytes.size() % size.bytes(), 0u) << file << " ends in the middle of a frame";
  std::vector<std::string> frames;
  for (std::size_t start = 0; start + size.bytes() <= bytes.size(); start += size.bytes())
    frames.push_back(bytes.substr(start, size.bytes()));
  return frames;
}

class Video : public testing::TestWithParam<VividCamera> {
 protected:
  static void TearDownTestSuite() { unload_vivid(); }
  void SetUp() override {
    if (!load_vivid())
      GTEST_SKIP() << "this kernel has no vivid to capture from";
    node_ = vivid_node(GetParam());
    ASSERT_FALSE(node_.empty());
    // A picture without text is the same in every frame.
    set("osd_text_mode=2");
    set("horizontal_movement=3");
    set("percentage_of_dropped_buffers=0");
  }
  void TearDown() override {
    for (const char* file : {kReceived, kReference})
      std::filesystem::remove(file);
  }

  void set(const std::string& control) const {
    const Process::Result result = run({"v4l2-ctl", "-d", node_, "-c", control});
    ASSERT_EQ(result.status, 0) << control << ": " << result.out << result.err;
  }

  /// Frames that v4l2-ctl captures by itself.
  [[nodiscard]] std::vector<std::string> reference(Size size, unsigned count) const {
    const Process::Result result =
        run({"v4l2-ctl", "-d", node_,
             "--set-fmt-video=width=" + std::to_string(size.width) +
                 ",height=" + std::to_string(size.height) + ",pixelformat=YUYV",
             "--stream-mmap", "--stream-count=" + std::to_string(count),
             std::string("--stream-to=") + kReference});
    EXPECT_EQ(result.status, 0) << result.err;
    std::vector<std::string> frames = frames_of(kReference, size);
    EXPECT_EQ(frames.size(), count);
    return frames;
  }

  void expect_all_like(const std::string& picture, Size size, std::size_t count) const {
    const std::vector<std::string> frames = frames_of(kReceived, size);
    EXPECT_EQ(frames.size(), count);
    for (std::size_t i = 0; i < frames.size(); ++i)
      EXPECT_TRUE(frames[i] == picture) << "frame " << i << " is not what the camera makes";
  }

  [[nodiscard]] Process::Result try_to_send(const Words& options) const {
    return Process{send_command("127.0.0.1", "1", options)}.wait();
  }

  std::string node_;
};
INSTANTIATE_TEST_SUITE_P(Vivid, Video,
                         testing::Values(VividCamera::vmap, VividCamera::dma, VividCamera::planes),
                         [](const auto& instance) { return text_of(instance.param); });

TEST_P(Video, DeliversWhatTheCameraMakes) {
  const std::string picture = reference(kSmall, 1).front();
  const unsigned frames = is_debug_kernel() ? 5 : 20;
  for (const char* path : {"auto", "fixed", "plain", "copy"}) {
    SCOPED_TRACE(path);
    VideoStream transfer{node_, kSmall, {"--frames", std::to_string(frames), "--tx", path}};
    ASSERT_NO_FATAL_FAILURE(transfer.finish());
    EXPECT_EQ(transfer.sent["captured"], frames);
    EXPECT_EQ(transfer.sent["sent_frames"], frames);
    EXPECT_EQ(transfer.sent["failed"], 0);
    EXPECT_EQ(transfer.sent["video"]["format"], "YUYV");
    EXPECT_EQ(transfer.sent["video"]["width"], kSmall.width);
    expect_all_like(picture, kSmall, frames);
  }
}

/// Frames of several blocks of the page allocator's: a camera that wants one piece gets it.
TEST_P(Video, DeliversFramesInOnePieceWhereTheCameraInsists) {
  const std::string picture = reference(kLarge, 1).front();
  VideoStream transfer{node_, kLarge, {"--frames", "5", "--buffers", "4"}};
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
  expect_all_like(picture, kLarge, 5);
}

TEST_P(Video, CopiesNothing) {
  const nlohmann::json route = route_to("192.0.2.2");
  if (route["copies"])
    GTEST_SKIP() << "the wire copies: " << route["reason"];
  VideoStream transfer{node_, kSmall, {"--frames", "10", "--verify-copies"}};
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
  EXPECT_NE(transfer.sent["path"], "copy");
  EXPECT_EQ(transfer.sent["copied"], 0) << transfer.sent;
  EXPECT_EQ(transfer.sent["kernel_copies"], 0) << transfer.sent;
}

TEST_P(Video, RecordsTheFramesThatItSends) {
  const LoopDisk disk;
  const std::string file = disk.directory() + "/frames.yuv";
  VideoStream transfer{node_, kSmall, {"--frames", "5", "--record", file}};
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
  EXPECT_EQ(transfer.sent["recorded_bytes"], 5 * kSmall.bytes());
  // Each frame stands at a multiple of 4096 bytes.
  const std::string recorded = read_text(file);
  const std::vector<std::string> frames = frames_of(kReceived, kSmall);
  ASSERT_EQ(frames.size(), 5u);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const std::size_t place = i * ((kSmall.bytes() + kPage - 1) / kPage * kPage);
    EXPECT_TRUE(recorded.substr(place, kSmall.bytes()) == frames[i]) << "frame " << i;
  }
}

TEST_P(Video, ASignalStopsIt) {
  VideoStream transfer{node_, kSmall, {"--verbose"}};
  transfer.wait_for_frames();
  ::kill(transfer.sender().pid(), SIGINT);
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
  EXPECT_GT(transfer.sent["captured"], 0);
  EXPECT_EQ(transfer.sent["dropped"], 0);
}

TEST_P(Video, LeavesTheNodeToOtherProgramsThatLook) {
  VideoStream transfer{node_, kSmall, {"--verbose"}};
  transfer.wait_for_frames();
  EXPECT_EQ(run({"v4l2-ctl", "-d", node_, "--all"}).status, 0);
  EXPECT_EQ(run({"v4l2-ctl", "-d", node_, "--list-formats-ext"}).status, 0);
  const Process::Result second =
      try_to_send({"--v4l2", node_, "--format", "YUYV", "--video-size", kSmall.text()});
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find("another program captures from it"), std::string::npos) << second.err;
  ::kill(transfer.sender().pid(), SIGTERM);
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
}

/// v4l2-compliance has complaints about vivid, different ones in each version: a capture must not
/// add any.
TEST_P(Video, LeavesTheNodeAsV4l2ComplianceFoundIt) {
  if (is_debug_kernel() && GetParam() != VividCamera::dma)
    GTEST_SKIP() << "one camera has to do where it takes long";
  const auto complaints = [&] {
    const Process::Result result = run({"v4l2-compliance", "-d", node_});
    EXPECT_NE(result.out.find("Total for vivid device " + node_), std::string::npos) << result.out;
    std::string lines;
    std::istringstream text{result.out};
    for (std::string line; std::getline(text, line);)
      if (line.find("fail:") != std::string::npos || line.ends_with(": FAIL"))
        lines += line + "\n";
    return lines;
  };
  const std::string before = complaints();
  VideoStream transfer{node_, kSmall, {"--frames", "3"}};
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
  EXPECT_EQ(complaints(), before);
}

TEST_P(Video, AsksForTheRate) {
  VideoStream transfer{node_, kSmall, {"--frames", "11"}, 10};
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
  EXPECT_GT(transfer.sent["seconds"], 0.9);
}

TEST_P(Video, SaysWhatTheCameraDoesNotHave) {
  Process::Result result = try_to_send({"--v4l2", node_, "--format", "MJPG"});
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("has no format MJPG; it has "), std::string::npos) << result.err;
  result = try_to_send({"--v4l2", node_, "--video-size", "321x181"});
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("next to it it has"), std::string::npos) << result.err;
}

TEST_P(Video, GoesOnAfterDamagedAndLostFrames) {
  const std::string picture = reference(kSmall, 1).front();
  set("percentage_of_dropped_buffers=30");
  VideoStream transfer{node_, kSmall, {"--frames", "100", "--verbose"}};
  transfer.wait_for_frames();
  set("inject_v4l2_buf_flag_error=1");
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
  EXPECT_EQ(transfer.sent["failed"], 1) << transfer.sent;
  EXPECT_GT(transfer.sent["lost"], 0) << transfer.sent;
  expect_all_like(picture, kSmall, 100);
}

TEST_P(Video, SendsWhatItHasWhenTheCameraFails) {
  VideoStream transfer{node_, kSmall, {"--verbose"}};
  transfer.wait_for_frames();
  set("inject_fatal_streaming_error=1");
  ASSERT_NO_FATAL_FAILURE(transfer.finish(1));
  EXPECT_NE(transfer.complaint.find("no frame is good any more"), std::string::npos)
      << transfer.complaint;
  EXPECT_EQ(transfer.sent["captured"], transfer.sent["sent_frames"]);
}

TEST_P(Video, SaysWhyTheCameraDoesNotBegin) {
  set("inject_vidioc_reqbufs_error=1");
  Process::Result result = try_to_send({"--v4l2", node_});
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("does not import dma-bufs"), std::string::npos) << result.err;
  set("inject_vidioc_streamon_error=1");
  Receiver receiver{{}, "dst"};
  result = Process{send_command("192.0.2.2", receiver.port(), {"--v4l2", node_}), {.netns = "src"}}
               .wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("starting " + node_), std::string::npos) << result.err;
}

TEST_P(Video, SendsWhatItHasWhenTheCameraIsPulledOut) {
  VideoStream transfer{node_, kSmall, {"--verbose"}};
  transfer.wait_for_frames();
  set("disconnect=1");
  ASSERT_NO_FATAL_FAILURE(transfer.finish(1));
  EXPECT_NE(transfer.complaint.find("the camera is gone"), std::string::npos) << transfer.complaint;
  EXPECT_EQ(transfer.sent["captured"], transfer.sent["sent_frames"]);
  ASSERT_TRUE(unload_vivid()) << "and plug it in again";
}

class VideoNode : public testing::Test {
 protected:
  static void TearDownTestSuite() { unload_vivid(); }
};

TEST_F(VideoNode, MustBeACamera) {
  for (const char* node : {"/dev/null", "/dev/dmawire0", "/dev/video99"}) {
    const Process::Result result = Process{send_command("127.0.0.1", "1", {"--v4l2", node})}.wait();
    EXPECT_EQ(result.status, 3) << node << ": " << result.err;
  }
}

/// Of pages from everywhere a camera that wants one piece can make nothing.
TEST_F(VideoNode, SaysThatTheMemoryIsNotInOnePiece) {
  if (!load_vivid())
    GTEST_SKIP() << "this kernel has no vivid to capture from";
  const Process::Result result =
      Process{send_command("127.0.0.1", "1",
                           {"--v4l2", vivid_node(VividCamera::dma), "--video-size", "1280x720",
                            "--backing", "memfd"})}
          .wait();
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("--backing contig"), std::string::npos) << result.err;
}

/// The picture moves from frame to frame, and repeats after kPeriod frames: a frame that is sent
/// twice, out of order, or overwritten while the network holds it shows.
class MovingVideo : public Video {
 protected:
  void SetUp() override {
    Video::SetUp();
    if (IsSkipped())
      return;
    const std::string picture = reference(kSmall, 1).front();
    for (std::size_t place = 0; place < kPeriod; ++place)
      places_.emplace(moved_right(picture, place * kStep), place);
    ASSERT_EQ(places_.size(), kPeriod);
    set("horizontal_movement=6");  // fast to the right
  }
  void TearDown() override {
    if (!IsSkipped())
      set("horizontal_movement=3");
    Video::TearDown();
  }

  /// The number of pictures missing between the received ones, in total.
  std::size_t skipped() {
    std::size_t count = 0;
    std::size_t expected = 0;
    const std::vector<std::string> frames = frames_of(kReceived, kSmall);
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const auto place = places_.find(frames[i]);
      if (place == places_.end()) {
        ADD_FAILURE() << "frame " << i << " is no picture of the camera's";
        return 0;
      }
      if (i > 0)
        count += (place->second + kPeriod - expected) % kPeriod;
      expected = (place->second + 1) % kPeriod;
    }
    return count;
  }

  static std::string moved_right(const std::string& picture, std::size_t pixels) {
    const std::size_t row = kSmall.bytes() / kSmall.height;
    const std::size_t distance = pixels * row / kSmall.width;
    std::string moved;
    for (std::size_t start = 0; start < picture.size(); start += row) {
      moved += picture.substr(start + row - distance, distance);
      moved += picture.substr(start, row - distance);
    }
    return moved;
  }

  /// Frames per second. If vivid is late by half a frame's time, two frames get the same number,
  /// though the picture has moved.
  static unsigned rate() { return is_debug_kernel() ? 10 : 30; }

  /// Pixels that the picture moves per frame, and frames until it repeats.
  static constexpr std::size_t kStep = 4;
  static constexpr std::size_t kPeriod = kSmall.width / kStep;

  std::map<std::string, std::size_t> places_;
};
INSTANTIATE_TEST_SUITE_P(Vivid, MovingVideo,
                         testing::Values(VividCamera::vmap, VividCamera::dma, VividCamera::planes),
                         [](const auto& instance) { return text_of(instance.param); });

TEST_P(MovingVideo, ArrivesInOrder) {
  const unsigned frames = is_debug_kernel() ? 20 : 100;
  VideoStream transfer{node_, kSmall, {"--frames", std::to_string(frames)}, rate()};
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
  EXPECT_EQ(skipped(), transfer.sent["lost"].get<std::size_t>());
}

/// The receiver is stopped, so the network holds all frames, and the camera has no free buffer to
/// write to.
TEST_P(MovingVideo, IsNotWrittenToWhileTheNetworkHasIt) {
  VideoStream transfer{node_, kSmall, {"--frames", "80", "--buffers", "4", "--verbose"}, rate()};
  transfer.wait_for_frames();
  ::kill(transfer.receiver().pid(), SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds{45'000} / rate());
  ::kill(transfer.receiver().pid(), SIGCONT);
  ASSERT_NO_FATAL_FAILURE(transfer.finish());
  EXPECT_GT(transfer.sent["lost"], 0) << "nothing stood still";
  EXPECT_EQ(skipped() % kPeriod, transfer.sent["lost"].get<std::size_t>() % kPeriod)
      << transfer.sent;
}

}  // namespace
}  // namespace dmawire::test
