// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dmawire/unique_fd.hpp>
#include <string>
#include <vector>

#include "abi.hpp"
#include "guest.hpp"
#include "process.hpp"

namespace dmawire::test {

/// A file system on a loop device, mounted for as long as it lives. The guest's mke2fs is
/// busybox's: ext4 with blocks of 4 KiB, and neither a journal nor extents.
class LoopDisk {
 public:
  LoopDisk() {
    for (const char* module : {"loop", "ext4"})
      load_kernel_module(module);
    const UniqueFd file{open(image_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    EXPECT_EQ(ftruncate(file.get(), 16 * kMiB), 0);
    mkdir(directory_.c_str(), 0700);
    expect_runs({"mke2fs", "-F", "-b", "4096", image_});
    expect_runs({"mount", "-t", "ext4", "-o", "loop", image_, directory_});
  }
  ~LoopDisk() {
    expect_runs({"umount", directory_});
    rmdir(directory_.c_str());
    unlink(image_.c_str());
  }
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;

  [[nodiscard]] const std::string& directory() const { return directory_; }

 private:
  static void expect_runs(const std::vector<std::string>& command) {
    const Process::Result result = run(command);
    EXPECT_EQ(result.status, 0) << command[0] << ": " << result.out << result.err;
  }

  const std::string image_ = "/tmp/odirect.image";
  const std::string directory_ = "/tmp/odirect";
};

}  // namespace dmawire::test
