// SPDX-License-Identifier: MIT
#include "setup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <dmawire/error.hpp>
#include <dmawire/registration.hpp>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

#include "../units.hpp"
#include "machine.hpp"
#include "memory.hpp"
#include "proc.hpp"
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

struct Entry {
  Case what;  ///< of which path, source, layout, and size, which is that of all memory
  std::vector<SetupRun> runs;
  std::optional<Error> failure;
};

std::uint64_t since(std::uint64_t before, std::uint64_t now) {
  return now > before ? now - before : 0;
}

/// A ring goes some time after it was closed, and its memory and charges with it.
void wait_for_release(std::uint64_t locked) {
  constexpr int most_tries = 2000;
  for (int i = 0; i < most_tries && Charges{}.locked > locked; ++i) {
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

void run_entry(Entry& entry) {
  try {
    check_available(entry.what);
    entry.runs.push_back(set_up(entry.what));
  } catch (const Error& error) {
    entry.failure = error;
  }
}

std::vector<Entry> entries_of(const Plan& plan, const std::vector<std::uint64_t>& amounts) {
  std::vector<Entry> entries;
  for (Case what : plan.memory_cases(amounts)) {
    for (const std::optional<Path> path : plan.paths) {
      if (path == Path::direct || path == Path::fixed) {
        what.path = path;
        entries.push_back({.what = what});
      }
    }
  }
  return entries;
}

template <typename Member>
double middle(const Entry& entry, Member member) {
  std::vector<double> values;
  for (const SetupRun& run : entry.runs) {
    values.push_back(static_cast<double>(run.*member));
  }
  return median(std::move(values));
}

Row row_of(const Entry& entry) {
  const Case& what = entry.what;
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
  row["repeats"] = entry.runs.size();
  row["clock"] = clock_name();
  row["kernel"] = kernel_release();
  row["error"] = nullptr;
  if (entry.failure) {
    row["error"] = entry.failure->what();
    return row;
  }
  row["create_seconds"] = middle(entry, &SetupRun::create_seconds);
  row["register_seconds"] = middle(entry, &SetupRun::register_seconds);
  row["seconds"] =
      middle(entry, &SetupRun::create_seconds) + middle(entry, &SetupRun::register_seconds);
  row["cpu_seconds"] = middle(entry, &SetupRun::cpu_seconds);
  row["release_seconds"] = middle(entry, &SetupRun::release_seconds);
  row["locked_bytes"] = entry.runs.back().locked;
  row["mapped_bytes"] = entry.runs.back().mapped;
  row["page_table_bytes"] = entry.runs.back().page_tables;
  return row;
}

std::string milliseconds(const Row& seconds) {
  return fmt::format("{:.3f}", seconds.get<double>() * 1e3);
}

}  // namespace

std::vector<Row> measure_setup(const Plan& plan, const std::vector<std::uint64_t>& amounts,
                               std::uint32_t repeats) {
  std::vector<Entry> entries = entries_of(plan, amounts);
  if (entries.empty()) {
    throw Error(0, "only the paths direct and fixed have something to set up");
  }
  for (std::uint32_t i = 0; i < repeats; ++i) {
    for (Entry& entry : entries) {
      if (!entry.failure) {
        run_entry(entry);
      }
    }
  }
  if (std::all_of(entries.begin(), entries.end(),
                  [](const Entry& entry) { return entry.failure.has_value(); })) {
    throw Error(*entries.front().failure);
  }
  std::vector<Row> rows;
  std::transform(entries.begin(), entries.end(), std::back_inserter(rows), row_of);
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
