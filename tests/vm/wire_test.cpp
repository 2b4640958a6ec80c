// SPDX-License-Identifier: MIT
//
// From src to dst over the guest's two network cards, with the programs a user would run.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <dmawire/device.hpp>
#include <dmawire/stream.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "abi.hpp"
#include "eventually.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "kprobe_counter.hpp"
#include "process.hpp"
#include "transfer.hpp"

namespace dmawire::test {
namespace {

constexpr std::size_t kMebibyte = 1024 * 1024;

const Wire over_the_cards{.source_netns = "src", .destination_netns = "dst", .host = "192.0.2.2"};
const Wire over_the_cards_v6{
    .source_netns = "src", .destination_netns = "dst", .host = "[2001:db8::2]"};
const Wire over_loopback{.source_netns = "src", .destination_netns = "src", .host = "127.0.0.1"};

/// Bytes that are cheap to make and nowhere alike; writes them to a pipe until it breaks.
class PatternSource {
 public:
  explicit PatternSource(std::size_t bytes) {
    ::signal(SIGPIPE, SIG_IGN);  // a reader that went away shows as EPIPE
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read_end_.reset(ends[0]);
    ::fcntl(ends[1], F_SETPIPE_SZ, int{kMebibyte});  // fewer switches between its ends
    writer_ = std::thread{[bytes, write_end = ends[1]] {
      std::vector<std::uint64_t> block(8 * 1024);
      std::size_t written = 0;
      for (std::uint64_t number = 0; written < bytes; ++number) {
        for (std::size_t i = number % 8; i < block.size(); i += 8) {
          block[i] = (number << 32 | i) * 0x9e3779b97f4a7c15;
        }
        const ssize_t count = ::write(write_end, block.data(),
                                      std::min(bytes - written, block.size() * sizeof(block[0])));
        if (count <= 0) {
          break;
        }
        written += static_cast<std::size_t>(count);
      }
      ::close(write_end);
    }};
  }
  ~PatternSource() {
    read_end_.reset();
    writer_.join();
  }
  [[nodiscard]] int fd() const noexcept { return read_end_.get(); }

 private:
  UniqueFd read_end_;
  std::thread writer_;
};

/// Bytes to send that take more than one buffer: fewer where a packet costs milliseconds.
std::size_t scaled(std::size_t bytes) {
  return is_debug_kernel() ? bytes / 4 : bytes;
}

const std::string sample = "/tmp/sample";

/// A file of bytes from the kernel's generator, there before any suite counts its memory.
class SampleFile : public testing::Environment {
 public:
  void SetUp() override {
    std::vector<char> bytes(scaled(12 * kMebibyte) + 12'345);
    const auto size = static_cast<std::streamsize>(bytes.size());
    std::ifstream{"/dev/urandom", std::ios::binary}.read(bytes.data(), size);
    std::ofstream{sample, std::ios::binary}.write(bytes.data(), size);
    std::filesystem::permissions(sample, std::filesystem::perms{0644});
  }
  void TearDown() override { std::filesystem::remove(sample); }
};
[[maybe_unused]] testing::Environment* const sample_file_made =
    testing::AddGlobalTestEnvironment(new SampleFile);

class PathTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string{GetParam()} == "direct" && !has_direct()) {
      const Outcome outcome = transfer(over_the_cards, {"--file", sample, "--tx", "direct"});
      EXPECT_EQ(outcome.sender.status, 3);
      EXPECT_NE(outcome.sender.err.find("EOPNOTSUPP"), std::string::npos) << outcome.sender.err;
      GTEST_SKIP() << "this kernel has no direct path, and says so";
    }
  }
};

class WirePath : public PathTest {};
INSTANTIATE_TEST_SUITE_P(Every, WirePath,
                         testing::Values("direct", "fixed", "plain", "msg", "copy", "auto"),
                         [](const auto& parameter) { return std::string{parameter.param}; });

TEST_P(WirePath, DeliversAFileUnchanged) {
  const Outcome outcome = transfer(over_the_cards, {"--file", sample, "--tx", GetParam()});
  EXPECT_TRUE(outcome.verified()) << outcome.complaints() << outcome.sent << outcome.received;
}

TEST_P(WirePath, DeliversFromEveryBacking) {
  const HugePages pages{2 * kMebibyte, 8};
  ASSERT_TRUE(pages.available());
  for (const std::string backing : {"memfd", "memfd:2M", "user", "contig"}) {
    SCOPED_TRACE(backing);
    const Outcome outcome =
        transfer(over_the_cards, {"--file", sample, "--tx", GetParam(), "--backing", backing,
                                  "--size", "60000", "--buffers", "100"});
    EXPECT_TRUE(outcome.verified()) << outcome.complaints() << outcome.sent << outcome.received;
  }
}

TEST_P(WirePath, DeliversFromACmaAreaOrSaysWhyNot) {
  if ((module_info().out_features & DMAWIRE_FEATURE_CMA) == 0) {
    GTEST_SKIP() << "this guest has no CMA area: ci/vm --append cma=64M";
  }
  const std::vector<std::string> options{"--file",     sample,   "--tx",  GetParam(),  "--backing",
                                         "contig:cma", "--size", "60000", "--buffers", "100"};
  if (std::string{GetParam()} != "fixed") {
    const Outcome outcome = transfer(over_the_cards, options);
    EXPECT_TRUE(outcome.verified()) << outcome.complaints() << outcome.sent << outcome.received;
    return;
  }
  std::vector<std::string> command{"uring_app", "send", "127.0.0.1:9", "--udp"};
  command.insert(command.end(), options.begin(), options.end());
  const Process::Result result = run(command);
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("memory of a CMA area"), std::string::npos) << result.err;
}

TEST(Wire, SaysThatThereAreNoHugePages) {
  const HugePages pages{2 * kMebibyte, 0};
  const Process::Result result =
      run({"uring_app", "send", "192.0.2.2:9", "--file", sample, "--backing", "memfd:2M"});
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("vm.nr_hugepages"), std::string::npos) << result.err;
}

TEST_P(WirePath, DeliversFramesOfAnOddSizeFromAPipe) {
  const PatternSource source{3 * kMebibyte + 7};
  const Outcome outcome = transfer(
      over_the_cards, {"-", "--tx", GetParam(), "--size", "1471", "--buffers", "33"}, source.fd());
  EXPECT_TRUE(outcome.verified()) << outcome.complaints() << outcome.sent << outcome.received;
  EXPECT_EQ(outcome.sent["bytes"], 3 * kMebibyte + 7);
}

TEST_P(WirePath, DeliversOverIpv6) {
  const Outcome outcome = transfer(over_the_cards_v6, {"--file", sample, "--tx", GetParam()});
  EXPECT_TRUE(outcome.verified()) << outcome.complaints() << outcome.sent << outcome.received;
}

TEST_P(WirePath, DeliversDatagramsAndTellsTheReceiverWhenTheyEnd) {
  const PatternSource source{kMebibyte};  // the receiver's socket has room for it
  Receiver receiver{{"--udp", "--hash"}, "dst"};
  Process sender{send_command("192.0.2.2", receiver.port(),
                              {"-", "--udp", "--hash", "--tx", GetParam(), "--verify-copies"}),
                 {.netns = "src", .input = source.fd()}};
  const Process::Result result = sender.wait();
  ASSERT_EQ(result.status, 0) << result.err;
  const auto sent = nlohmann::json::parse(result.out);
  const auto received = nlohmann::json::parse(receiver.process().wait().out);
  EXPECT_EQ(sent["bytes"], kMebibyte);
  EXPECT_EQ(sent["xxh3"], received["xxh3"]) << sent << received;
  if (sent["notifications"] > 0) {
    EXPECT_EQ(sent["copied"], 0) << sent;
  }
  EXPECT_EQ(sent["kernel_copies"], 0);
}

class ZeroCopyPath : public PathTest {};
INSTANTIATE_TEST_SUITE_P(Every, ZeroCopyPath, testing::Values("direct", "fixed", "plain", "msg"),
                         [](const auto& parameter) { return std::string{parameter.param}; });

TEST_P(ZeroCopyPath, CopiesNothingOverTheCardsAndTheKernelAgrees) {
  const KprobeCounter copies{copies_payload};
  const Outcome outcome = transfer(over_the_cards, {"--file", sample, "--tx", GetParam()});
  ASSERT_TRUE(outcome.verified()) << outcome.complaints();
  const auto& sent = outcome.sent;
  EXPECT_EQ(sent["copied"], 0) << sent;
  EXPECT_EQ(sent["zerocopied"].get<int>() + sent["merged"].get<int>(), sent["notifications"]);
  EXPECT_GT(sent["zerocopied"], 0);
  EXPECT_EQ(sent["notifications"], sent["sends"]);
  EXPECT_EQ(copies.calls(), 0U);
}

TEST_P(ZeroCopyPath, IsCopiedOnLoopbackAndTheKernelAgrees) {
  const KprobeCounter copies{copies_payload};
  const Outcome outcome =
      transfer(over_loopback, {"--file", sample, "--tx", GetParam(), "--verify-copies"});
  ASSERT_TRUE(outcome.verified()) << outcome.complaints();
  EXPECT_EQ(outcome.sent["zerocopied"], 0) << outcome.sent;
  EXPECT_EQ(outcome.sent["copied"], outcome.sent["notifications"]);
  EXPECT_GT(copies.calls(), 0U);
  EXPECT_EQ(outcome.sent["kernel_copies"], copies.calls());
}

TEST(Auto, CopiesOnLoopbackWhereTheKernelWouldCopyAnyway) {
  const Outcome outcome = transfer(over_loopback, {"--file", sample});
  ASSERT_TRUE(outcome.verified()) << outcome.complaints();
  EXPECT_EQ(outcome.sent["path"], "copy") << outcome.sent;
}

TEST(Auto, StopsPayingForZeroCopyOverVeth) {
  run({"modprobe", "veth"});
  for (const Words& words : {Words{"-n", "src", "link", "add", "veth0", "type", "veth", "peer",
                                   "name", "veth1", "netns", "dst"},
                             Words{"-n", "src", "addr", "add", "203.0.113.1/24", "dev", "veth0"},
                             Words{"-n", "dst", "addr", "add", "203.0.113.2/24", "dev", "veth1"},
                             Words{"-n", "src", "link", "set", "veth0", "up"},
                             Words{"-n", "dst", "link", "set", "veth1", "up"}}) {
    Words command{"ip"};
    command.insert(command.end(), words.begin(), words.end());
    const Process::Result result = run(command);
    ASSERT_EQ(result.status, 0) << result.err;
  }
  const PatternSource source{scaled(64 * kMebibyte)};
  const Outcome outcome =
      transfer({.source_netns = "src", .destination_netns = "dst", .host = "203.0.113.2"}, {"-"},
               source.fd());
  run({"ip", "-n", "src", "link", "del", "veth0"});
  ASSERT_TRUE(outcome.verified()) << outcome.complaints();
  EXPECT_EQ(outcome.sent["path"], "copy") << outcome.sent;
  EXPECT_GT(outcome.sent["copied"], 0) << "this is how it was noticed";
}

TEST(Exporters, MainlineMappingsAnswerEfaultWhereOursIsSent) {
  ASSERT_TRUE(std::filesystem::exists("/dev/udmabuf"));
  ASSERT_TRUE(std::filesystem::exists("/dev/dma_heap/system"));
  Words sources{"udmabuf", "dma-heap"};
  if (is_debug_kernel()) {
    // With large folios udmabuf maps segments longer than the maximum that it declared, which this
    // kernel reports for any driver.
    std::cout << "not from udmabuf here: the watch over the DMA API ends the guest for a fault of "
                 "udmabuf's own\n";
    sources = {"dma-heap"};
  }
  for (const char* path : {"fixed", "plain"}) {
    for (const std::string& source : sources) {
      const Outcome outcome =
          transfer(over_the_cards, {"--file", sample, "--tx", path, "--source", source});
      EXPECT_NE(outcome.sender.status, 0) << path << " from " << source << " was sent";
      EXPECT_NE(outcome.sender.err.find("EFAULT"), std::string::npos) << outcome.sender.err;
    }
    const Outcome ours =
        transfer(over_the_cards, {"--file", sample, "--tx", path, "--source", "dmawire"});
    EXPECT_TRUE(ours.verified()) << ours.complaints();
  }
}

TEST(Memory, StaysFlatHoweverMuchGoesThroughARingOfSixteenMebibytes) {
  const Words ring = {"-", "--size", "64K", "--buffers", "256"};
  const PatternSource little{scaled(64 * kMebibyte)};
  const Outcome first = transfer(over_the_cards, ring, little.fd());
  ASSERT_TRUE(first.verified()) << first.complaints();

  const std::size_t total =
      kMebibyte * from_environment("DMAWIRE_FLAT_MIB", is_debug_kernel() ? 32 : 256);
  const PatternSource much{total};
  const Outcome second = transfer(over_the_cards, ring, much.fd());
  ASSERT_TRUE(second.verified()) << second.complaints();
  EXPECT_EQ(second.sent["bytes"], total);
  EXPECT_LT(second.sender.peak_memory, first.sender.peak_memory + 1 * long{kMebibyte});
  EXPECT_LT(second.receiver.peak_memory, first.receiver.peak_memory + 1 * long{kMebibyte});
}

/// A receiver of our own, to misbehave in ways no program would.
class RawReceiver {
 public:
  RawReceiver() {
    const InNamespace there{"dst"};
    listener_ = listen_stream({"", "0"});
  }
  [[nodiscard]] std::string port() const { return std::to_string(local_port(listener_.get())); }
  UniqueFd accept() { return accept_stream(listener_.get()); }

 private:
  UniqueFd listener_;
};

std::size_t drain(int socket) {
  std::vector<char> chunk(kMebibyte);
  std::size_t total = 0;
  for (ssize_t count; (count = ::read(socket, chunk.data(), chunk.size())) > 0;) {
    total += static_cast<std::size_t>(count);
  }
  return total;
}

TEST_P(WirePath, WaitsForAStalledReceiverWithoutSpinningOrGrowing) {
  const std::size_t total = scaled(64 * kMebibyte);
  const PatternSource source{total};
  RawReceiver receiver;
  Process sender{send_command("192.0.2.2", receiver.port(),
                              {"-", "--tx", GetParam(), "--size", "64K", "--buffers", "64"}),
                 {.netns = "src", .input = source.fd()}};
  const UniqueFd connection = receiver.accept();

  sender.wait_until_idle();  // every buffer is full
  const auto cpu_before = sender.cpu_time();
  const long memory_before = sender.memory("VmRSS");
  std::this_thread::sleep_for(std::chrono::seconds{1});
  EXPECT_LT((sender.cpu_time() - cpu_before).count(), 25) << "milliseconds of CPU while stalled";
  EXPECT_EQ(sender.memory("VmRSS"), memory_before);

  EXPECT_EQ(drain(connection.get()), total);
  const Process::Result result = sender.wait();
  EXPECT_EQ(result.status, 0) << result.err;
}

TEST_P(WirePath, SaysSoWhenThePeerGoesAwayMidTransfer) {
  const PatternSource source{scaled(64 * kMebibyte)};
  RawReceiver receiver;
  Process sender{send_command("192.0.2.2", receiver.port(), {"-", "--tx", GetParam()}),
                 {.netns = "src", .input = source.fd()}};
  UniqueFd connection = receiver.accept();
  char byte;
  ASSERT_EQ(::read(connection.get(), &byte, 1), 1);
  connection.reset();  // with data unread: the peer is told by a reset

  const Process::Result result = sender.wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("the receiver closed the connection"), std::string::npos) << result.err;
}

TEST(Strangers, NetcatReceivesWhatWeSend) {
  Process netcat{{"nc.openbsd", "-l", "192.0.2.2", "7001"}, {.netns = "dst"}};
  Process::Result result{};
  EXPECT_TRUE(eventually([&] {  // it listens
    result =
        Process{send_command("192.0.2.2", "7001", {"--file", sample}), {.netns = "src"}}.wait();
    return result.status == 0;
  })) << result.err;
  const std::string received = netcat.wait().out;
  std::ifstream file{sample, std::ios::binary};
  const std::string sent{std::istreambuf_iterator<char>{file}, {}};
  EXPECT_TRUE(received == sent);
}

TEST(Strangers, SocatAndCurlSendWhatWeReceive) {
  const auto file_size = std::filesystem::file_size(sample);
  {
    Receiver receiver{{"--hash"}, "dst"};
    Process socat{{"socat", "-u", "OPEN:" + sample, "TCP:192.0.2.2:" + receiver.port()},
                  {.netns = "src"}};
    EXPECT_EQ(socat.wait().status, 0);
    EXPECT_EQ(nlohmann::json::parse(receiver.process().wait().out)["bytes"], file_size);
  }
  // Telnet escapes bytes of 255, so text. curl waits for an answer until its time is over.
  std::ofstream{"/tmp/text"} << read_text("/proc/kallsyms").substr(0, 64 * 1024);
  const UniqueFd input{::open("/tmp/text", O_RDONLY | O_CLOEXEC)};
  Receiver receiver{{"--out", "/tmp/received"}, "dst"};
  Process curl{{"curl", "-s", "--max-time", "5", "telnet://192.0.2.2:" + receiver.port()},
               {.netns = "src", .input = input.get()}};
  EXPECT_EQ(receiver.process().wait().status, 0);
  const Process::Result difference = run({"cmp", "/tmp/text", "/tmp/received"});
  EXPECT_EQ(difference.status, 0) << difference.out << difference.err << curl.wait().err;
  ::unlink("/tmp/text");
  ::unlink("/tmp/received");
}

TEST(Receiver, SaysSoWhenTheDiskIsFull) {
  ASSERT_EQ(::mkdir("/tmp/small", 0700), 0);
  ASSERT_EQ(::mount("tmpfs", "/tmp/small", "tmpfs", 0, "size=1m"), 0);
  {
    // More than the receiver's socket ever holds (32 MiB): bytes in the socket count as arrived.
    const PatternSource source{64 * kMebibyte};
    Receiver receiver{{"--out", "/tmp/small/file"}, "dst"};
    Process sender{send_command("192.0.2.2", receiver.port(), {"-"}),
                   {.netns = "src", .input = source.fd()}};
    const Process::Result received = receiver.process().wait();
    EXPECT_EQ(received.status, 1);
    EXPECT_NE(received.err.find("ENOSPC"), std::string::npos) << received.err;
    EXPECT_NE(received.err.find("the disk is full"), std::string::npos) << received.err;
    EXPECT_EQ(sender.wait().status, 1);
  }
  EXPECT_EQ(::umount("/tmp/small"), 0);
  ::rmdir("/tmp/small");
}

TEST(Receiver, StoresWhatArrives) {
  Receiver receiver{{"--out", "/tmp/stored"}, "dst"};
  Process sender{send_command("192.0.2.2", receiver.port(), {"--file", sample}), {.netns = "src"}};
  EXPECT_EQ(sender.wait().status, 0);
  EXPECT_EQ(receiver.process().wait().status, 0);
  EXPECT_EQ(run({"cmp", sample, "/tmp/stored"}).status, 0);
  ::unlink("/tmp/stored");
}

TEST(Info, NamesKernelModuleDeviceAndEveryPath) {
  const Process::Result result = run({"uring_app", "info", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto info = nlohmann::json::parse(result.out);
  EXPECT_TRUE(info["kernel"].get<std::string>().starts_with("Linux "));
  EXPECT_EQ(info["module"], read_text("/sys/module/dmawire/version").substr(0, 5));
  EXPECT_EQ(info["device"]["node"], "/dev/dmawire0");
  for (const auto& path : info["paths"]) {
    EXPECT_EQ(path["available"], path["path"] != "direct" || has_direct()) << path;
  }
  EXPECT_EQ(info["paths"].size(), 5U);
  EXPECT_EQ(info["auto"], has_direct() ? "direct" : "fixed");
}

TEST(Info, TellsWhichDeviceTheRouteTakesAndWhetherItCopies) {
  const nlohmann::json card = route_to("192.0.2.2");
  EXPECT_EQ(card["device"], "eth0");
  EXPECT_EQ(card["driver"], "e1000e");
  EXPECT_EQ(card["mtu"], 1500);
  EXPECT_EQ(card["copies"], false) << card;
  EXPECT_EQ(route_to("2001:db8::2")["device"], "eth0");
  EXPECT_EQ(route_to("198.51.100.2")["copies"], false);
  const nlohmann::json own = route_to("192.0.2.1");
  EXPECT_EQ(own["device"], "lo");
  EXPECT_EQ(own["copies"], true);
  EXPECT_NE(own["reason"].get<std::string>().find("this machine"), std::string::npos) << own;

  run({"modprobe", "veth"});
  ASSERT_EQ(
      run({"ip", "-n", "src", "link", "add", "veth0", "type", "veth", "peer", "veth1"}).status, 0);
  run({"ip", "-n", "src", "addr", "add", "203.0.113.1/24", "dev", "veth0"});
  run({"ip", "-n", "src", "link", "set", "veth0", "up"});
  const nlohmann::json pair = route_to("203.0.113.2");
  EXPECT_EQ(pair["driver"], "veth");
  EXPECT_EQ(pair["copies"], true) << pair;
  run({"ip", "-n", "src", "link", "del", "veth0"});
}

TEST(Info, SaysWhereThereIsNoRoute) {
  Process info{{"uring_app", "info", "203.0.113.9"}, {.netns = "src"}};
  const Process::Result result = info.wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("ENETUNREACH"), std::string::npos) << result.err;
}

TEST(Unloaded, InfoAndSendSayThatTheModuleIsMissing) {
  ASSERT_EQ(unload_dmawire(), 0);
  const Process::Result info = run({"uring_app", "info"});
  EXPECT_EQ(info.status, 0);
  EXPECT_NE(info.out.find("module   not loaded"), std::string::npos) << info.out;

  const Process::Result send = run(send_command("127.0.0.1", "1", {"--file", sample}));
  EXPECT_EQ(send.status, 3);
  EXPECT_NE(send.err.find("the module is not loaded"), std::string::npos) << send.err;

  const Outcome without = transfer(over_the_cards, {"--file", sample, "--source", "memfd"});
  EXPECT_TRUE(without.verified()) << without.complaints();
  EXPECT_NE(without.sender.err.find("no device can write to it"), std::string::npos);
  ASSERT_EQ(load_dmawire(), 0);
}

TEST(Permission, SendSaysThatTheNodeMayNotBeOpened) {
  Process sender{send_command("127.0.0.1", "1", {"--file", sample}), {.user = 65534}};
  const Process::Result result = sender.wait();
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("EACCES"), std::string::npos) << result.err;
}

TEST(Auto, TakesWhatNeedsNoLockedMemoryWhereItMayNotBeLocked) {
  ASSERT_EQ(::chmod("/dev/dmawire0", 0666), 0);
  Receiver receiver{{}, "dst"};
  Process sender{{"uring_app", "send", "192.0.2.2:" + receiver.port(), "--file", sample},
                 {.netns = "src", .user = 65534, .locked_memory_limit = 8 * long{kMebibyte}}};
  const Process::Result result = sender.wait();
  ::chmod("/dev/dmawire0", 0660);
  EXPECT_EQ(result.status, 0) << result.err;
  if (has_direct()) {
    EXPECT_NE(result.out.find("direct (zero-copy"), std::string::npos) << result.out;
  } else {
    EXPECT_NE(result.out.find("plain (zero-copy"), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("not fixed: registering 16 buffers"), std::string::npos)
        << result.out;
  }
  EXPECT_EQ(receiver.process().wait().status, 0);
}

}  // namespace
}  // namespace dmawire::test
