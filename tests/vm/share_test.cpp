// SPDX-License-Identifier: MIT
//
// One process captures or fills, others send, record or look: with the programs a user would run,
// from `pattern` to the guest's other host, and with other exporters' memory.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <dmawire/drm_device.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/packet_socket.hpp>
#include <dmawire/share_server.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "abi.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "guest.hpp"
#include "loop_disk.hpp"
#include "process.hpp"
#include "shared_frames.hpp"
#include "transfer.hpp"
#include "vgem.hpp"
#include "vivid.hpp"

namespace dmawire::test {
namespace {

const std::string place = "/tmp/frames.socket";

std::string many(unsigned count) {
  return std::to_string(fewer_if_watched(count));
}

/// `uring_app share`.
class Owner {
 public:
  explicit Owner(const Words& options)
      : process_{words({"uring_app", "share", place, "--json"}, options)} {
    process_.wait_for_line("sharing ");
  }
  Process& process() { return process_; }

  /// Waits for its end; its report.
  nlohmann::json finish(int status = 0) {
    const Process::Result result = process_.wait();
    EXPECT_EQ(result.status, status) << result.err;
    complaint = result.err;
    nlohmann::json report = nlohmann::json::parse(result.out, nullptr, false);
    EXPECT_FALSE(report.is_discarded()) << result.err;
    return report;
  }
  std::string complaint;

 private:
  Process process_;
};

/// Nothing that was lent is missing.
void expect_all_released(const nlohmann::json& shared) {
  EXPECT_EQ(shared["home"], shared["pool"]) << shared;
  EXPECT_EQ(shared["lent"].get<std::uint64_t>(),
            shared["returned"].get<std::uint64_t>() + shared["reclaimed"].get<std::uint64_t>())
      << shared;
}

/// `send --import`, from when it has been handed the buffers.
class Importer : public Stream {
 public:
  explicit Importer(const Words& receiving, const Words& sending = {})
      : Stream{words({"--import", place}, sending), receiving} {
    sender().wait_for_line("frames at a time");
  }
};

/// A recording of `pattern`'s frames: how many there are, and how many are missing between them.
struct Recorded {
  std::uint64_t frames = 0;
  std::uint64_t missing = 0;
};

/// Looks at it: every frame must be whole, and behind the one before.
Recorded check_recording(const std::string& path, std::size_t length) {
  Recorded recorded;
  std::ifstream file{path, std::ios::binary};
  std::vector<uint8_t> frame(length);
  std::uint64_t expected = 0;
  while (file.read(reinterpret_cast<char*>(frame.data()), static_cast<std::streamsize>(length))) {
    dmawire_frame_header header;
    std::memcpy(&header, frame.data(), sizeof(header));
    EXPECT_EQ(frame_fault(frame, header.sequence), "");
    EXPECT_GE(header.sequence, expected);
    recorded.missing += recorded.frames++ > 0 ? header.sequence - expected : 0;
    expected = header.sequence + 1;
  }
  EXPECT_EQ(file.gcount(), 0) << "a frame is cut short";
  return recorded;
}

TEST(Share, OneCapturesOneSendsOneRecordsOneLooksAndOneIsKilled) {
  const LoopDisk disk;
  const std::string file = disk.directory() + "/frames";
  const std::uint64_t rate = is_debug_kernel() ? 100 : 500;
  Owner owner{{"--device", "0", "--size", "4K", "--rate", std::to_string(rate)}};
  Importer importer{{"--check-frames"}};
  Process recorder{{"uring_app", "send", "--json", "--import", place, "--record", file}};
  recorder.wait_for_line("frames at a time");
  Process looker{{"dmawire_look", place, "10"}};
  {
    // Its receiver is stopped, so it comes to hold its maximum of frames. Only the owner can see
    // when: it counts them at its end ("reclaimed" below).
    Importer victim{{}};
    ASSERT_EQ(::kill(victim.receiver().pid(), SIGSTOP), 0);
    std::this_thread::sleep_for(std::chrono::seconds{is_debug_kernel() ? 3 : 1});
    victim.sender().kill();
    EXPECT_EQ(victim.sender().wait().status, 128 + SIGKILL);
    victim.receiver().kill();
    victim.receiver().wait();
  }
  const Process::Result looked = looker.wait();
  EXPECT_EQ(looked.status, 0) << looked.err;
  EXPECT_EQ(std::count(looked.out.begin(), looked.out.end(), '\n'), 10) << looked.out;
  EXPECT_NE(looked.out.find(": 4096 bytes, sum "), std::string::npos) << looked.out;

  ASSERT_EQ(::kill(owner.process().pid(), SIGINT), 0);
  ASSERT_NO_FATAL_FAILURE(importer.finish());
  const Process::Result recording = recorder.wait();
  ASSERT_EQ(recording.status, 0) << recording.err;
  const auto recorded = nlohmann::json::parse(recording.out);
  const nlohmann::json shared = owner.finish();
  expect_all_released(shared);
  EXPECT_EQ(shared["clients"], 4);
  EXPECT_EQ(shared["dropped"], 0);
  // Of the looker, too, at most one.
  EXPECT_GT(shared["reclaimed"], 1) << "the one that was killed held some: " << shared;
  EXPECT_EQ(shared["lost"], 0);

  EXPECT_EQ(importer.received["bad"], 0);
  EXPECT_EQ(importer.received["frames"], importer.sent["imported_frames"]);
  EXPECT_GE(importer.received["frames"], rate);
  EXPECT_LE(importer.received["lost"], importer.sent["skipped"]);
  EXPECT_EQ(importer.sent["exporters"], nlohmann::json({"dmawire"}));

  const Recorded stored = check_recording(file, 4096);
  EXPECT_EQ(stored.frames, recorded["imported_frames"]);
  EXPECT_EQ(stored.frames * 4096, recorded["recorded_bytes"]);
  EXPECT_LE(stored.missing, recorded["skipped"]);
  EXPECT_TRUE(recorded["path"].is_null());
}

const std::string sample = "/usr/bin/dmawire_vm_test";  // some MiB that are there

class SharePath : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string{GetParam()} == "direct" && !has_direct()) {
      GTEST_SKIP() << "this kernel has no direct path";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Every, SharePath,
                         testing::Values("auto", "direct", "fixed", "plain", "msg", "copy"),
                         [](const auto& parameter) { return std::string{parameter.param}; });

TEST_P(SharePath, DeliversAFileUnchanged) {
  Owner owner{{"--file", sample, "--size", "60000"}};
  Importer importer{{"--hash"}, {"--hash", "--tx", GetParam()}};
  ASSERT_NO_FATAL_FAILURE(importer.finish());
  EXPECT_EQ(importer.sent["bytes"], std::filesystem::file_size(sample));
  EXPECT_EQ(importer.sent["xxh3"], importer.received["xxh3"]);
  EXPECT_EQ(importer.sent["skipped"], 0);
  if (std::string{GetParam()} != "auto") {
    EXPECT_EQ(importer.sent["path"], GetParam());
  }
  expect_all_released(owner.finish());
}

TEST_P(SharePath, GoesRoundWithADevice) {
  Owner owner{{"--device", "0", "--rate", many(500), "--buffers", "32", "--clients", "1"}};
  Importer importer{{"--check-frames"}, {"--frames", many(1000), "--tx", GetParam()}};
  ASSERT_NO_FATAL_FAILURE(importer.finish());
  ASSERT_EQ(::kill(owner.process().pid(), SIGINT), 0);
  EXPECT_EQ(importer.received["bad"], 0);
  EXPECT_EQ(importer.received["frames"], importer.sent["imported_frames"]);
  EXPECT_GT(importer.received["frames"], importer.sent["hold"]) << "none came round again";
  if (std::string{GetParam()} != "auto") {
    EXPECT_EQ(importer.sent["path"], GetParam());
  }
  expect_all_released(owner.finish());
}

TEST(Share, OfEveryBackingIsSent) {
  for (const std::string backing : {"memfd", "contig"}) {
    SCOPED_TRACE(backing);
    Owner owner{{"--file", sample, "--backing", backing}};
    Importer importer{{"--hash"}, {"--hash"}};
    ASSERT_NO_FATAL_FAILURE(importer.finish());
    EXPECT_EQ(importer.sent["xxh3"], importer.received["xxh3"]);
    expect_all_released(owner.finish());
  }
}

TEST(Share, OfStandardInputServesClientsWhileNothingComes) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd out{ends[0]};
  UniqueFd in{ends[1]};
  Process owner{{"uring_app", "share", place, "-", "--json"}, {.input = out.get()}};
  owner.wait_for_line("sharing ");
  Importer importer{{"--hash"}, {"--hash"}};
  ASSERT_EQ(::write(in.get(), "some bytes", 10), 10);
  std::this_thread::sleep_for(std::chrono::milliseconds{200});
  ASSERT_EQ(::write(in.get(), " and more", 9), 9);
  in.reset();
  ASSERT_NO_FATAL_FAILURE(importer.finish());
  EXPECT_EQ(importer.received["bytes"], 19);
  const Process::Result result = owner.wait();
  EXPECT_EQ(result.status, 0) << result.err;
  expect_all_released(nlohmann::json::parse(result.out));
}

TEST(Share, EndsOnASignalAndItsClientsWithIt) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Owner owner{{"--device", "0", "--rate", many(500), "--size", "4K"}};
    Importer importer{{"--check-frames"}};
    importer.wait_for_traffic();
    ASSERT_EQ(::kill(owner.process().pid(), signal), 0);
    ASSERT_NO_FATAL_FAILURE(importer.finish());
    EXPECT_EQ(importer.received["bad"], 0);
    EXPECT_GT(importer.received["frames"], 0);
    expect_all_released(owner.finish());
    EXPECT_FALSE(std::filesystem::exists(place));
  }
}

TEST(Share, EndsOnASignalThoughItHasNoClientAndItsDeviceSleeps) {
  Owner owner{{"--device", "0", "--rate", "1", "--size", "4K"}};
  ASSERT_EQ(::kill(owner.process().pid(), SIGINT), 0);
  expect_all_released(owner.finish());
  Owner waits{{"--file", sample}};
  ASSERT_EQ(::kill(waits.process().pid(), SIGINT), 0);
  expect_all_released(waits.finish());
}

TEST(Share, GoesOnWhenAClientLeavesOnASignal) {
  Owner owner{{"--device", "0", "--rate", many(500), "--size", "4K"}};
  for (int round = 0; round < 2; ++round) {
    Importer importer{{"--check-frames"}};
    importer.wait_for_traffic();
    ASSERT_EQ(::kill(importer.sender().pid(), SIGINT), 0);
    ASSERT_NO_FATAL_FAILURE(importer.finish());
    EXPECT_EQ(importer.received["bad"], 0);
    EXPECT_GT(importer.received["frames"], 0);
  }
  ASSERT_EQ(::kill(owner.process().pid(), SIGINT), 0);
  const nlohmann::json shared = owner.finish();
  expect_all_released(shared);
  EXPECT_EQ(shared["clients"], 2);
}

TEST(Share, IsMissedByItsClientsWhenItIsKilled) {
  Owner owner{{"--device", "0", "--rate", many(500), "--size", "4K"}};
  Importer importer{{"--check-frames"}};
  importer.wait_for_traffic();
  owner.process().kill();
  ASSERT_NO_FATAL_FAILURE(importer.finish(1));
  EXPECT_NE(importer.complaint.find("its owner is gone without a word"), std::string::npos)
      << importer.complaint;
  EXPECT_EQ(importer.received["bad"], 0) << "what was lent outlives its owner";
  EXPECT_EQ(importer.received["frames"], importer.sent["imported_frames"]);
  EXPECT_EQ(owner.process().wait().status, 128 + SIGKILL);
  // Its name is still there; the next owner takes it over.
  Owner next{{"--file", sample}};
  ASSERT_EQ(::kill(next.process().pid(), SIGINT), 0);
  expect_all_released(next.finish());
}

TEST(Share, DropsAClientThatSendsRubbishAndGoesOn) {
  Owner owner{{"--device", "0", "--rate", many(500), "--size", "4K"}};
  Importer importer{{"--check-frames"}};
  for (const std::size_t length : {1, 16, 32, 60'000}) {
    const UniqueFd client = connect_packets(place);
    const std::string rubbish(length, 'x');
    EXPECT_EQ(::send(client.get(), rubbish.data(), length, MSG_NOSIGNAL),
              static_cast<ssize_t>(length));
    pollfd readable{.fd = client.get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&readable, 1, 20'000), 1);
    char answer[100];
    ssize_t answered = ::recv(client.get(), answer, sizeof(answer), 0);
    if (answered < 0 && errno == ECONNRESET) {
      answered = ::recv(client.get(), answer, sizeof(answer), 0);
    }
    ASSERT_EQ(answered, static_cast<ssize_t>(sizeof(dmawire_share_end)));
    dmawire_share_end end;
    std::memcpy(&end, answer, sizeof(end));
    EXPECT_EQ(end.reason, static_cast<__u32>(DMAWIRE_SHARE_PROTOCOL_ERROR));
  }
  ASSERT_EQ(::kill(owner.process().pid(), SIGINT), 0);
  ASSERT_NO_FATAL_FAILURE(importer.finish());
  EXPECT_EQ(importer.received["bad"], 0);
  const nlohmann::json shared = owner.finish();
  EXPECT_EQ(shared["dropped"], 4);
  expect_all_released(shared);
}

TEST(Share, TurnsAwayMoreClientsThanItWasToTake) {
  Owner owner{{"--device", "0", "--rate", many(500), "--size", "4K", "--clients", "1"}};
  Importer importer{{"--check-frames"}};
  const Process::Result second =
      run({"uring_app", "send", "--import", place, "--record", "/tmp/unused"});
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find("it has as many clients as it takes"), std::string::npos) << second.err;
  ASSERT_EQ(::kill(owner.process().pid(), SIGINT), 0);
  ASSERT_NO_FATAL_FAILURE(importer.finish());
  const nlohmann::json shared = owner.finish();
  EXPECT_EQ(shared["refused"], 1);
  expect_all_released(shared);
}

TEST(Share, TellsItsClientsThatItsDeviceIsGone) {
  const EduCard card;
  if (!card.present()) {
    GTEST_SKIP() << "this machine has no edu device";
  }
  const DriverModule driver{"dmawire_edu", EduCard::driver_parameters()};
  const auto number = number_of_driver("edu");
  ASSERT_TRUE(number);
  Owner owner{{"--device", std::to_string(*number), "--size", "4K"}};
  Importer importer{{"--check-frames"}};
  importer.wait_for_traffic();
  EXPECT_TRUE(card.unbind());
  ASSERT_NO_FATAL_FAILURE(importer.finish(1));
  EXPECT_NE(importer.complaint.find("its device or file failed"), std::string::npos)
      << importer.complaint;
  EXPECT_EQ(importer.received["bad"], 0);
  EXPECT_GT(importer.received["frames"], 0);
  expect_all_released(owner.finish(1));
  EXPECT_NE(owner.complaint.find("the device is gone"), std::string::npos) << owner.complaint;
  EXPECT_TRUE(card.bind());
}

/// Buffers of other exporters, which this process lends to `send --import`.
class ShareForeign : public testing::Test {
 protected:
  static void TearDownTestSuite() { unload_vivid(); }

  static constexpr std::uint32_t frames = 6;
  static constexpr std::size_t length = 64 * 1024;

  /// Lends each frame five times and checks the received data.
  void share(std::vector<Buffer> buffers, const std::string& exporter, const std::string& path,
             const Words& options = {}) {
    FramePool pool = FramePool::one_in_each(std::move(buffers), length, 0);
    ShareServer server{place, pool, 1};
    Receiver receiver{{"--hash"}, "dst"};
    Process sender{
        send_command("192.0.2.2", receiver.port(), words({"--hash", "--import", place}, options)),
        {.netns = "src"}};
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{60};
    std::uint64_t sequence = 0;
    while (!(sequence == 5 * frames && server.all_released()) &&
           std::chrono::steady_clock::now() < deadline) {
      if (sequence < 5 * frames && server.wanted()) {
        ASSERT_NO_FATAL_FAILURE(publish(server, pool, sequence++));
        if (sequence == 5 * frames) {
          server.end(DMAWIRE_SHARE_FINISHED);
        }
      }
      server.serve();
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    EXPECT_EQ(pool.available(), pool.size());
    const Process::Result sent = sender.wait();
    ASSERT_EQ(sent.status, 0) << sent.err;
    const auto report = nlohmann::json::parse(sent.out);
    const Process::Result received = receiver.process().wait();
    ASSERT_EQ(received.status, 0) << received.err;
    const auto arrived = nlohmann::json::parse(received.out);
    EXPECT_EQ(report["bytes"], 5 * frames * length);
    EXPECT_EQ(arrived["xxh3"], report["xxh3"]);
    EXPECT_EQ(report["path"], path) << report;
    EXPECT_EQ(report["exporters"], nlohmann::json({exporter}));
    EXPECT_NE(sent.err.find("the memory is of " + exporter), std::string::npos) << sent.err;
    EXPECT_NE(report["reason"].get<std::string>().find(path == "copy" ? "mapping has no pages"
                                                                      : "looked up"),
              std::string::npos)
        << report;
  }
};

TEST_F(ShareForeign, MainlineBuffersWithoutPagesAreCopiedAndItSaysWhy) {
  if (!is_debug_kernel()) {  // which ends the guest for a fault of udmabuf's own
    share(make_buffers(Exporter::udmabuf, Layout::pages, frames, length), "udmabuf", "copy");
  }
  share(make_buffers(Exporter::dma_heap, Layout::pages, frames, length), "system", "copy");
}

TEST_F(ShareForeign, PathsThatCannotSendThemSaySo) {
  FramePool pool =
      FramePool::one_in_each(make_buffers(Exporter::dma_heap, Layout::pages, 2, length), length, 0);
  ShareServer server{place, pool, 1};
  for (const std::string path : {"direct", "fixed", "plain", "msg"}) {
    const Process::Result result = while_served(server, [&] {
      return run(send_command("127.0.0.1", "9", {"--udp", "--import", place, "--tx", path}));
    });
    EXPECT_EQ(result.status, 3) << path;
    EXPECT_NE(result.err.find("mapping has no pages"), std::string::npos) << result.err;
    server.serve();
  }
}

TEST_F(ShareForeign, BuffersOfADrmDeviceAreTaken) {
  if (!open_vgem().valid()) {
    GTEST_SKIP() << "this kernel has no vgem";
  }
  const DrmDevice device{vgem_path()};
  std::vector<Buffer> buffers;
  for (std::uint32_t i = 0; i < frames; ++i) {
    buffers.push_back(device.create(length).to_buffer());
  }
  share(std::move(buffers), "drm", "copy");
}

/// A virtual camera's buffers, which it exports.
std::vector<Buffer> camera_buffers(int camera, std::uint32_t count, std::size_t least) {
  v4l2_format format{};
  format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  EXPECT_EQ(::ioctl(camera, VIDIOC_G_FMT, &format), 0);
  v4l2_requestbuffers request{};
  request.count = count;
  request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  request.memory = V4L2_MEMORY_MMAP;
  EXPECT_EQ(::ioctl(camera, VIDIOC_REQBUFS, &request), 0);
  EXPECT_GE(format.fmt.pix.sizeimage, least);
  std::vector<Buffer> buffers;
  for (std::uint32_t i = 0; i < request.count; ++i) {
    v4l2_exportbuffer exported{};
    exported.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    exported.index = i;
    exported.flags = O_RDWR | O_CLOEXEC;
    EXPECT_EQ(::ioctl(camera, VIDIOC_EXPBUF, &exported), 0) << std::strerror(errno);
    buffers.emplace_back(UniqueFd{exported.fd}, format.fmt.pix.sizeimage, Buffer::Kind::dma_buf);
  }
  return buffers;
}

TEST_F(ShareForeign, BuffersOfACameraThatHavePagesAreSentWithoutACopy) {
  if (!load_vivid()) {
    GTEST_SKIP() << "this kernel has no vivid";
  }
  const UniqueFd camera{::open(vivid_node(VividCamera::vmap).c_str(), O_RDWR | O_CLOEXEC)};
  ASSERT_TRUE(camera.valid());
  share(camera_buffers(camera.get(), frames, length), "videobuf2_vmalloc", "plain");
}

}  // namespace
}  // namespace dmawire::test
