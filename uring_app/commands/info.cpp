// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/paths.hpp>
#include <dmawire/route.hpp>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "units.hpp"

namespace dmawire::commands {
namespace {

constexpr std::size_t probe_length = 64UL * 1024;

/// What is behind a node.
struct Node {
  std::string path;
  std::optional<dmawire_info> info;
  std::string why_not;  ///< if it could not be asked
};

struct Machine {
  std::string kernel;
  std::optional<std::string> module_version;
  std::optional<dmawire_info> device;
  std::string why_no_device;
  std::vector<Node> nodes;
  Exporter probed_with = Exporter::dmawire;
  std::vector<PathReport> paths;
  std::optional<Route> route;
};

std::string kernel_release() {
  utsname name{};
  ::uname(&name);
  return fmt::format("{} {}", name.sysname, name.release);
}

std::optional<std::string> loaded_module_version() {
  std::ifstream file{"/sys/module/dmawire/version"};
  std::string version;
  if (!std::getline(file, version)) {
    return std::nullopt;
  }
  return version;
}

std::vector<Node> look_at_nodes() {
  std::vector<Node> nodes;
  for (const std::string& path : Device::nodes()) {
    Node node{.path = path};
    try {
      node.info = Device{path}.info();
    } catch (const Error& error) {
      node.why_not = error.what();
    }
    nodes.push_back(std::move(node));
  }
  return nodes;
}

bool has(const dmawire_info& info, std::uint32_t feature) {
  return (info.out_features & feature) != 0;
}

bool has_backing(const dmawire_info& info, dmawire_backing backing) {
  return (info.out_backings & 1U << backing) != 0;
}

std::string driver_of(const dmawire_info& info) {
  return {info.out_driver, ::strnlen(info.out_driver, sizeof(info.out_driver))};
}

/// "pattern: captures up to 1024 frames at a time, ...".
std::string describe(const Node& node) {
  if (!node.info) {
    return node.why_not;
  }
  const dmawire_info& info = *node.info;
  std::string text = driver_of(info);
  if (!has(info, DMAWIRE_FEATURE_CAPTURE)) {
    return text + (text.empty() ? "" : ": ") + "buffers only, it does not capture";
  }
  text += fmt::format(": captures into up to {} frames at a time", info.out_max_captures);
  if (info.out_alignment > 1) {
    text += fmt::format(", whose length is a multiple of {}", info.out_alignment);
  }
  if (info.out_max_segments != std::numeric_limits<std::uint32_t>::max()) {
    text += fmt::format(", of up to {} pieces of memory", info.out_max_segments);
  }
  if (has(info, DMAWIRE_FEATURE_RATE)) {
    text += "; takes --rate";
  }
  if (has_backing(info, DMAWIRE_BACKING_COHERENT)) {
    text += "; has --backing coherent";
  }
  if (has(info, DMAWIRE_FEATURE_FRAME_HEADER)) {
    text += "; `recv --check-frames` verifies them";
  }
  return text;
}

bool has_backing(const Machine& machine, dmawire_backing backing) {
  return machine.device && has_backing(*machine.device, backing);
}

/// Pages of that many KiB which are set aside and in no use.
std::uint64_t free_huge_pages(unsigned kibibytes) {
  std::ifstream file{
      fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/free_hugepages", kibibytes)};
  std::uint64_t count = 0;
  file >> count;
  return count;
}

/// What `--backing` can be, with how much there is of what is limited.
std::vector<std::pair<Backing, std::uint64_t>> backings_of(const Machine& machine) {
  constexpr std::uint64_t any = std::numeric_limits<std::uint64_t>::max();
  std::vector<std::pair<Backing, std::uint64_t>> backings;
  if (has_backing(machine, DMAWIRE_BACKING_PAGES)) {
    backings.emplace_back(Backing::pages, any);
  }
  if (has_backing(machine, DMAWIRE_BACKING_MEMFD)) {
    backings.emplace_back(Backing::memfd, any);
    backings.emplace_back(Backing::memfd_2m, free_huge_pages(2 << 10));
    backings.emplace_back(Backing::memfd_1g, free_huge_pages(1 << 20));
  }
  if (has_backing(machine, DMAWIRE_BACKING_USER)) {
    backings.emplace_back(Backing::user, any);
  }
  if (has_backing(machine, DMAWIRE_BACKING_CONTIG)) {
    backings.emplace_back(Backing::contig, any);
    if (has(*machine.device, DMAWIRE_FEATURE_CMA)) {
      backings.emplace_back(Backing::contig_cma, any);
    }
  }
  return backings;
}

std::string describe_backings(const Machine& machine) {
  std::string text;
  for (const auto& [backing, count] : backings_of(machine)) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", name(backing));
    if (count == 0) {
      text += " (no such page is free)";
    } else if (count != std::numeric_limits<std::uint64_t>::max()) {
      text += fmt::format(" ({} pages free)", count);
    }
  }
  return text;
}

nlohmann::ordered_json to_json(const Node& node) {
  nlohmann::ordered_json object{{"node", node.path}};
  if (!node.info) {
    object["error"] = node.why_not;
    return object;
  }
  const dmawire_info& info = *node.info;
  object["driver"] = driver_of(info);
  object["captures"] = has(info, DMAWIRE_FEATURE_CAPTURE);
  object["rate"] = has(info, DMAWIRE_FEATURE_RATE);
  object["frame_header"] = has(info, DMAWIRE_FEATURE_FRAME_HEADER);
  object["max_captures"] = info.out_max_captures;
  object["max_segments"] = info.out_max_segments;
  object["alignment"] = info.out_alignment;
  object["coherent"] = has_backing(info, DMAWIRE_BACKING_COHERENT);
  return object;
}

Machine look(const std::string& destination) {
  Machine machine;
  if (!destination.empty()) {
    machine.route = find_route(destination);
  }
  machine.kernel = kernel_release();
  machine.module_version = loaded_module_version();
  try {
    machine.device = Device{}.info();
  } catch (const Error& error) {
    machine.why_no_device = error.what();
    machine.probed_with = Exporter::memfd;
  }
  machine.nodes = look_at_nodes();
  FramePool pool = make_pool(machine.probed_with, 1, probe_length);
  machine.paths = probe_paths(pool);
  return machine;
}

const PathReport* best(const Machine& machine) {
  for (const PathReport& report : machine.paths) {
    if (report.available) {
      return &report;
    }
  }
  return nullptr;
}

void print_json(const Machine& machine) {
  nlohmann::ordered_json object;
  object["kernel"] = machine.kernel;
  object["module"] = nullptr;
  if (machine.module_version) {
    object["module"] = *machine.module_version;
  }
  object["device"] = nullptr;
  if (machine.device) {
    object["device"] = {{"node", Device::default_node},
                        {"max_bytes", machine.device->out_max_bytes},
                        {"bytes", machine.device->out_bytes},
                        {"buffers", machine.device->out_buffers}};
    object["backings"] = nlohmann::ordered_json::array();
    for (const auto& [backing, count] : backings_of(machine)) {
      object["backings"].push_back({{"backing", name(backing)}, {"available", count > 0}});
    }
  } else {
    object["why_no_device"] = machine.why_no_device;
  }
  object["devices"] = nlohmann::ordered_json::array();
  for (const Node& node : machine.nodes) {
    object["devices"].push_back(to_json(node));
  }
  object["source"] = name(machine.probed_with);
  object["paths"] = nlohmann::ordered_json::array();
  for (const PathReport& report : machine.paths) {
    object["paths"].push_back(
        {{"path", name(report.path)}, {"available", report.available}, {"reason", report.reason}});
  }
  if (machine.route) {
    object["route"] = {{"address", machine.route->address}, {"device", machine.route->device},
                       {"driver", machine.route->driver},   {"mtu", machine.route->mtu},
                       {"copies", machine.route->copies},   {"reason", machine.route->reason}};
  }
  object["auto"] = nullptr;
  if (const PathReport* report = best(machine)) {
    object["auto"] = name(report->path);
  }
  fmt::print("{}\n", object.dump());
}

void print_text(const Machine& machine) {
  fmt::print("kernel   {}\n", machine.kernel);
  fmt::print("module   {}\n", machine.module_version ? "dmawire " + *machine.module_version
                                                     : std::string{"not loaded"});
  if (machine.device) {
    fmt::print("device   {}: {} buffers hold {} of at most {}\n", Device::default_node,
               machine.device->out_buffers, format_size(machine.device->out_bytes),
               format_size(machine.device->out_max_bytes));
    fmt::print("memory   {}\n", describe_backings(machine));
  } else {
    fmt::print("device   none: {}\n", machine.why_no_device);
  }
  for (const Node& node : machine.nodes) {
    fmt::print("  {}  {}\n", node.path, describe(node));
  }
  fmt::print("\npaths from {} memory, best first\n", name(machine.probed_with));
  for (const PathReport& report : machine.paths) {
    fmt::print("  {:<6} {:<3}  {}\n", name(report.path), report.available ? "yes" : "no",
               report.reason);
  }
  const PathReport* report = best(machine);
  fmt::print("\n--tx auto takes {}\n", report ? name(report->path) : "nothing: no path works");
  if (machine.route) {
    const Route& route = *machine.route;
    fmt::print("\nroute to {}: by {}{}, MTU {}\n  {}: {}\n", route.address, route.device,
               route.driver.empty() ? "" : " (" + route.driver + ")", route.mtu,
               route.copies ? "zero-copy sends are copied on the way" : "zero-copy holds",
               route.reason);
  }
}

}  // namespace

void add_info(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  auto destination = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "info", "Tell what the kernel, the module and the device can do, and which path send takes");
  command->add_flag("--json", *json, "print one JSON object");
  command
      ->add_option("destination", *destination,
                   "tell also by which device the way there leaves, and whether it copies")
      ->type_name("HOST");
  command->callback([json, destination] {
    const Machine machine = look(*destination);
    if (*json) {
      print_json(machine);
    } else {
      print_text(machine);
    }
  });
}

}  // namespace dmawire::commands
