// SPDX-License-Identifier: MIT
#pragma once

namespace CLI {
class App;
}

/// The commands of uring_app. Each adds itself, its options and what it does to the application.
namespace dmawire::commands {

void add_info(CLI::App& app);
void add_send(CLI::App& app);
void add_recv(CLI::App& app);
void add_share(CLI::App& app);
void add_bench(CLI::App& app);
void add_drm(CLI::App& app);

}  // namespace dmawire::commands
