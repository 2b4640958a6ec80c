// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/exporters.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/stream.hpp>
#include <optional>
#include <string>

#include "../units.hpp"

namespace dmawire::commands {

/// What `send` was asked for.
struct SendOptions {
  Endpoint peer;
  bool udp = false;
  std::string from;
  std::string file;
  std::optional<unsigned> device;  ///< the number of its node
  std::string v4l2;                ///< a node of V4L2's
  std::string video_format;        ///< its FOURCC; empty: what is set
  Dimensions video_size;           ///< its pixels; 0: what is set
  std::string import;              ///< the socket of who shares
  std::optional<Path> path;        ///< none: the best that works
  Exporter source = Exporter::dmawire;
  Backing backing = Backing::pages;
  std::optional<std::uint64_t> size;
  std::uint32_t buffers = 256;
  std::uint32_t depth = 64;
  std::optional<std::uint64_t> total;
  std::optional<std::uint64_t> frames;  ///< to capture, or to be lent
  std::uint32_t rate = 0;               ///< frames a second; 0: as the device pleases
  std::string record;
  bool sq_poll = false;
  bool verify_copies = false;
  bool hash = false;
  bool json = false;
  bool verbose = false;
};

}  // namespace dmawire::commands
