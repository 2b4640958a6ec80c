// SPDX-License-Identifier: MIT
#include <dmawire/unique_fd.hpp>

#include <unistd.h>

namespace dmawire {

void UniqueFd::reset(int fd) noexcept {
  if (const int old = std::exchange(fd_, fd); old >= 0) {
    ::close(old);
  }
}

}  // namespace dmawire
