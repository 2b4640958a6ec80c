// SPDX-License-Identifier: MIT
#include "input.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <dmawire/error.hpp>
#include <limits>
#include <utility>

namespace dmawire::commands {
namespace {

UniqueFd open_for_reading(const std::string& path) {
  UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd.valid()) {
    const int code = errno;
    throw Error(code, fmt::format("opening {}", path));
  }
  return fd;
}

}  // namespace

Input::Input(const std::string& path, std::optional<std::uint64_t> limit)
    : Input(open_for_reading(path), path, limit) {}

Input Input::standard_input(std::optional<std::uint64_t> limit) {
  UniqueFd fd{::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)};
  if (!fd.valid()) {
    throw Error(errno, "opening standard input");
  }
  return {std::move(fd), "standard input", limit};
}

Input::Input(UniqueFd fd, std::string name, std::optional<std::uint64_t> limit)
    : fd_(std::move(fd)),
      name_(std::move(name)),
      left_(limit.value_or(std::numeric_limits<std::uint64_t>::max())),
      length_(limit) {
  struct stat status {};
  if (::fstat(fd_.get(), &status) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("looking at {}", name_));
  }
  if (S_ISDIR(status.st_mode)) {
    throw Error(EISDIR, fmt::format("reading {}", name_));
  }
  if (S_ISREG(status.st_mode)) {
    const off_t position = std::max<off_t>(::lseek(fd_.get(), 0, SEEK_CUR), 0);
    length_ =
        std::min(left_, static_cast<std::uint64_t>(std::max<off_t>(status.st_size - position, 0)));
    ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  may_block_ = S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || ::isatty(fd_.get()) == 1;
}

std::size_t Input::fill(std::span<std::byte> frame, Sender& sender) {
  return fill(frame, [&](int) {
    wait_until_readable(sender);
    return true;
  });
}

std::size_t Input::fill(std::span<std::byte> frame, const std::function<bool(int fd)>& wait) {
  std::size_t filled = 0;
  while (filled < frame.size() && left_ > 0) {
    if (may_block_ && !readable_now()) {
      if (filled > 0 || !wait(fd_.get())) {
        break;
      }
    }
    const std::size_t count = read_some(frame.subspan(filled));
    if (count == 0) {
      break;
    }
    filled += count;
  }
  return filled;
}

std::size_t Input::read_some(std::span<std::byte> frame) {
  const std::size_t wanted = std::min<std::uint64_t>(frame.size(), left_);
  for (;;) {
    const ssize_t count = ::read(fd_.get(), frame.data(), wanted);
    if (count >= 0) {
      left_ -= static_cast<std::uint64_t>(count);
      return static_cast<std::size_t>(count);
    }
    if (errno != EINTR) {
      const int code = errno;
      throw Error(code, fmt::format("reading {}", name_));
    }
  }
}

bool Input::readable_now() const {
  pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, 0) > 0;
}

void Input::wait_until_readable(Sender& sender) const {
  // An error is reported by the next send().
  while (!sender.progress() && sender.busy()) {
    const Sender::Wakeup wakeup = sender.wakeup();
    std::array<pollfd, 2> entries{{{.fd = fd_.get(), .events = POLLIN, .revents = 0},
                                   {.fd = wakeup.fd, .events = wakeup.events, .revents = 0}}};
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) {
      const int code = errno;
      throw Error(code, fmt::format("waiting for {}", name_));
    }
    if (entries[0].revents != 0) {
      return;
    }
  }
}

}  // namespace dmawire::commands
