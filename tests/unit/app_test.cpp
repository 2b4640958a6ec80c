// SPDX-License-Identifier: MIT
//
// The program as its users and their scripts see it: sentences, statuses, JSON. Needs no module.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <dmawire/stream.hpp>
#include <fstream>
#include <string>

#include "frames.hpp"
#include "transfer.hpp"

namespace dmawire::test {
namespace {

Words app(const Words& arguments) {
  Words command = {URING_APP};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

/// A file with contents that lives as long as the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& contents) {
    const UniqueFd fd{::mkstemp(path_)};
    EXPECT_EQ(::write(fd.get(), contents.data(), contents.size()),
              static_cast<ssize_t>(contents.size()));
  }
  ~TemporaryFile() { ::unlink(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] std::string path() const { return path_; }

 private:
  char path_[32] = "/tmp/dmawire-test.XXXXXX";
};

std::string sample_text(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 1;
  for (char& letter : text) {
    state = state * 1'664'525 + 1'013'904'223;
    letter = static_cast<char>(state >> 24);
  }
  return text;
}

const Wire here{};

void expect_failure(const Words& arguments, int status, const std::string& sentence) {
  const Process::Result result = run(app(arguments));
  EXPECT_EQ(result.status, status) << result.err;
  EXPECT_NE(result.err.find(sentence), std::string::npos) << result.err;
  EXPECT_EQ(result.out, "");
}

TEST(App, ExplainsItself) {
  for (const char* command : {"info", "send", "recv", "share"}) {
    EXPECT_EQ(run(app({command, "--help"})).status, 0);
  }
  EXPECT_EQ(run(app({"--version"})).status, 0);
}

TEST(App, MisuseIsStatusTwo) {
  const Words misuses[] = {{},
                           {"fly"},
                           {"send"},
                           {"send", "127.0.0.1:1"},
                           {"send", "127.0.0.1", "-"},
                           {"send", "127.0.0.1:1", "-", "--file", "x"},
                           {"send", "127.0.0.1:1", "-", "--size", "12Q"},
                           {"send", "127.0.0.1:1", "-", "--size", "0"},
                           {"send", "127.0.0.1:1", "-", "--total", "0"},
                           {"send", "127.0.0.1:1", "-", "--tx", "pigeon"},
                           {"send", "127.0.0.1:1", "-", "--source", "well"},
                           {"send", "127.0.0.1:1", "-", "--buffers", "0"},
                           {"send", "127.0.0.1:1", "-", "--device", "0"},
                           {"send", "127.0.0.1:1", "--file", "x", "--device", "0"},
                           {"send", "127.0.0.1:1", "--device", "zero"},
                           {"send", "127.0.0.1:1", "--device", "0", "--source", "memfd"},
                           {"send", "127.0.0.1:1", "--device", "0", "--total", "1M"},
                           {"send", "127.0.0.1:1", "--device", "0", "--sq-poll"},
                           {"send", "127.0.0.1:1", "--device", "0", "--frames", "0"},
                           {"send", "127.0.0.1:1", "--file", "x", "--frames", "1"},
                           {"send", "127.0.0.1:1", "--file", "x", "--rate", "1"},
                           {"send", "127.0.0.1:1", "--file", "x", "--record", "y"},
                           {"send", "127.0.0.1:1", "--v4l2", "x", "--device", "0"},
                           {"send", "127.0.0.1:1", "--v4l2", "x", "--udp"},
                           {"send", "127.0.0.1:1", "--v4l2", "x", "--size", "4K"},
                           {"send", "127.0.0.1:1", "--v4l2", "x", "--video-size", "640"},
                           {"send", "127.0.0.1:1", "--device", "0", "--format", "YUYV"},
                           {"send", "127.0.0.1:1", "--file", "x", "--video-size", "640x480"},
                           {"drm"},
                           {"drm", "borrow"},
                           {"drm", "import", "--backing", "stone"},
                           {"drm", "export", "--to", "nowhere"},
                           {"send", "--import", "socket"},
                           {"send", "--import", "socket", "--record", "x", "--device", "0"},
                           {"send", "127.0.0.1:1", "--import", "socket", "--file", "x"},
                           {"send", "127.0.0.1:1", "--import", "socket", "--size", "4K"},
                           {"send", "127.0.0.1:1", "--import", "socket", "--rate", "1"},
                           {"share"},
                           {"share", "socket"},
                           {"share", "socket", "-", "--file", "x"},
                           {"share", "socket", "--file", "x", "--device", "0"},
                           {"share", "socket", "--file", "x", "--rate", "1"},
                           {"share", "socket", "-", "--backing", "user"},
                           {"share", "socket", "-", "--clients", "0"},
                           {"share", "socket", "-", "--clients", "4", "--buffers", "4"},
                           {"recv", "0", "--again", "--check-frames"},
                           {"recv"},
                           {"recv", "port"},
                           {"recv", "70000"}};
  for (const Words& misuse : misuses) {
    const Process::Result result = run(app(misuse));
    EXPECT_EQ(result.status, 2) << (misuse.empty() ? "nothing" : misuse.back());
    EXPECT_FALSE(result.err.empty());
  }
}

TEST(App, SaysInASentenceWhatWentWrong) {
  const TemporaryFile file{"data"};
  const Words to_nobody = {"send", "127.0.0.1:1", "--source", "memfd"};
  const auto with = [&](const Words& more) {
    Words words = to_nobody;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  expect_failure(with({"--file", file.path()}), 1, "nothing listens there");
  expect_failure(with({"--file", "/nonexistent"}), 1, "opening /nonexistent: ENOENT");
  expect_failure(with({"--file", "/tmp"}), 1, "reading /tmp: EISDIR");
  expect_failure({"recv", "192.0.2.77:7000"}, 1, "listening on 192.0.2.77:7000: EADDRNOTAVAIL");
  expect_failure({"send", "127.0.0.1:1", "--import", "/nonexistent"}, 1, "nobody shares there");
  expect_failure({"send", "no-such-host.invalid:1", "--source", "memfd", "--file", file.path()}, 1,
                 "looking up no-such-host.invalid");
}

TEST(App, SaysThatThereIsNoDevice) {
  expect_failure({"send", "127.0.0.1:1", "--device", "4711"}, 3,
                 "opening /dev/dmawire4711: ENOENT");
  expect_failure({"share", "/tmp/dmawire-unused", "--device", "4711"}, 3,
                 "opening /dev/dmawire4711: ENOENT");
}

class AppFrames : public testing::Test {
 protected:
  /// The result of `recv --check-frames` for a stream.
  static Process::Result check(const std::string& stream) {
    const TemporaryFile file{stream};
    class Receiver receiver {
      {
        "--check-frames"
      }
    };
    EXPECT_EQ(run(send_command("127.0.0.1", receiver.port(),
                               {"--source", "memfd", "--file", file.path()}))
                  .status,
              0);
    return receiver.process().wait();
  }
};

TEST_F(AppFrames, AreCheckedAndCounted) {
  const Process::Result result = check(make_frame(0, 70'000) + make_frame(3, 100));
  EXPECT_EQ(result.status, 0) << result.err;
  const auto received = nlohmann::json::parse(result.out);
  EXPECT_EQ(received["frames"], 2);
  EXPECT_EQ(received["bad"], 0);
  EXPECT_EQ(received["lost"], 2);
  EXPECT_EQ(received["first_sequence"], 0);
  EXPECT_EQ(received["last_sequence"], 3);
}

TEST_F(AppFrames, ThatAreDamagedAreAFailure) {
  std::string stream = make_frame(0, 70'000) + make_frame(1, 100);
  stream[50'000] = 'x';
  const Process::Result result = check(stream);
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("not what was captured"), std::string::npos) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out)["bad"], 1) << "the report is there all the same";
}

TEST_F(AppFrames, ThatAreNoneAreAFailure) {
  const Process::Result result = check("no frame at all, but longer than the header of one is");
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(nlohmann::json::parse(result.out)["first_sequence"].is_null());
}

TEST(App, RefusesToSendAnEmptyFile) {
  const TemporaryFile file{""};
  class Receiver receiver;
  const Process::Result result =
      run(send_command("127.0.0.1", receiver.port(), {"--source", "memfd", "--file", file.path()}));
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("is empty, there is nothing to send"), std::string::npos);
}

TEST(App, SaysThatAFileMayNotBeRead) {
  const TemporaryFile file{"data"};
  ::chmod(file.path().c_str(), 0);
  if (::access(file.path().c_str(), R_OK) == 0 && ::geteuid() != 0) {
    GTEST_SKIP() << "this user may read everything";
  }
  Process sender{app({"send", "127.0.0.1:1", "--source", "memfd", "--file", file.path()}),
                 {.user = ::geteuid() == 0 ? 65'534U : 0U}};
  const Process::Result result = sender.wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("EACCES"), std::string::npos) << result.err;
}

class AppPath : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Every, AppPath, testing::Values("auto", "fixed", "plain", "msg", "copy"),
                         [](const auto& parameter) { return std::string{parameter.param}; });

TEST_P(AppPath, DeliversAFileUnchanged) {
  const TemporaryFile file{sample_text(5'000'011)};
  const Outcome outcome =
      transfer(here, {"--source", "memfd", "--file", file.path(), "--tx", GetParam()});
  EXPECT_TRUE(outcome.verified()) << outcome.complaints();
  EXPECT_EQ(outcome.sent["bytes"], 5'000'011);
}

TEST(App, StopsAfterTheTotal) {
  const TemporaryFile file{sample_text(300'000)};
  const Outcome outcome =
      transfer(here, {"--source", "memfd", "--file", file.path(), "--total", "100K"});
  EXPECT_TRUE(outcome.verified()) << outcome.complaints();
  EXPECT_EQ(outcome.sent["bytes"], 102'400);
}

TEST(App, SendsAnEndlessFileUpToTheTotal) {
  const Outcome outcome =
      transfer(here, {"--source", "memfd", "--file", "/dev/zero", "--total", "10M"});
  EXPECT_TRUE(outcome.verified()) << outcome.complaints();
}

TEST(App, PassesOnWhatAPipeHasWithoutWaitingForMore) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd read_end{ends[0]};
  UniqueFd write_end{ends[1]};
  const UniqueFd listener = listen_stream({"127.0.0.1", "0"});
  Process sender{send_command("127.0.0.1", std::to_string(local_port(listener.get())),
                              {"-", "--source", "memfd"}),
                 {.input = read_end.get()}};
  const UniqueFd connection = accept_stream(listener.get());
  for (const std::string word : {"one", "two", "three"}) {
    ASSERT_EQ(::write(write_end.get(), word.data(), word.size()),
              static_cast<ssize_t>(word.size()));
    std::string arrived(word.size(), '\0');
    ASSERT_EQ(::recv(connection.get(), arrived.data(), arrived.size(), MSG_WAITALL),
              static_cast<ssize_t>(word.size()));
    EXPECT_EQ(arrived, word);
  }
  write_end.reset();
  EXPECT_EQ(sender.wait().status, 0);
}

TEST(App, ReportsWithAllTheFieldsThatScriptsReadAndNoHashUnasked) {
  const TemporaryFile file{sample_text(100'000)};
  class Receiver receiver;
  const Process::Result sender =
      run(send_command("127.0.0.1", receiver.port(), {"--source", "memfd", "--file", file.path()}));
  ASSERT_EQ(sender.status, 0) << sender.err;
  const auto sent = nlohmann::json::parse(sender.out);
  for (const char* field : {"path", "bytes", "seconds", "sends", "notifications", "zerocopied",
                            "copied", "merged", "syscalls", "cpu_seconds", "xxh3"}) {
    EXPECT_TRUE(sent.contains(field)) << field;
  }
  EXPECT_TRUE(sent["xxh3"].is_null());
  const auto received = nlohmann::json::parse(receiver.process().wait().out);
  EXPECT_EQ(received["bytes"], 100'000);
  EXPECT_TRUE(received.contains("seconds"));
  EXPECT_TRUE(received["xxh3"].is_null());
}

TEST(App, StoresWhatArrives) {
  const std::string text = sample_text(1'000'000);
  const TemporaryFile file{text};
  const TemporaryFile stored{"old and longer than nothing"};
  class Receiver receiver {
    {
      "--out", stored.path()
    }
  };
  EXPECT_EQ(
      run(send_command("127.0.0.1", receiver.port(), {"--source", "memfd", "--file", file.path()}))
          .status,
      0);
  EXPECT_EQ(receiver.process().wait().status, 0);
  std::ifstream stream{stored.path(), std::ios::binary};
  EXPECT_TRUE((std::string{std::istreambuf_iterator<char>{stream}, {}}) == text);
}

TEST(App, SaysThatTheDiskOfTheReceiverIsFull) {
  const TemporaryFile file{sample_text(100'000)};
  class Receiver receiver {
    {
      "--out", "/dev/full"
    }
  };
  Process sender{
      send_command("127.0.0.1", receiver.port(), {"--source", "memfd", "--file", file.path()})};
  const Process::Result result = receiver.process().wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("the disk is full"), std::string::npos) << result.err;
  sender.wait();
}

TEST(App, PrintsTextForPeople) {
  const TemporaryFile file{sample_text(3'000'000)};
  class Receiver receiver;
  Words command = send_command("127.0.0.1", receiver.port(),
                               {"--source", "memfd", "--file", file.path(), "--hash"});
  std::erase(command, "--json");
  const Process::Result sender = run(command);
  for (const char* word :
       {"path ", "sent ", "sends ", "notifications ", "system calls ", "CPU ", "xxh3 "}) {
    EXPECT_NE(sender.out.find(word), std::string::npos) << word;
  }
  receiver.process().wait();
}

TEST(App, InfoTellsKernelModuleAndEveryPath) {
  const Process::Result text = run(app({"info"}));
  EXPECT_EQ(text.status, 0);
  for (const char* word : {"kernel ", "module ", "device ", "fixed ", "plain ", "msg ", "copy "}) {
    EXPECT_NE(text.out.find(word), std::string::npos) << word;
  }
  const auto json = nlohmann::json::parse(run(app({"info", "--json"})).out);
  EXPECT_EQ(json["paths"].size(), 5U);
}

}  // namespace
}  // namespace dmawire::test
