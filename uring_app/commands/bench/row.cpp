// SPDX-License-Identifier: MIT
#include "row.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <dmawire/error.hpp>
#include <fstream>
#include <numeric>
#include <utility>

#include "machine.hpp"

namespace dmawire::commands::bench {
namespace {

constexpr double gibibyte = 1024.0 * 1024 * 1024;

template <typename Get>
std::vector<double> each(std::span<const Measurement> runs, Get get) {
  std::vector<double> values;
  values.reserve(runs.size());
  for (const Measurement& run : runs) {
    values.push_back(get(run));
  }
  return values;
}

double ratio(double over, double under) {
  return under > 0 ? over / under : 0;
}

double per_gib(double seconds, const Measurement& run) {
  return ratio(seconds * gibibyte, static_cast<double>(run.statistics.bytes));
}

/// Figures are for people too: six digits are more than any clock here is worth.
Row rounded(double value) {
  if (value == 0 || !std::isfinite(value)) {
    return 0.0;
  }
  const double scale = std::pow(10.0, 5 - std::floor(std::log10(std::abs(value))));
  return std::round(value * scale) / scale;
}

const Measurement& run_in_the_middle(std::span<const Measurement> runs) {
  std::vector<std::size_t> order(runs.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t left, std::size_t right) {
    return runs[left].busy_seconds < runs[right].busy_seconds;
  });
  return runs[order[(runs.size() - 1) / 2]];
}

/// All keys, in the order in which they are printed, with what is known before any run.
Row blank_row(const Case& what) {
  Row row;
  row["path"] = path_name(what);
  row["proto"] = name(what.protocol);
  row["size"] = what.size;
  row["depth"] = what.depth;
  row["connections"] = what.connections;
  for (const char* key : {"bytes", "seconds", "gib_per_s", "sends_per_s", "cpu_s_per_gib",
                          "syscalls_per_send", "notifications", "zerocopied", "copied", "merged"}) {
    row[key] = nullptr;
  }
  row["clock"] = clock_name();
  row["source"] = dmawire::name(what.source);
  row["layout"] = name(what.layout);
  row["backing"] = name(what.backing);
  row["data"] = name(what.data);
  row["gather"] = what.gather;
  row["batch"] = what.batch;
  row["buffers"] = what.frames;
  row["offset"] = what.offset ? Row(*what.offset) : Row(nullptr);
  for (const char* key : {"repeats", "spread", "cpu_s_per_gib_min", "cpu_s_per_gib_max",
                          "gib_per_s_min", "gib_per_s_max", "thread_cpu_s_per_gib",
                          "receiver_cpu_s_per_gib", "frames", "sends", "frames_per_s", "syscalls",
                          "retries", "received_bytes", "verified", "device", "chosen", "reason"}) {
    row[key] = nullptr;
  }
  row["kernel"] = kernel_release();
  row["error"] = nullptr;
  return row;
}

void add_times(Row& row, std::span<const Measurement> runs) {
  const auto cpu = each(runs, [](const auto& run) { return per_gib(run.busy_seconds, run); });
  const auto rate = each(runs, [](const auto& run) {
    return ratio(static_cast<double>(run.statistics.bytes) / gibibyte, run.seconds);
  });
  row["seconds"] = rounded(median(each(runs, [](const auto& run) { return run.seconds; })));
  row["gib_per_s"] = rounded(median(rate));
  row["sends_per_s"] = rounded(median(each(runs, [](const auto& run) {
    return ratio(static_cast<double>(run.statistics.sends), run.seconds);
  })));
  row["frames_per_s"] = rounded(median(each(runs, [](const auto& run) {
    return ratio(static_cast<double>(run.statistics.frames), run.seconds);
  })));
  row["cpu_s_per_gib"] = rounded(median(cpu));
  row["thread_cpu_s_per_gib"] =
      rounded(median(each(runs, [](const auto& run) { return per_gib(run.thread_seconds, run); })));
  row["repeats"] = runs.size();
  row["spread"] = rounded(spread(cpu));
  row["cpu_s_per_gib_min"] = rounded(*std::min_element(cpu.begin(), cpu.end()));
  row["cpu_s_per_gib_max"] = rounded(*std::max_element(cpu.begin(), cpu.end()));
  row["gib_per_s_min"] = rounded(*std::min_element(rate.begin(), rate.end()));
  row["gib_per_s_max"] = rounded(*std::max_element(rate.begin(), rate.end()));
  if (runs.front().received) {
    row["receiver_cpu_s_per_gib"] = rounded(median(
        each(runs, [](const auto& run) { return per_gib(run.received->cpu_seconds, run); })));
  }
}

void add_counts(Row& row, const Measurement& run) {
  const SenderStatistics& statistics = run.statistics;
  row["bytes"] = statistics.bytes;
  row["frames"] = statistics.frames;
  row["sends"] = statistics.sends;
  row["syscalls"] = statistics.system_calls;
  row["retries"] = statistics.retries;
  row["syscalls_per_send"] = rounded(
      ratio(static_cast<double>(statistics.system_calls), static_cast<double>(statistics.sends)));
  row["notifications"] = statistics.notifications;
  if (statistics.usage_reported) {
    row["zerocopied"] = statistics.zero_copied;
    row["copied"] = statistics.copied;
    row["merged"] = statistics.merged;
  }
  if (run.received) {
    row["received_bytes"] = run.received->bytes;
  }
}

/// A size or a number of things.
bool is_count(const Row& value) {
  constexpr std::uint64_t more_than_there_are = std::uint64_t{1} << 53;
  return value.is_number_unsigned() && value > 0 && value < more_than_there_are;
}

/// What was measured, if it was. It is drawn and printed: no clock makes figures beyond these.
bool is_figure(const Row& value) {
  constexpr double least = 1e-15;
  constexpr double greatest = 1e18;
  return value.is_null() ||
         (value.is_number() && (value == 0 || (value >= least && value < greatest)));
}

bool is_string(const Row& value) {
  return value.is_string();
}

using Keys = std::initializer_list<const char*>;

/// Whether the values of all keys are good; a key that is not there is not.
template <typename Good>
bool all_are(Good good, const Row& row, Keys keys) {
  return std::all_of(keys.begin(), keys.end(),
                     [&](const char* key) { return row.contains(key) && good(row[key]); });
}

/// The same, but a file of an older version lacks some.
template <typename Good>
bool all_there_are(Good good, const Row& row, Keys keys) {
  return std::all_of(keys.begin(), keys.end(),
                     [&](const char* key) { return !row.contains(key) || good(row[key]); });
}

bool is_transfer_row(const Row& row) {
  return all_are(is_string, row, {"path", "proto", "clock"}) &&
         all_are(is_count, row, {"size", "depth", "connections"}) &&
         all_are(is_figure, row, {"gib_per_s", "cpu_s_per_gib", "syscalls_per_send"}) &&
         all_there_are(is_figure, row,
                       {"spread", "frames_per_s", "cpu_s_per_gib_min", "cpu_s_per_gib_max",
                        "gib_per_s_min", "gib_per_s_max", "thread_cpu_s_per_gib",
                        "receiver_cpu_s_per_gib", "notifications", "zerocopied", "merged"});
}

/// Either it failed, and says why, or it has all figures.
bool is_setup_row(const Row& row) {
  const auto is_time = [](const Row& value) { return value.is_number() && is_figure(value); };
  const auto is_amount = [](const Row& value) { return value == 0 || is_count(value); };
  return all_are(is_string, row, {"path", "source", "layout"}) &&
         all_are(is_count, row, {"bytes"}) && row.contains("error") &&
         (row["error"].is_string() ||
          (all_are(is_time, row,
                   {"create_seconds", "register_seconds", "seconds", "release_seconds"}) &&
           all_are(is_amount, row, {"locked_bytes", "page_table_bytes"})));
}

bool is_row(const Row& row, RowKind kind) {
  // Nothing in them has parts, so whoever prints one need not fear how deep it is.
  return row.is_object() &&
         std::all_of(row.begin(), row.end(),
                     [](const Row& value) { return value.is_primitive(); }) &&
         (kind == RowKind::setup ? is_setup_row(row) : is_transfer_row(row));
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double spread(const std::vector<double>& values) {
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  return ratio(*greatest - *least, median(values));
}

Row make_row(const Case& what, std::span<const Measurement> runs) {
  Row row = blank_row(what);
  const Measurement& middle = run_in_the_middle(runs);
  add_times(row, runs);
  add_counts(row, middle);
  for (const Measurement& run : runs) {
    if (run.intact) {
      row["verified"] = *run.intact;
    }
  }
  row["device"] = middle.device;
  row["chosen"] = middle.chosen;
  if (!middle.reason.empty()) {
    row["reason"] = middle.reason;
  }
  return row;
}

Row make_error_row(const Case& what, const std::string& why) {
  Row row = blank_row(what);
  row["error"] = why;
  return row;
}

std::optional<std::vector<Row>> parse_rows(std::istream& text, RowKind kind) {
  const Row rows = Row::parse(text, nullptr, false);
  if (!rows.is_array() || !std::all_of(rows.begin(), rows.end(),
                                       [kind](const Row& row) { return is_row(row, kind); })) {
    return {};
  }
  return std::vector<Row>(rows.begin(), rows.end());
}

std::vector<Row> read_rows(const std::string& file, RowKind kind) {
  std::ifstream stream{file};
  if (!stream) {
    const int code = errno;
    throw Error(code, fmt::format("opening {}", file));
  }
  std::optional<std::vector<Row>> rows = parse_rows(stream, kind);
  if (!rows) {
    throw Error(0, fmt::format("{} does not hold what `uring_app bench --json` prints", file));
  }
  return std::move(*rows);
}

}  // namespace dmawire::commands::bench
