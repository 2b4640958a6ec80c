// SPDX-License-Identifier: MIT
#include "process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <regex>
#include <sstream>
#include <thread>

#include "eventually.hpp"
#include "hang_report.hpp"

namespace dmawire::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto poll_interval = std::chrono::milliseconds{5};
constexpr int exec_failed = 126;

std::string contents(int fd) {
  std::string text;
  char chunk[65536];
  off_t offset = 0;
  for (ssize_t count; (count = ::pread(fd, chunk, sizeof(chunk), offset)) > 0; offset += count) {
    text.append(chunk, static_cast<std::size_t>(count));
  }
  return text;
}

bool enter_namespace(const std::string& name) {
  const UniqueFd fd{::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC)};
  return fd.valid() && ::setns(fd.get(), CLONE_NEWNET) == 0;
}

/// In the child, between fork and exec.
[[noreturn]] void become(char* const* command, const Process::Options& options, int input, int out,
                         int err) {
  bool ready = options.netns.empty() || enter_namespace(options.netns);
  ready = ready && ::dup2(input, 0) == 0 && ::dup2(out, 1) == 1 && ::dup2(err, 2) == 2;
  if (options.locked_memory_limit >= 0) {
    const rlimit limit{static_cast<rlim_t>(options.locked_memory_limit),
                       static_cast<rlim_t>(options.locked_memory_limit)};
    ready = ready && ::setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
  }
  if (options.user != 0) {
    ready = ready && ::setgid(options.user) == 0 && ::setuid(options.user) == 0;
  }
  ::signal(SIGPIPE, SIG_DFL);
  if (ready) {
    ::execvp(command[0], command);
  }
  ::_exit(exec_failed);
}

}  // namespace

Process::Process(std::vector<std::string> command, const Options& options)
    : out_(::memfd_create("stdout", MFD_CLOEXEC)), err_(::memfd_create("stderr", MFD_CLOEXEC)) {
  const UniqueFd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  std::vector<char*> words;
  for (std::string& word : command) {
    words.push_back(word.data());
  }
  words.push_back(nullptr);

  pid_ = ::fork();
  if (pid_ == 0) {
    become(words.data(), options, options.input >= 0 ? options.input : null.get(), out_.get(),
           err_.get());
  }
}

Process::~Process() {
  if (pid_ > 0) {
    kill();
    ::waitpid(pid_, nullptr, 0);
  }
}

void Process::kill() noexcept {
  ::kill(pid_, SIGKILL);
}

Process::Result Process::wait(std::chrono::seconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  int status = 0;
  rusage usage{};
  while (::wait4(pid_, &status, WNOHANG, &usage) == 0) {
    if (Clock::now() > deadline) {
      ADD_FAILURE() << "process " << pid_ << " did not end in time; it said: " << said()
                    << "\nThis is where it hangs:" << describe_hang(pid_);
      kill();
      ::wait4(pid_, &status, 0, &usage);
      break;
    }
    std::this_thread::sleep_for(poll_interval);
  }
  pid_ = -1;
  return {.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
          .out = contents(out_.get()),
          .err = said(),
          .peak_memory = usage.ru_maxrss * 1024};
}

std::string Process::wait_for_line(const std::string& pattern) {
  const std::regex wanted{pattern};
  std::string line;
  bool found = false;
  const auto is_decided = [&] {
    const bool ended = has_ended();  // then it says no more
    std::istringstream lines{said()};
    while (!found && std::getline(lines, line) && !lines.eof()) {
      found = std::regex_search(line, wanted);
    }
    return found || ended;
  };
  EXPECT_TRUE(eventually(is_decided) && found)
      << "no line with '" << pattern << "' came; only: " << said();
  return line;
}

bool Process::has_ended() const {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_;
}

std::string Process::said() const {
  return contents(err_.get());
}

std::chrono::milliseconds Process::cpu_time() const {
  std::ifstream file{"/proc/" + std::to_string(pid_) + "/stat"};
  std::string text;
  std::getline(file, text);
  // The name, in parentheses, may hold anything; user and system time are the 12th and 13th after
  // it.
  std::istringstream fields{text.substr(text.rfind(')') + 2)};
  std::string skipped;
  for (int i = 0; i < 11; ++i) {
    fields >> skipped;
  }
  long user = 0;
  long system = 0;
  fields >> user >> system;
  return std::chrono::milliseconds{(user + system) * 1000 / ::sysconf(_SC_CLK_TCK)};
}

std::string Process::status(const std::string& field) const {
  std::ifstream file{"/proc/" + std::to_string(pid_) + "/status"};
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field + ":")) {
      return line.substr(field.size() + 1);
    }
  }
  ADD_FAILURE() << "process " << pid_ << " has no " << field;
  return "0";
}

long Process::memory(const std::string& field) const {
  return std::stol(status(field)) * 1024;
}

bool Process::blocks(int signal) const {
  return (std::stoull(status("SigBlk"), nullptr, 16) >> (signal - 1) & 1) != 0;
}

void Process::wait_until_idle() const {
  EXPECT_TRUE(eventually([this] {
    const auto before = cpu_time();
    std::this_thread::sleep_for(std::chrono::milliseconds{500});
    return cpu_time() == before;
  })) << "process "
      << pid_ << " does not come to rest";
}

InNamespace::InNamespace(const std::string& name)
    : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  EXPECT_TRUE(enter_namespace(name)) << "no network namespace " << name;
}

InNamespace::~InNamespace() {
  ::setns(before_.get(), CLONE_NEWNET);
}

}  // namespace dmawire::test
