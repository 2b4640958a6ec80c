// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "eventually.hpp"
#include "guest.hpp"

namespace dmawire::test {

/// A memory cgroup for as long as it lives; its processes must have ended by then.
class Cgroup {
 public:
  Cgroup() {
    if (!write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory"))
      return;
    exists_ = mkdir(path_.c_str(), 0755) == 0;
    EXPECT_TRUE(exists_) << strerror(errno);
  }
  ~Cgroup() {
    if (exists_)
      EXPECT_TRUE(eventually([this] { return rmdir(path_.c_str()) == 0 || errno != EBUSY; }));
  }
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  /// False if this kernel has no memory controller of cgroup v2 at /sys/fs/cgroup.
  [[nodiscard]] bool exists() const { return exists_; }
  /// Moves the calling process into it.
  [[nodiscard]] bool join() const { return write_text(path_ + "/cgroup.procs", "0"); }
  [[nodiscard]] bool limit(uint64_t bytes) const {
    return write_text(path_ + "/memory.max", std::to_string(bytes));
  }
  [[nodiscard]] uint64_t current() const {
    return std::stoull(read_text(path_ + "/memory.current"));
  }
  /// How often the OOM killer was invoked for it.
  [[nodiscard]] std::string events() const { return read_text(path_ + "/memory.events"); }

 private:
  const std::string path_ = "/sys/fs/cgroup/dmawire-accounting";
  bool exists_ = false;
};

}  // namespace dmawire::test
