// SPDX-License-Identifier: MIT
#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "commands.hpp"
#include "options.hpp"
#include "share/options.hpp"
#include "share/report.hpp"
#include "share/sharing.hpp"

namespace dmawire::commands {
namespace {

void run(const ShareOptions& options) {
  const ShareReport report = options.device ? share_device(options) : share_file(options);
  if (options.json) {
    print_json(report);
  } else {
    print_text(report);
  }
  if (report.failure) {
    throw *report.failure;
  }
}

/// All but a process's own memory, which can be mapped by nobody else.
std::map<std::string, Backing> shareable_backings() {
  std::map<std::string, Backing> backings;
  for (const Backing backing :
       {Backing::pages, Backing::memfd, Backing::memfd_2m, Backing::memfd_1g, Backing::contig,
        Backing::contig_cma, Backing::coherent}) {
    backings.emplace(name(backing), backing);
  }
  return backings;
}

}  // namespace

void add_share(CLI::App& app) {
  auto options = std::make_shared<ShareOptions>();
  CLI::App* command = app.add_subcommand(
      "share", "Lend what a device captures, or a file, to other processes, without a copy");
  command->add_option("socket", options->socket, "where they connect: `send --import` is one")
      ->type_name("SOCKET")
      ->required();

  auto* from = command->add_option("from", options->from, "share standard input")->type_name("-");
  from->check(CLI::IsMember({"-"}));
  auto* file = command->add_option("--file", options->file, "share this file")->type_name("FILE");
  from->excludes(file);
  auto* device = command
                     ->add_option("--device", options->device,
                                  "share what /dev/dmawireN captures, until interrupted")
                     ->type_name("N")
                     ->excludes(from)
                     ->excludes(file);

  command
      ->add_option_function<std::string>(
          "--backing",
          [options](const std::string& text) { options->backing = shareable_backings().at(text); },
          "where dmawire takes the memory of the frames from")
      ->check(CLI::IsMember(shareable_backings()))
      ->type_name("")
      ->default_str("pages");
  add_size(*command, "--size", options->size, 1, "bytes of a frame")->default_str("64K");
  command->add_option("--buffers", options->buffers, "frames to cycle through")
      ->check(CLI::Range(2U, 16'384U))
      ->capture_default_str();
  command
      ->add_option("--clients", options->clients,
                   "most clients at a time; each holds its share of the frames at most")
      ->check(CLI::Range(1U, 256U))
      ->capture_default_str();
  command->add_option("--frames", options->frames, "stop when so many have been shared")
      ->check(CLI::PositiveNumber)
      ->type_name("COUNT");
  command
      ->add_option("--rate", options->rate,
                   "frames a second to ask the device for, if it can be told")
      ->check(CLI::Range(1U, 1'000'000'000U))
      ->type_name("HERTZ")
      ->needs(device);
  command->add_flag("--json", options->json, "print one JSON object");

  command->callback([options] {
    if (!options->device && options->file.empty() && options->from.empty()) {
      throw CLI::RequiredError("--device N, --file FILE or -");
    }
    if (options->clients >= options->buffers) {
      throw CLI::ValidationError("--buffers", "must be more than --clients");
    }
    run(*options);
  });
}

}  // namespace dmawire::commands
