// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

namespace dmawire {

/// Owns one file descriptor and closes it. Move-only; holds nothing after a move.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }

  /// Gives the descriptor up without closing it.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  /// Closes the descriptor held and takes over another.
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

}  // namespace dmawire
