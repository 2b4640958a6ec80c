// SPDX-License-Identifier: MIT
#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "units.hpp"

namespace dmawire::commands {
namespace {

constexpr auto redraw_interval = std::chrono::milliseconds{100};
constexpr std::size_t bar_width = 30;

}  // namespace

Progress::Progress(std::optional<std::uint64_t> total)
    : visible_(::isatty(STDERR_FILENO) == 1), total_(total) {}

Progress::~Progress() {
  if (visible_) {
    fmt::print(stderr, "\r\x1b[K");
  }
}

void Progress::update(std::uint64_t bytes) {
  if (!visible_) {
    return;
  }
  const Clock::time_point now = Clock::now();
  if (now >= next_draw_) {
    next_draw_ = now + redraw_interval;
    draw(bytes, now);
  }
}

void Progress::draw(std::uint64_t bytes, Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const auto rate =
      static_cast<std::uint64_t>(seconds > 0 ? static_cast<double>(bytes) / seconds : 0);
  std::string bar;
  if (total_ && *total_ > 0) {
    const std::uint64_t done = std::min(bytes, *total_);
    const auto filled = static_cast<std::size_t>(bar_width * done / *total_);
    bar = fmt::format("[{}{}] {:3}% ", std::string(filled, '='),
                      std::string(bar_width - filled, ' '), 100 * done / *total_);
  }
  fmt::print(stderr, "\r{}{}, {}/s\x1b[K", bar, format_size(bytes), format_size(rate));
  std::fflush(stderr);
}

}  // namespace dmawire::commands
