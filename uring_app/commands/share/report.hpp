// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/capture.hpp>
#include <dmawire/error.hpp>
#include <dmawire/share_server.hpp>
#include <optional>

namespace dmawire::commands {

/// What `share` tells at its end. There is a report even if it ended in a failure.
struct ShareReport {
  double seconds = 0;
  double cpu_seconds = 0;
  ShareStatistics share;
  std::uint32_t pool = 0;  ///< frames
  std::uint32_t home = 0;  ///< of those: that nobody holds
  std::optional<CaptureStatistics> capture;
  std::optional<Error> failure;
};

void print_json(const ShareReport& report);
void print_text(const ShareReport& report);

}  // namespace dmawire::commands
