// SPDX-License-Identifier: MIT
#include "sharing.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <array>
#include <cstdio>

#include "../send/meter.hpp"
#include "../units.hpp"

namespace dmawire::commands {

Sharing::Sharing(const ShareOptions& options, FramePool& pool)
    : pool_(pool), server_(options.socket, pool, options.clients) {
  fmt::print(stderr, "sharing {} frames of {} in {} buffers at {}\n", pool.size(),
             format_size(pool.frame_length()), pool.buffers().size(), options.socket);
}

void Sharing::finish(dmawire_share_reason reason) {
  server_.end(reason);
  server_.serve();
  const bool stopped = stop_.caught();
  if (!server_.all_released()) {
    fmt::print(stderr, "waiting for {} clients that hold {} frames\n", server_.clients(),
               server_.held());
  }
  const std::uint64_t dropped = server_.statistics().dropped;
  while (!server_.all_released() && (stopped || !stop_.caught())) {
    std::array<pollfd, 2> entries{{{.fd = server_.fd(), .events = POLLIN, .revents = 0},
                                   {.fd = stop_.fd(), .events = POLLIN, .revents = 0}}};
    ::poll(entries.data(), entries.size(), -1);
    server_.serve();
  }
  if (const std::uint64_t late = server_.statistics().dropped - dropped; late > 0) {
    fmt::print(stderr, "note: {} clients were not done in time; what they hold stays as it is\n",
               late);
  }
}

ShareReport Sharing::report() const {
  ShareReport report;
  report.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  report.cpu_seconds = cpu_seconds();
  report.share = server_.statistics();
  report.pool = pool_.size();
  report.home = pool_.available();
  return report;
}

}  // namespace dmawire::commands
