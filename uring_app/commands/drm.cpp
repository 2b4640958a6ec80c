// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <dmawire/cpu_access.hpp>
#include <dmawire/device.hpp>
#include <dmawire/drm_device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/paths.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/stream.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "access_error.hpp"
#include "commands.hpp"
#include "hash.hpp"
#include "options.hpp"
#include "send/setup.hpp"
#include "units.hpp"

namespace dmawire::commands {
namespace {

struct DrmOptions {
  std::string node;  ///< empty: the first that will do
  std::optional<std::uint64_t> size;
  std::optional<Endpoint> peer;
  bool json = false;

  [[nodiscard]] std::uint64_t length() const { return size.value_or(1024UL * 1024); }
};

/// Words that differ at every place.
class Pattern {
 public:
  static void fill(std::span<std::byte> bytes) {
    for (std::size_t i = 0; i + sizeof(std::uint64_t) <= bytes.size(); i += sizeof(std::uint64_t)) {
      const std::uint64_t word = at(i);
      std::memcpy(&bytes[i], &word, sizeof(word));
    }
  }
  /// The first place that is not as it was filled.
  [[nodiscard]] static std::optional<std::size_t> fault(std::span<const std::byte> bytes) {
    for (std::size_t i = 0; i + sizeof(std::uint64_t) <= bytes.size(); i += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      std::memcpy(&word, &bytes[i], sizeof(word));
      if (word != at(i)) {
        return i;
      }
    }
    return std::nullopt;
  }

 private:
  static std::uint64_t at(std::size_t place) noexcept { return (place + 1) * 0x9e3779b97f4a7c15; }
};

void expect_pattern(std::span<const std::byte> bytes, const std::string& where) {
  if (const auto place = Pattern::fault(bytes)) {
    throw Error(0, fmt::format("{} shows other data from byte {} on", where, *place));
  }
}

DrmDevice open_device(const DrmOptions& options, bool (DrmDevice::*can)() const noexcept) {
  if (!options.node.empty()) {
    return DrmDevice{options.node};
  }
  Error none{0, "there is no DRM device that shares buffers", "`modprobe vgem` makes one",
             Error::Kind::impossible};
  for (const std::string& node : DrmDevice::nodes()) {
    try {
      DrmDevice device{node};
      if ((device.*can)()) {
        return device;
      }
    } catch (const Error& error) {
      none = error;  // another may be open to us
    }
  }
  throw Error(none);
}

std::string describe_sharing(const DrmDevice& device) {
  if (device.imports() && device.exports()) {
    return "imports and exports dma-bufs";
  }
  return device.imports()   ? "imports dma-bufs"
         : device.exports() ? "exports dma-bufs"
                            : "shares no buffers";
}

void list(const DrmOptions& options) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const std::string& node : DrmDevice::nodes()) {
    try {
      const DrmDevice device{node};
      rows.push_back({{"node", node},
                      {"driver", device.driver()},
                      {"imports", device.imports()},
                      {"exports", device.exports()}});
      if (!options.json) {
        fmt::print("{}  {}: {}\n", node, device.driver(), describe_sharing(device));
      }
    } catch (const Error& error) {
      rows.push_back({{"node", node}, {"error", error.what()}});
      if (!options.json) {
        fmt::print("{}  {}\n", node, error.what());
      }
    }
  }
  if (options.json) {
    fmt::print("{}\n", rows.dump());
  } else if (rows.empty()) {
    fmt::print("no DRM devices; `modprobe vgem` makes one\n");
  }
}

/// Whether the device maps by itself what it imported, and if not, why.
std::string try_own_mapping(const DrmDevice::Handle& handle) {
  try {
    const Mapping mapping = handle.map();
    expect_pattern(mapping.bytes(), "the device's own mapping");
    return {};
  } catch (const Error& error) {
    if (error.code() == 0) {
      throw;
    }
    return error.what();
  }
}

/// Our memory into the device, and through it back to us.
void import(const DrmOptions& options, Backing backing) {
  const DrmDevice device = open_device(options, &DrmDevice::imports);
  const Buffer buffer = make_buffer(Device{}, backing, options.length(), DMAWIRE_BIDIRECTIONAL);
  {
    const Mapping mapping = buffer.map();
    const CpuAccess access{buffer, CpuAccess::Intent::write};
    throw_if_none(access);
    Pattern::fill(mapping.bytes());
  }
  const DrmDevice::Handle handle = device.import(buffer);
  const std::string no_mapping = try_own_mapping(handle);
  {
    const Buffer again = handle.to_buffer();
    const Mapping mapping = again.map();
    const CpuAccess access{again, CpuAccess::Intent::read};
    throw_if_none(access);
    expect_pattern(mapping.bytes(), "what the device hands out");
  }
  if (options.json) {
    nlohmann::ordered_json row{{"node", device.node()},      {"driver", device.driver()},
                               {"backing", name(backing)},   {"bytes", buffer.length()},
                               {"maps", no_mapping.empty()}, {"verified", true}};
    fmt::print("{}\n", row.dump());
    return;
  }
  fmt::print("imported     {} of --backing {} into {} ({})\n", format_size(buffer.length()),
             name(backing), device.node(), device.driver());
  fmt::print("its mapping  {}\n", no_mapping.empty() ? "shows every byte" : no_mapping);
  fmt::print("its dma-buf  shows every byte\n");
}

struct Sent {
  Path path;
  SenderStatistics statistics;
  std::uint64_t hash;
};

/// Sends the pool's one frame by the best path that works.
Sent send_frame(FramePool& pool, std::span<const PathReport> paths, const Endpoint& peer) {
  const auto best = std::find_if(paths.begin(), paths.end(),
                                 [](const PathReport& report) { return report.available; });
  if (best == paths.end()) {
    throw Error(0, "nothing can be sent from this memory", {}, Error::Kind::impossible);
  }
  const UniqueFd socket = connect_stream(peer);
  const auto sender = make_sender(best->path, std::array{socket.get()}, pool, {.depth = 1});
  Frame frame = *pool.take();
  Hash hash;
  {
    const CpuAccess access{frame.buffer(), CpuAccess::Intent::read};
    throw_if_none(access);
    hash.add(frame.bytes());
  }
  throw_if(sender->send(std::move(frame), pool.frame_length()), *sender);
  throw_if(sender->finish(), *sender);
  throw_if(finish_stream(socket.get()), *sender);
  return {best->path, sender->statistics(), hash.value()};
}

void print_export(const DrmDevice& device, std::size_t length, std::span<const PathReport> paths) {
  fmt::print("exported  {} of {} ({}); its mapping shows every byte\n", format_size(length),
             device.node(), device.driver());
  for (const PathReport& report : paths) {
    fmt::print("  {:<6} {:<3}  {}\n", name(report.path), report.available ? "yes" : "no",
               report.reason);
  }
}

/// The device's memory to us, and from here to the network.
void export_buffers(const DrmOptions& options) {
  const DrmDevice device = open_device(options, &DrmDevice::exports);
  const DrmDevice::Handle handle = device.create(options.length());
  {
    const Mapping mapping = handle.map();
    Pattern::fill(mapping.bytes());
  }
  std::vector<Buffer> buffers;
  buffers.push_back(handle.to_buffer());
  const std::size_t length = handle.length();
  FramePool pool = FramePool::one_in_each(std::move(buffers), length, 0);
  {
    const CpuAccess access{pool.buffers()[0], CpuAccess::Intent::read};
    throw_if_none(access);
    expect_pattern(pool.bytes(0), "what the device exports");
  }
  const std::vector<PathReport> paths = probe_paths(pool);
  std::optional<Sent> sent;
  if (options.peer) {
    sent = send_frame(pool, paths, *options.peer);
  }
  if (!options.json) {
    print_export(device, length, paths);
    if (sent) {
      fmt::print("sent      {} bytes by {}, xxh3 {}\n", sent->statistics.bytes, name(sent->path),
                 format_hash(sent->hash));
    }
    return;
  }
  nlohmann::ordered_json row{{"node", device.node()},
                             {"driver", device.driver()},
                             {"bytes", length},
                             {"verified", true},
                             {"paths", nlohmann::ordered_json::array()}};
  for (const PathReport& report : paths) {
    row["paths"].push_back(
        {{"path", name(report.path)}, {"available", report.available}, {"reason", report.reason}});
  }
  if (sent) {
    row["sent"] = {{"path", name(sent->path)},
                   {"bytes", sent->statistics.bytes},
                   {"xxh3", format_hash(sent->hash)}};
  }
  fmt::print("{}\n", row.dump());
}

CLI::App* add_action(CLI::App& drm, DrmOptions& options, const std::string& action,
                     const std::string& description) {
  CLI::App* command = drm.add_subcommand(action, description);
  command->add_flag("--json", options.json, "print one JSON object");
  return command;
}

void add_device(CLI::App& command, DrmOptions& options) {
  command.add_option("node", options.node, "the device; without it, the first that will do")
      ->type_name("/dev/dri/cardN");
  add_size(command, "--size", options.size, 1, "bytes of the buffer")->default_str("1M");
}

}  // namespace

void add_drm(CLI::App& app) {
  auto options = std::make_shared<DrmOptions>();
  auto backing = std::make_shared<Backing>(Backing::pages);
  CLI::App* drm = app.add_subcommand("drm", "Share buffers with DRM devices, by PRIME");
  drm->require_subcommand(1);

  add_action(*drm, *options, "list", "Tell which devices there are, and what they can do")
      ->callback([options] { list(*options); });

  CLI::App* in = add_action(*drm, *options, "import",
                            "Have a device import a buffer of ours, and verify what it shows");
  add_device(*in, *options);
  in->add_option_function<std::string>(
        "--backing",
        [backing](const std::string& text) {
          *backing = text == name(Backing::contig) ? Backing::contig : Backing::pages;
        },
        "where dmawire takes the memory of the buffer from")
      ->check(
          CLI::IsMember({std::string{name(Backing::pages)}, std::string{name(Backing::contig)}}))
      ->default_str("pages")
      ->type_name("");
  in->callback([options, backing] { import(*options, *backing); });

  CLI::App* out = add_action(
      *drm, *options, "export",
      "Have a device export a buffer of its own, verify it, and tell how it can be sent");
  add_device(*out, *options);
  out->add_option_function<std::string>(
         "--to",
         [options](const std::string& text) {
           options->peer = parse_or_usage_error("--to", [&] { return Endpoint::parse(text); });
         },
         "send it there by the best path that works")
      ->type_name("HOST:PORT");
  out->callback([options] { export_buffers(*options); });
}

}  // namespace dmawire::commands
