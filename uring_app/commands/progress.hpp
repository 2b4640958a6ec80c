// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace dmawire::commands {

/// A line on standard error that tells how far a transfer is; nothing if that is no terminal.
class Progress {
 public:
  explicit Progress(std::optional<std::uint64_t> total);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  void update(std::uint64_t bytes);

 private:
  using Clock = std::chrono::steady_clock;
  void draw(std::uint64_t bytes, Clock::time_point now);

  const bool visible_;
  const std::optional<std::uint64_t> total_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point next_draw_ = start_;
};

}  // namespace dmawire::commands
