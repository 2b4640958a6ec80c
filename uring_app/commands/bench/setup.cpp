// SPDX-License-Identifier: MIT
#include "setup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <dmawire/error.hpp>
#include <dmawire/registration.hpp>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>
#include <vector>

#include "../units.hpp"
#include "machine.hpp"
#include "memory.hpp"
#include "proc.hpp"
#include "series.hpp"
#include "table.hpp"

namespace dmawire::commands::bench {
namespace {

std::uint64_t charged(const char* field) {
  std::ifstream status{"/proc/self/status"};
  return parse_kernel_field(status, field);
}

/// What this process has charged to it.
struct Charges {
  std::uint64_t locked = charged("VmLck") + charged("VmPin");
  std::uint64_t mapped = charged("VmSize");
  std::uint64_t page_tables = charged("VmPTE");
};

struct SetupRun {
  double create_seconds;
  double register_seconds;
  double release_seconds;
  double cpu_seconds;  ///< of creating and registering
  std::uint64_t locked;
  std::uint64_t mapped;
  std::uint64_t page_tables;
};

std::uint64_t since(std::uint64_t before, std::uint64_t now) {
  return now > before ? now - before : 0;
}

/// A ring goes some time after it was closed, and its memory and charges with it.
void wait_for_release(std::uint64_t locked) {
  constexpr int max_tries = 2000;
  for (int i = 0; i < max_tries && Charges{}.locked > locked; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

SetupRun set_up(const Case& what) {
  const Charges before;
  const Moment start = Moment::now();
  std::vector<Buffer> buffers = new_amount(what);
  const Moment created = Moment::now();
  std::optional<Registration> registration{std::in_place, *what.path, buffers};
  const Moment ready = Moment::now();
  const Charges after;
  const double release_start = clock_seconds();
  registration.reset();
  buffers.clear();
  const double release_end = clock_seconds();
  wait_for_release(before.locked);
  return {.create_seconds = created.wall - start.wall,
          .register_seconds = ready.wall - created.wall,
          .release_seconds = release_end - release_start,
          .cpu_seconds = ready.thread - start.thread,
          .locked = since(before.locked, after.locked),
          .mapped = since(before.mapped, after.mapped),
          .page_tables = since(before.page_tables, after.page_tables)};
}

std::vector<Case> cases_of(const Plan& plan, const std::vector<std::uint64_t>& amounts) {
  std::vector<Case> cases;
  for (Case what : plan.memory_cases(amounts)) {
    for (const std::optional<Path> path : plan.paths) {
      if (path == Path::direct || path == Path::fixed) {
        what.path = path;
        cases.push_back(what);
      }
    }
  }
  return cases;
}

Row row_of(const Series<SetupRun>& series) {
  const Case& what = series.what;
  Row row;
  row["path"] = path_name(what);
  row["source"] = dmawire::name(what.source);
  row["layout"] = name(what.layout);
  row["backing"] = name(what.backing);
  row["bytes"] = what.size;
  for (const char* key : {"create_seconds", "register_seconds", "seconds", "cpu_seconds",
                          "release_seconds", "locked_bytes", "mapped_bytes", "page_table_bytes"}) {
    row[key] = nullptr;
  }
  row["repeats"] = series.runs.size();
  row["clock"] = clock_name();
  row["kernel"] = kernel_release();
  row["error"] = nullptr;
  if (series.failure) {
    row["error"] = series.failure->what();
    return row;
  }
  row["create_seconds"] = series.middle(&SetupRun::create_seconds);
  row["register_seconds"] = series.middle(&SetupRun::register_seconds);
  row["seconds"] =
      series.middle(&SetupRun::create_seconds) + series.middle(&SetupRun::register_seconds);
  row["cpu_seconds"] = series.middle(&SetupRun::cpu_seconds);
  row["release_seconds"] = series.middle(&SetupRun::release_seconds);
  row["locked_bytes"] = series.runs.back().locked;
  row["mapped_bytes"] = series.runs.back().mapped;
  row["page_table_bytes"] = series.runs.back().page_tables;
  return row;
}

std::string milliseconds(const Row& seconds) {
  return fmt::format("{:.3f}", seconds.get<double>() * 1e3);
}

}  // namespace

std::vector<Row> measure_setup(const Plan& plan, const std::vector<std::uint64_t>& amounts,
                               std::uint32_t repeats) {
  const std::vector<Case> cases = cases_of(plan, amounts);
  if (cases.empty()) {
    throw Error(0, "only the paths direct and fixed have something to set up");
  }
  const auto all = measure_in_turn(cases, repeats, set_up);
  std::vector<Row> rows;
  std::transform(all.begin(), all.end(), std::back_inserter(rows), row_of);
  return rows;
}

std::string format_setup_table(std::span<const Row> rows) {
  std::vector<std::vector<std::string>> cells{{"path", "memory", "layout", "amount", "make ms",
                                               "register ms", "together", "release ms", "locked",
                                               "page tables"}};
  std::string failures;
  for (const Row& row : rows) {
    const std::string amount = format_size(row["bytes"].get<std::uint64_t>());
    if (row["error"].is_string()) {
      failures += fmt::format("{} {} {} {}: {}\n", row["path"].get<std::string>(),
                              row["source"].get<std::string>(), row["layout"].get<std::string>(),
                              amount, row["error"].get<std::string>());
      continue;
    }
    cells.push_back({row["path"].get<std::string>(), row["source"].get<std::string>(),
                     row["layout"].get<std::string>(), amount, milliseconds(row["create_seconds"]),
                     milliseconds(row["register_seconds"]), milliseconds(row["seconds"]),
                     milliseconds(row["release_seconds"]),
                     format_size(row["locked_bytes"].get<std::uint64_t>()),
                     format_size(row["page_table_bytes"].get<std::uint64_t>())});
  }
  return format_cells(cells) + failures;
}

}  // namespace dmawire::commands::bench
