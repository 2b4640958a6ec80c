// SPDX-License-Identifier: MIT
#include "population.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <dmawire/error.hpp>
#include <dmawire/mapping.hpp>
#include <iterator>
#include <vector>

#include "../units.hpp"
#include "machine.hpp"
#include "memory.hpp"
#include "series.hpp"
#include "table.hpp"

namespace dmawire::commands::bench {
namespace {

constexpr std::size_t page = 4096;

struct PopulationRun {
  double fault_seconds;     ///< touched, and mapped by that
  double faults;            ///< that it took
  double populate_seconds;  ///< mapped
  double touch_seconds;     ///< and touched then
};

/// New memory, mapped, with none of its pages mapped yet.
class NewMemory {
 public:
  explicit NewMemory(const Case& what) : buffers_(new_amount(what)) {
    std::transform(buffers_.begin(), buffers_.end(), std::back_inserter(mappings_),
                   [](const Buffer& buffer) { return buffer.map(); });
  }

  void populate() {
    for (const Mapping& mapping : mappings_) {
      const std::span<std::byte> bytes = mapping.bytes();
      if (::madvise(bytes.data(), bytes.size(), MADV_POPULATE_WRITE) != 0) {
        throw Error(errno, "mapping the pages of a buffer at once", "Linux 5.14 does",
                    errno == EINVAL ? Error::Kind::impossible : Error::Kind::failed);
      }
    }
  }

  void touch() {
    for (const Mapping& mapping : mappings_) {
      const std::span<std::byte> bytes = mapping.bytes();
      for (std::size_t i = 0; i < bytes.size(); i += page) {
        const_cast<volatile std::byte&>(bytes[i]) = std::byte{1};
      }
    }
  }

 private:
  std::vector<Buffer> buffers_;
  std::vector<Mapping> mappings_;
};

double faults_so_far() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return static_cast<double>(usage.ru_minflt);
}

PopulationRun measure_once(const Case& what) {
  PopulationRun run{};
  {
    NewMemory memory{what};
    const double faults = faults_so_far();
    const double start = clock_seconds();
    memory.touch();
    run.fault_seconds = clock_seconds() - start;
    run.faults = faults_so_far() - faults;
  }
  NewMemory memory{what};
  const double start = clock_seconds();
  memory.populate();
  const double populated = clock_seconds();
  memory.touch();
  run.populate_seconds = populated - start;
  run.touch_seconds = clock_seconds() - populated;
  return run;
}

Row row_of(const Series<PopulationRun>& series) {
  Row row;
  row["source"] = dmawire::name(series.what.source);
  row["layout"] = name(series.what.layout);
  row["backing"] = name(series.what.backing);
  row["bytes"] = series.what.size;
  const bool measured = !series.failure;
  const auto note = [&](const char* key, double PopulationRun::*member) {
    row[key] = measured ? Row(series.middle(member)) : Row(nullptr);
  };
  note("fault_seconds", &PopulationRun::fault_seconds);
  note("faults", &PopulationRun::faults);
  note("populate_seconds", &PopulationRun::populate_seconds);
  note("touch_seconds", &PopulationRun::touch_seconds);
  row["repeats"] = series.runs.size();
  row["clock"] = clock_name();
  row["kernel"] = kernel_release();
  row["error"] = measured ? Row(nullptr) : Row(series.failure->what());
  return row;
}

}  // namespace

std::vector<Row> measure_population(const Plan& plan, const std::vector<std::uint64_t>& amounts,
                                    std::uint32_t repeats) {
  const auto all = measure_in_turn(plan.memory_cases(amounts), repeats, measure_once);
  std::vector<Row> rows;
  std::transform(all.begin(), all.end(), std::back_inserter(rows), row_of);
  return rows;
}

std::string format_population_table(std::span<const Row> rows) {
  std::vector<std::vector<std::string>> cells{{"memory", "backing", "layout", "amount",
                                               "by faults ms", "faults", "populate ms",
                                               "then touch ms"}};
  std::string failures;
  for (const Row& row : rows) {
    const auto text = [&](const char* key) { return row[key].get<std::string>(); };
    const auto milliseconds = [&](const char* key) {
      return fmt::format("{:.3f}", row[key].get<double>() * 1e3);
    };
    const std::string amount = format_size(row["bytes"].get<std::uint64_t>());
    if (row["error"].is_string()) {
      failures += fmt::format("{} {} {} {}: {}\n", text("source"), text("backing"), text("layout"),
                              amount, text("error"));
      continue;
    }
    cells.push_back({text("source"), text("backing"), text("layout"), amount,
                     milliseconds("fault_seconds"),
                     fmt::format("{:.0f}", row["faults"].get<double>()),
                     milliseconds("populate_seconds"), milliseconds("touch_seconds")});
  }
  return format_cells(cells) + failures;
}

}  // namespace dmawire::commands::bench
