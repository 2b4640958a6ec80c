// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/exporters.hpp>
#include <optional>
#include <string>

namespace dmawire::commands {

/// What `share` was asked for.
struct ShareOptions {
  std::string socket;
  std::string from;
  std::string file;
  std::optional<unsigned> device;  ///< the number of its node
  Backing backing = Backing::pages;
  std::optional<std::uint64_t> size;
  std::uint32_t buffers = 256;
  std::uint32_t clients = 8;
  std::optional<std::uint64_t> frames;
  std::uint32_t rate = 0;  ///< frames a second; 0: as the device pleases
  bool json = false;
};

}  // namespace dmawire::commands
