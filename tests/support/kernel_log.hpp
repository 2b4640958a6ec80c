// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <string>

#include <dmawire/unique_fd.hpp>

namespace dmawire::test {

/// The kernel's messages from now on.
class KernelLog {
 public:
  KernelLog() { lseek(log_.get(), 0, SEEK_END); }

  bool says(const std::string& text) {
    char record[8192];
    for (ssize_t size; (size = read(log_.get(), record, sizeof(record))) > 0;)
      text_.append(record, static_cast<size_t>(size));
    return text_.find(text) != std::string::npos;
  }

 private:
  UniqueFd log_{open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  std::string text_;
};

}  // namespace dmawire::test
