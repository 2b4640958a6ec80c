// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <dmawire/error.hpp>
#include <exception>

#include "commands/commands.hpp"

namespace {

using namespace dmawire;

/// The exit statuses that scripts rely on.
enum ExitStatus { done = 0, failed = 1, usage = 2, impossible = 3 };

int run(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return done;
  } catch (const CLI::ParseError& error) {
    // Help and version are "errors" of status 0; all others are misuse.
    return app.exit(error) == 0 ? done : usage;
  } catch (const Error& error) {
    fmt::print(stderr, "uring_app: {}\n", error.what());
    return error.kind() == Error::Kind::impossible ? impossible : failed;
  } catch (const std::exception& error) {
    fmt::print(stderr, "uring_app: {}\n", error.what());
    return failed;
  }
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): where not even a message can be made
int main(int argc, char** argv) {
  CLI::App app{"From a device's DMA buffer to the wire without a copy.", "uring_app"};
  app.set_version_flag("--version", DMAWIRE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Results go to standard output, progress and reasons to standard error.\n"
      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not possible on this machine.");
  commands::add_info(app);
  commands::add_send(app);
  commands::add_recv(app);
  commands::add_share(app);
  commands::add_bench(app);
  commands::add_drm(app);
  return run(app, argc, argv);
}
