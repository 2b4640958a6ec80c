// SPDX-License-Identifier: MIT
#include "hang_report.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <system_error>

namespace dmawire::test {
namespace {

namespace fs = std::filesystem;

/// Empty if it cannot be read: not every kernel shows everything, and a process may be gone.
std::string contents(const fs::path& path) {
  std::ifstream file{path};
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string state_line(const fs::path& thread) {
  std::istringstream lines{contents(thread / "status")};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("State:")) {
      return line;
    }
  }
  return "gone";
}

std::string describe_threads(const fs::path& process) {
  std::string text;
  std::error_code ignored;
  for (const auto& thread : fs::directory_iterator{process / "task", ignored}) {
    text += "\nthread " + thread.path().filename().string() + ' ' + state_line(thread);
    text += "\n  wchan " + contents(thread.path() / "wchan");
    text += "\n  system call " + contents(thread.path() / "syscall");
    text += contents(thread.path() / "stack");
  }
  return text;
}

/// Without Process, which may be the process described.
std::string output_of(const std::string& command) {
  std::string text;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe{
      ::popen(("timeout 10 " + command + " 2>&1").c_str(), "re"), &::pclose};
  char line[1024];
  while (pipe && std::fgets(line, sizeof(line), pipe.get()) != nullptr) {
    text += line;
  }
  return text;
}

std::string describe_sockets(const fs::path& process) {
  const std::string list = "ss --tcp --all --numeric --options --extended --info --memory";
  output_of("modprobe -q tcp_diag");  // ss needs it, and not every kernel loads it on demand
  std::string text = "\n/proc/PID/net/tcp:\n" + contents(process / "net/tcp");
  std::error_code ignored;
  for (const auto& name : fs::directory_iterator{"/run/netns", ignored}) {
    const std::string netns = name.path().filename().string();
    text += "\nsockets in " + netns + ":\n" + output_of("ip netns exec " + netns + ' ' + list);
  }
  return text;
}

}  // namespace

std::string describe_hang(pid_t pid) {
  const fs::path process = "/proc/" + std::to_string(pid);
  return describe_threads(process) + describe_sockets(process);
}

}  // namespace dmawire::test
