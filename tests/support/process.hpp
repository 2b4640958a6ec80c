// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include <dmawire/unique_fd.hpp>

namespace dmawire::test {

/// A program that a test started. Its output is kept; it is killed at the end if it still runs.
class Process {
 public:
  struct Options {
    std::string netns = {};  ///< a network namespace as `ip netns` names them, or the current one
    int input = -1;          ///< its standard input, or /dev/null
    uid_t user = 0;          ///< its user, root by default
    /// RLIMIT_MEMLOCK in bytes, if not the one in force.
    long locked_memory_limit = -1;
  };

  explicit Process(std::vector<std::string> command) : Process(std::move(command), Options{}) {}
  Process(std::vector<std::string> command, const Options& options);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  struct Result {
    int status;  ///< exit status, or 128 + signal
    std::string out;
    std::string err;
    long peak_memory;  ///< most resident memory, in bytes
  };
  /// Waits for its end; a program that does not end in time is a failure of the test.
  Result wait(std::chrono::seconds timeout = std::chrono::seconds{120});

  /// Waits until its standard error has a line in which the regular expression `pattern` is found,
  /// and returns that line.
  std::string wait_for_line(const std::string& pattern);
  void kill() noexcept;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// CPU time it has used so far.
  [[nodiscard]] std::chrono::milliseconds cpu_time() const;
  /// A field of /proc/PID/status in bytes.
  [[nodiscard]] long memory(const std::string& field) const;
  /// Whether a signal of this number has to wait until it wants it.
  [[nodiscard]] bool blocks(int signal) const;
  /// Waits until it uses no CPU time for half a second: all it can do is done.
  void wait_until_idle() const;

 private:
  /// A field of /proc/PID/status.
  [[nodiscard]] std::string status(const std::string& field) const;
  /// Whether it is there to be waited for only.
  [[nodiscard]] bool has_ended() const;
  /// Its standard error so far.
  [[nodiscard]] std::string said() const;

  UniqueFd out_;
  UniqueFd err_;
  pid_t pid_ = -1;
};

/// Runs a program to its end.
inline Process::Result run(std::vector<std::string> command) {
  return Process{std::move(command)}.wait();
}

/// The calling thread is in another network namespace while this lives; sockets stay where they
/// were made.
class InNamespace {
 public:
  explicit InNamespace(const std::string& name);
  ~InNamespace();
  InNamespace(const InNamespace&) = delete;
  InNamespace& operator=(const InNamespace&) = delete;

 private:
  UniqueFd before_;
};

}  // namespace dmawire::test
