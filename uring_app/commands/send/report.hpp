// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/frame_source.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/video_device.hpp>
#include <optional>
#include <string>
#include <vector>

#include "histogram.hpp"

namespace dmawire::commands {

/// What a device's frames went through.
struct StreamReport {
  CaptureStatistics capture;
  std::uint64_t recorded_bytes = 0;
  Histogram to_send;  ///< from a frame's completion to the request that sends it
  Histogram to_done;  ///< ... to the moment at which the kernel has let go of it
  std::optional<VideoDevice::Format> video = {};  ///< of a camera
};

/// What was lent by an owner.
struct ImportReport {
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
  std::uint64_t lost = 0;     ///< the owner's device had no room for them
  std::uint64_t skipped = 0;  ///< we held too many
  std::uint32_t hold = 0;     ///< most frames at a time
  std::vector<std::string> exporters;
  std::uint64_t recorded_bytes = 0;
};

/// What `send` tells at its end.
struct SendReport {
  std::optional<Path> path;  ///< none: nothing was to be sent
  std::string reason;
  double seconds = 0;
  double cpu_seconds = 0;
  SenderStatistics statistics = {};
  std::optional<std::uint64_t> kernel_copies = {};
  std::optional<std::uint64_t> hash = {};
  std::optional<StreamReport> stream = {};  ///< of a device or a camera
  std::optional<ImportReport> import = {};
};

/// `auto` may have found that the way copies; then that is what was done.
void tell_of_copying(SendReport& report);

void print_json(const SendReport& report);
void print_text(const SendReport& report);

}  // namespace dmawire::commands
