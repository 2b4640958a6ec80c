// SPDX-License-Identifier: MIT
#include "campaign.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "../progress.hpp"
#include "memory.hpp"

namespace dmawire::commands::bench {
namespace {

/// A case and what came of it so far.
struct Entry {
  Case what;
  std::vector<Measurement> runs;
  std::optional<bool> intact;
  std::optional<Error> failure;
};

std::optional<std::uint64_t> all_bytes(const Conduct& conduct, std::size_t cases) {
  if (conduct.amount.seconds) {
    return std::nullopt;
  }
  return conduct.amount.bytes * cases *
         (conduct.repeats + conduct.warm_up + (conduct.verify ? 1 : 0));
}

enum class Purpose { verify, warm_up, measure };

void run_entry(Entry& entry, Purpose purpose, const Conduct& conduct, Memory& memory,
               const OnProgress& on_progress) {
  try {
    Measurement run = run_once(entry.what, conduct.amount, conduct.place, memory,
                               purpose == Purpose::verify, on_progress);
    if (purpose == Purpose::verify) {
      entry.intact = run.intact;
    } else if (purpose == Purpose::measure) {
      entry.runs.push_back(std::move(run));
    }
  } catch (const Error& error) {
    entry.failure = error;
  }
}

Row row_of(Entry& entry) {
  if (entry.failure) {
    return make_error_row(entry.what, entry.failure->what());
  }
  for (Measurement& run : entry.runs) {
    run.intact = entry.intact;
  }
  return make_row(entry.what, entry.runs);
}

void throw_if_all_failed(const std::vector<Entry>& entries) {
  if (!std::all_of(entries.begin(), entries.end(),
                   [](const Entry& entry) { return entry.failure.has_value(); })) {
    return;
  }
  const auto failed = std::find_if(entries.begin(), entries.end(), [](const Entry& entry) {
    return entry.failure->kind() == Error::Kind::failed;
  });
  throw failed != entries.end() ? *failed->failure : *entries.front().failure;
}

}  // namespace

std::vector<Row> measure(const Plan& plan, const Conduct& conduct) {
  std::vector<Entry> entries;
  for (const Case& what : plan.cases()) {
    entries.push_back({.what = what});
  }
  Memory memory;
  Progress progress{all_bytes(conduct, entries.size())};
  std::uint64_t done = 0;
  const auto run_all = [&](Purpose purpose, std::uint32_t times) {
    for (std::uint32_t i = 0; i < times; ++i) {
      for (Entry& entry : entries) {
        if (!entry.failure) {
          run_entry(entry, purpose, conduct, memory,
                    [&](std::uint64_t bytes) { progress.update(done + bytes); });
        }
        done += conduct.amount.bytes;
      }
    }
  };
  run_all(Purpose::verify, conduct.verify ? 1 : 0);
  run_all(Purpose::warm_up, conduct.warm_up);
  run_all(Purpose::measure, conduct.repeats);

  throw_if_all_failed(entries);
  std::vector<Row> rows;
  std::transform(entries.begin(), entries.end(), std::back_inserter(rows), row_of);
  return rows;
}

}  // namespace dmawire::commands::bench
