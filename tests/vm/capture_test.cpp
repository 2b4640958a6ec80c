// SPDX-License-Identifier: MIT
//
// From a device over the guest's two network cards, with the programs a user would run: mostly from
// `pattern`, which every machine has.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <dmawire/capture.hpp>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

#include "abi.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "eventually.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "kprobe_counter.hpp"
#include "process.hpp"
#include "pulled_cable.hpp"
#include "transfer.hpp"

namespace dmawire::test {
namespace {

constexpr std::uint64_t kMebibyte = 1024 * 1024;

std::string many(unsigned count) {
  return std::to_string(fewer_if_watched(count));
}

/// `pattern` fills and checks whole frames, or only their headers, while this lives.
class HeadersOnly {
 public:
  HeadersOnly() { EXPECT_TRUE(write_text(parameter, "N")); }
  ~HeadersOnly() { EXPECT_TRUE(write_text(parameter, "Y")); }
  HeadersOnly(const HeadersOnly&) = delete;
  HeadersOnly& operator=(const HeadersOnly&) = delete;

 private:
  static constexpr const char* parameter = "/sys/module/dmawire/parameters/pattern_payload";
};

/// `send --device N` to a `recv --check-frames`.
class DeviceStream : public Stream {
 public:
  explicit DeviceStream(const Words& sending, const Words& receiving = {}, int device = 0)
      : Stream{words({"--device", std::to_string(device)}, sending),
               words({"--check-frames"}, receiving)} {}

  /// Nothing is unaccounted for, at the sender and between the two.
  void expect_adds_up() const {
    EXPECT_EQ(sent["captured"].get<std::uint64_t>(),
              sent["sent_frames"].get<std::uint64_t>() + sent["dropped"].get<std::uint64_t>());
    EXPECT_EQ(received["frames"], sent["sent_frames"]) << sent << received;
    EXPECT_EQ(received["bytes"], sent["bytes"]);
    EXPECT_EQ(received["bad"], 0);
    // Frames lost before the first one show only in the first frame's number.
    EXPECT_EQ(
        received["lost"].get<std::uint64_t>() + received["first_sequence"].get<std::uint64_t>(),
        sent["lost"].get<std::uint64_t>())
        << sent << received;
  }
};

/// The device has no owner and no attachment, or will have lost them soon: the kernel takes down
/// the ring of a killed process in the background.
void expect_free() {
  const Device device;
  const FramePool pool = make_capture_pool(device, 1, 4096);
  EXPECT_TRUE(eventually([&] {
    try {
      EXPECT_FALSE(device.detach(device.attach(pool.buffers()[0].fd())));
      return true;
    } catch (const Error& error) {
      if (error.code() != EBUSY) {
        throw;
      }
      return false;
    }
  }));
}

TEST(Capture, InfoTellsWhatTheDeviceCan) {
  const Process::Result text = run({"uring_app", "info"});
  EXPECT_NE(text.out.find("/dev/dmawire0  pattern: captures"), std::string::npos) << text.out;
  const auto json = nlohmann::json::parse(run({"uring_app", "info", "--json"}).out);
  EXPECT_EQ(json["devices"][0]["driver"], "pattern");
  EXPECT_EQ(json["devices"][0]["captures"], true);
}

/// Without real cards in the guest, all data from src to dst is copied.
bool wire_copies() {
  return route_to("192.0.2.2")["copies"];
}

std::string best_path() {
  if (wire_copies()) {
    return "copy";
  }
  return has_direct() ? "direct" : "fixed";
}

TEST(Capture, InfoTellsOfTheBackings) {
  const auto json = nlohmann::json::parse(run({"uring_app", "info", "--json"}).out);
  std::vector<std::string> names;
  for (const auto& one : json["backings"]) {
    names.push_back(one["backing"]);
  }
  std::vector<std::string> expected{"pages", "memfd", "memfd:2M", "memfd:1G", "user", "contig"};
  if ((module_info().out_features & DMAWIRE_FEATURE_CMA) != 0) {
    expected.emplace_back("contig:cma");
  }
  EXPECT_EQ(names, expected);
  EXPECT_NE(run({"uring_app", "info"}).out.find("memory   pages, memfd, memfd:2M ("),
            std::string::npos);
}

class CapturePath : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string{GetParam()} == "direct" && !has_direct()) {
      GTEST_SKIP() << "this kernel has no direct path";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Every, CapturePath,
                         testing::Values("auto", "direct", "fixed", "plain", "copy"),
                         [](const auto& parameter) { return std::string{parameter.param}; });

TEST_P(CapturePath, DeliversEveryFrameOverTcp) {
  const unsigned frames = fewer_if_watched(2000);
  DeviceStream stream{{"--frames", std::to_string(frames), "--tx", GetParam()}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  EXPECT_EQ(stream.sent["captured"], frames);
  EXPECT_EQ(stream.sent["sent_frames"], frames);
  EXPECT_EQ(stream.sent["lost"], 0);
  if (std::string{GetParam()} == "auto") {
    EXPECT_EQ(stream.sent["path"], best_path());
  }
  expect_free();
}

TEST_P(CapturePath, DeliversFramesFromEveryBacking) {
  const HugePages pages{2 * kMiB, 16};
  ASSERT_TRUE(pages.available());
  for (const std::string backing : {"memfd", "memfd:2M", "user", "contig"}) {
    SCOPED_TRACE(backing);
    DeviceStream stream{{"--frames", many(500), "--tx", GetParam(), "--backing", backing}};
    ASSERT_NO_FATAL_FAILURE(stream.finish());
    stream.expect_adds_up();
    EXPECT_EQ(stream.sent["sent_frames"], fewer_if_watched(500));
  }
}

TEST_P(CapturePath, DeliversFramesOfAnOddSize) {
  const unsigned frames = fewer_if_watched(3000);
  DeviceStream stream{{"--frames", std::to_string(frames), "--tx", GetParam(), "--size", "5000",
                       "--buffers", "33"}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  EXPECT_EQ(stream.sent["bytes"], frames * 5056);  // whole units of the device
}

TEST_P(CapturePath, DeliversDatagramsAtARateThatTheReceiverKeepsUpWith) {
  const unsigned frames = fewer_if_watched(1000);
  const std::string number = std::to_string(frames);
  DeviceStream stream{{"--frames", number, "--tx", GetParam(), "--udp", "--rate", number},
                      {"--udp"}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  EXPECT_EQ(stream.received["frames"], frames);
}

TEST_P(CapturePath, CopiesNothing) {
  if (std::string{GetParam()} == "copy") {
    GTEST_SKIP() << "it is there to copy";
  }
  if (wire_copies()) {
    GTEST_SKIP() << "the wire copies: " << route_to("192.0.2.2")["reason"];
  }
  DeviceStream stream{{"--frames", many(500), "--tx", GetParam(), "--verify-copies"}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  EXPECT_EQ(stream.sent["copied"], 0) << stream.sent;
  EXPECT_EQ(stream.sent["kernel_copies"], 0);
}

/// How much of the dma-bufs that a process has mapped it has mapped, and has ever looked at.
struct MappedDmaBufs {
  explicit MappedDmaBufs(pid_t process) {
    std::ifstream file{"/proc/" + std::to_string(process) + "/smaps"};
    bool ours = false;
    for (std::string line; std::getline(file, line);) {
      std::istringstream words{line};
      std::string key;
      std::uint64_t kilobytes = 0;
      words >> key;
      if (key.find('-') != std::string::npos) {
        ours = line.find("/dmabuf:") != std::string::npos;
      } else if (ours && key == "Size:" && words >> kilobytes) {
        size += kilobytes * 1024;
      } else if (ours && key == "Rss:" && words >> kilobytes) {
        resident += kilobytes * 1024;
      }
    }
  }

  std::uint64_t size = 0;
  std::uint64_t resident = 0;
};

TEST(Capture, TouchesNoByteOfThePayload) {
  if (!has_direct()) {
    GTEST_SKIP() << "this kernel has no direct path";
  }
  if (wire_copies()) {
    GTEST_SKIP() << "the wire copies: " << route_to("192.0.2.2")["reason"];
  }
  const KprobeCounter copies{copies_payload};
  const KprobeCounter sums{sums_payload};
  DeviceStream stream{{"--rate", many(1000), "--verbose"}};
  stream.wait_for_frames();
  const MappedDmaBufs mapped{stream.sender().pid()};
  ASSERT_EQ(::kill(stream.sender().pid(), SIGINT), 0);
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  EXPECT_EQ(stream.sent["path"], "direct");
  EXPECT_GE(mapped.size, 256 * 65'536U);
  EXPECT_EQ(mapped.resident, 0U) << "the program has looked at frames";
  EXPECT_EQ(copies.calls(), 0U);
  EXPECT_EQ(sums.calls(), 0U);
}

/// Where frames come faster than they are taken; a kernel that watches takes its time.
void expect_few_system_calls(const DeviceStream& stream) {
  if (!is_debug_kernel()) {
    EXPECT_GE(stream.sent["frames_per_syscall"], 16) << stream.sent;
  }
}

TEST(Capture, LosesNoFrameOfManyAndMakesOneSystemCallForSixteen) {
  const HeadersOnly headers_only;
  const unsigned frames = fewer_if_watched(100'000);
  DeviceStream stream{{"--frames", std::to_string(frames), "--size", "4K"}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  EXPECT_EQ(stream.sent["lost"], 0);
  EXPECT_EQ(stream.sent["sent_frames"], frames);
  expect_few_system_calls(stream);
}

TEST(Capture, MakesOneSystemCallForSixteenLongFramesToo) {
  const HeadersOnly headers_only;
  DeviceStream stream{{"--frames", many(4000)}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  expect_few_system_calls(stream);
}

TEST(Capture, KeepsToTheRateAndSendsALoneFrameAtOnce) {
  const auto start = std::chrono::steady_clock::now();
  const unsigned rate = is_debug_kernel() ? 10 : 100;
  DeviceStream stream{
      {"--frames", std::to_string(2 * rate), "--rate", std::to_string(rate), "--size", "4K"}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_GE(took.count(), 1.98);
  EXPECT_LT(took.count(), is_debug_kernel() ? 20 : 6);
  stream.expect_adds_up();
  EXPECT_EQ(stream.sent["lost"], 0);
  // No frame has waited for the next one.
  EXPECT_LT(stream.sent["latency_to_send_us"]["p50"], 500'000 / rate) << stream.sent;
  EXPECT_GT(stream.sent["latency_to_done_us"]["p50"], 0);
}

TEST(Capture, CountsExactlyWhatTheDeviceHadNoRoomFor) {
  DeviceStream stream{{"--frames", many(3000), "--rate", "200000", "--buffers", "16"}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  EXPECT_GT(stream.sent["lost"], 0) << stream.sent;
  EXPECT_EQ(stream.received["last_sequence"], stream.sent["captured"].get<std::uint64_t>() +
                                                  stream.sent["lost"].get<std::uint64_t>() - 1);
}

TEST(Capture, StopsOnASignalWithASummary) {
  for (const int signal : {SIGINT, SIGTERM}) {
    DeviceStream stream{{"--rate", many(500), "--size", "4K", "--verbose"}};
    stream.wait_for_frames();
    ASSERT_EQ(::kill(stream.sender().pid(), signal), 0);
    ASSERT_NO_FATAL_FAILURE(stream.finish());
    stream.expect_adds_up();
    EXPECT_EQ(stream.sent["dropped"], 0);
    EXPECT_GT(stream.sent["captured"], 0);
    EXPECT_GT(stream.sent["canceled"], 0) << "the device had room when it was stopped";
    expect_free();
  }
}

TEST(Capture, StopsOnASignalThoughTheDeviceIsAsleep) {
  // Nothing else can end its wait: no tick of --verbose, and a device that is stopped.
  DeviceStream stream{{"--rate", "1", "--size", "16K"}};
  stream.wait_for_traffic();
  ASSERT_EQ(::kill(stream.sender().pid(), SIGINT), 0);
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  EXPECT_GT(stream.sent["captured"], 0);
}

TEST(Capture, DiesAtOnceOfASecondSignal) {
  DeviceStream stream{{}};
  ASSERT_EQ(::kill(stream.receiver().pid(), SIGSTOP), 0);
  ASSERT_TRUE(eventually([&] { return stream.sender().blocks(SIGINT); }));
  stream.sender().wait_until_idle();  // the wire is full, and stays so
  ASSERT_EQ(::kill(stream.sender().pid(), SIGINT), 0);
  ASSERT_TRUE(eventually([&] { return !stream.sender().blocks(SIGINT); }));
  ASSERT_EQ(::kill(stream.sender().pid(), SIGINT), 0);
  EXPECT_EQ(stream.sender().wait().status, 128 + SIGINT);
  ASSERT_EQ(::kill(stream.receiver().pid(), SIGKILL), 0);
  expect_free();
}

TEST(Capture, IsKilledMidStreamAndLeavesTheDeviceFree) {
  for (int round = 0; round < 5; ++round) {
    DeviceStream stream{{}};
    std::this_thread::sleep_for(std::chrono::milliseconds{150 + 37 * round});
    stream.sender().kill();
    EXPECT_EQ(stream.sender().wait().status, 128 + SIGKILL);
    stream.receiver().kill();
    stream.receiver().wait();
    expect_free();
  }
}

TEST(Capture, SaysSoWhenTheReceiverGoesAway) {
  DeviceStream stream{{"--verbose"}};
  stream.wait_for_frames();
  stream.receiver().kill();
  ASSERT_NO_FATAL_FAILURE(stream.finish(1, 128 + SIGKILL));
  EXPECT_NE(stream.complaint.find("the receiver closed the connection"), std::string::npos)
      << stream.complaint;
  EXPECT_EQ(stream.sent["captured"].get<std::uint64_t>(),
            stream.sent["sent_frames"].get<std::uint64_t>() +
                stream.sent["dropped"].get<std::uint64_t>());
  expect_free();
}

TEST(Capture, GoesOnWhenAStalledReceiverReadsAgain) {
  DeviceStream stream{{"--frames", many(3000), "--rate", many(2000), "--buffers", "64"}};
  ASSERT_EQ(::kill(stream.receiver().pid(), SIGSTOP), 0);
  stream.sender().wait_until_idle();
  const auto cpu = stream.sender().cpu_time();
  std::this_thread::sleep_for(std::chrono::seconds{1});
  EXPECT_LT((stream.sender().cpu_time() - cpu).count(), 50) << "milliseconds while stalled";
  ASSERT_EQ(::kill(stream.receiver().pid(), SIGCONT), 0);
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  EXPECT_GT(stream.sent["lost"], 0) << "there was no room meanwhile";
}

TEST(Capture, GoesOnWhenThePulledCableIsBack) {
  DeviceStream stream{{"--frames", many(4000), "--rate", many(2000), "--size", "16K", "--verbose"}};
  stream.wait_for_frames();
  {
    PulledCable cable;
    std::this_thread::sleep_for(std::chrono::milliseconds{700});
  }
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
}

TEST(Capture, IsForOneProgramAtATime) {
  DeviceStream stream{{"--rate", "100", "--size", "4K", "--verbose"}};
  stream.wait_for_frames();
  DeviceStream second{{"--frames", "1"}};
  const Process::Result result = second.sender().wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("another program captures from it"), std::string::npos) << result.err;
  second.receiver().kill();
  second.receiver().wait();
  ASSERT_EQ(::kill(stream.sender().pid(), SIGINT), 0);
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
}

TEST(Capture, NeedsARing) {
  DeviceStream stream{{"--tx", "msg", "--frames", "1"}};
  const Process::Result result = stream.sender().wait();
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("choose another path than msg"), std::string::npos) << result.err;
  stream.receiver().kill();
  stream.receiver().wait();
}

TEST(Capture, RefusesARateThatIsTooHigh) {
  DeviceStream stream{{"--rate", "1000000000", "--frames", "1"}};
  const Process::Result result = stream.sender().wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("cannot make so many frames a second"), std::string::npos)
      << result.err;
  stream.receiver().kill();
  stream.receiver().wait();
  expect_free();
}

class CaptureFromCard : public testing::Test {
 protected:
  void SetUp() override {
    if (!card_.present()) {
      GTEST_SKIP() << "this machine has no edu device";
    }
    driver_.emplace("dmawire_edu", EduCard::driver_parameters());
    number_ = number_of_driver("edu");
    ASSERT_TRUE(number_.has_value());
  }

  /// The stream ends by itself, and says why.
  static void expect_ends(DeviceStream& stream, const std::string& message) {
    ASSERT_NO_FATAL_FAILURE(stream.finish(1));
    EXPECT_NE(stream.complaint.find(message), std::string::npos) << stream.complaint;
    stream.expect_adds_up();
    EXPECT_GT(stream.sent["captured"], 0);
    EXPECT_EQ(stream.sent["dropped"], 0) << "what was captured has been sent";
  }

  const EduCard card_;
  std::optional<DriverModule> driver_;
  std::optional<int> number_;
};

TEST_F(CaptureFromCard, DeliversEveryFrame) {
  // A page takes the card a tenth of a second.
  DeviceStream stream{{"--frames", "10", "--size", "10000"}, {}, *number_};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  EXPECT_EQ(stream.received["frames"], 10);
  EXPECT_EQ(stream.sent["lost"], 0);
}

TEST_F(CaptureFromCard, UnboundInMidStreamIsSaidToBeGone) {
  DeviceStream stream{{"--size", "4K", "--verbose"}, {}, *number_};
  stream.wait_for_frames();
  EXPECT_TRUE(card_.unbind());
  expect_ends(stream, "the device is gone");
  EXPECT_TRUE(card_.bind());
}

TEST_F(CaptureFromCard, CutOffInMidStreamIsSaidToHaveFailed) {
  DeviceStream stream{{"--size", "4K", "--verbose"}, {}, *number_};
  stream.wait_for_frames();
  card_.cut_off();
  expect_ends(stream, "the device failed");
}

/// A disk to record to: ext4 on a loop device.
class Recording : public CapturePath {
 protected:
  static void SetUpTestSuite() {
    for (const char* module : {"loop", "ext4"}) {
      load_kernel_module(module);
    }
    std::ofstream{image}.close();
    // Smaller where it is filled more slowly.
    std::filesystem::resize_file(image, (is_debug_kernel() ? 24 : 96) * kMebibyte);
    ::mkdir(directory.c_str(), 0700);
    expect_runs({"mke2fs", "-F", "-b", "4096", image});
    expect_runs({"mount", "-t", "ext4", "-o", "loop", image, directory});
  }
  static void TearDownTestSuite() {
    expect_runs({"umount", directory});
    ::rmdir(directory.c_str());
    ::unlink(image.c_str());
  }
  static void expect_runs(const Words& command) {
    const Process::Result result = run(command);
    EXPECT_EQ(result.status, 0) << command[0] << ": " << result.out << result.err;
  }

  static inline const std::string image = "/tmp/record.image";
  static inline const std::string directory = "/tmp/record";
  const std::string file = directory + "/frames";
};
INSTANTIATE_TEST_SUITE_P(Every, Recording, testing::Values("direct", "fixed", "plain", "copy"),
                         [](const auto& parameter) { return std::string{parameter.param}; });

TEST_P(Recording, HoldsWhatWasReceived) {
  const std::string stored = directory + "/received";
  const unsigned frames = fewer_if_watched(500);
  DeviceStream stream{{"--frames", std::to_string(frames), "--record", file, "--tx", GetParam()},
                      {"--out", stored}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  stream.expect_adds_up();
  EXPECT_EQ(stream.sent["recorded_bytes"], frames * 65'536);
  EXPECT_EQ(std::filesystem::file_size(file), frames * 65'536);
  EXPECT_EQ(run({"cmp", file, stored}).status, 0);
  ::unlink(stored.c_str());
  ::unlink(file.c_str());
}

TEST_P(Recording, PutsFramesOfAnOddSizeOnBlocks) {
  DeviceStream stream{{"--frames", "3", "--size", "5000", "--record", file, "--tx", GetParam()}};
  ASSERT_NO_FATAL_FAILURE(stream.finish());
  EXPECT_EQ(stream.sent["recorded_bytes"], 3 * 5056);
  EXPECT_EQ(std::filesystem::file_size(file), 2 * 8192U + 5056);
  ::unlink(file.c_str());
}

TEST_P(Recording, EndsWithAMessageWhenTheDiskIsFull) {
  DeviceStream stream{{"--record", file, "--tx", GetParam()}};
  ASSERT_NO_FATAL_FAILURE(stream.finish(1));
  EXPECT_NE(stream.complaint.find("the disk is full"), std::string::npos) << stream.complaint;
  stream.expect_adds_up();
  EXPECT_EQ(stream.sent["dropped"], 0) << "what was captured has been sent";
  ::unlink(file.c_str());
  expect_free();
}

TEST(Capture, DeliversWhatADmaControllerCopied) {
  const DriverModule driver("dmawire_dmaengine");
  const std::optional<int> device = number_of_driver("dmaengine");
  if (!device) {
    GTEST_SKIP() << "this machine has no DMA controller that copies memory";
  }
  for (const Words& how : {Words{"--size", "64K"}, Words{"--size", "5000"},
                           Words{"--tx", has_direct() ? "direct" : "fixed"}}) {
    const unsigned frames = fewer_if_watched(500);
    DeviceStream stream{words({"--frames", std::to_string(frames)}, how), {}, *device};
    ASSERT_NO_FATAL_FAILURE(stream.finish());
    stream.expect_adds_up();
    EXPECT_EQ(stream.sent["sent_frames"], frames);
    EXPECT_EQ(stream.sent["lost"], 0);
    EXPECT_EQ(stream.sent["failed"], 0);
  }
}

TEST(RecordingElsewhere, SaysWhyAFileCannotBeMade) {
  DeviceStream stream{{"--frames", "1", "--record", "/nowhere/file"}};
  const Process::Result result = stream.sender().wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("opening /nowhere/file for direct writing: ENOENT"), std::string::npos)
      << result.err;
  stream.receiver().kill();
  stream.receiver().wait();
}

TEST(CaptureLibrary, WorksWithoutASender) {
  const Device device;
  FramePool pool = make_capture_pool(device, 32, 4096);
  Capture capture{device, pool};
  capture.give();
  capture.start();
  std::uint64_t next = 0;
  while (next < 1000) {
    while (const auto captured = capture.next()) {
      ASSERT_EQ(captured->sequence, next++);
      dmawire_frame_header header;
      std::memcpy(&header, captured->frame.bytes().data(), sizeof(header));
      ASSERT_EQ(header.magic, unsigned{DMAWIRE_FRAME_MAGIC});
      ASSERT_EQ(header.sequence, captured->sequence);
    }
    ASSERT_FALSE(capture.give());
    ASSERT_FALSE(capture.wait());
  }
  capture.finish();
  EXPECT_EQ(capture.given(), 0U);
}

}  // namespace
}  // namespace dmawire::test
