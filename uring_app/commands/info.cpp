// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/paths.hpp>
#include <dmawire/route.hpp>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "commands.hpp"
#include "units.hpp"

namespace dmawire::commands {
namespace {

constexpr std::size_t probe_length = 64 * 1024;

struct Machine {
  std::string kernel;
  std::optional<std::string> module_version;
  std::optional<dmawire_info> device;
  std::string why_no_device;
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
  } else {
    object["why_no_device"] = machine.why_no_device;
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
  } else {
    fmt::print("device   none: {}\n", machine.why_no_device);
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
