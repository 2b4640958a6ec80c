// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/stream.hpp>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/bandwidth.hpp"
#include "bench/baseline.hpp"
#include "bench/campaign.hpp"
#include "bench/peer.hpp"
#include "bench/plan.hpp"
#include "bench/plot.hpp"
#include "bench/population.hpp"
#include "bench/row.hpp"
#include "bench/setup.hpp"
#include "bench/table.hpp"
#include "commands.hpp"
#include "options.hpp"
#include "units.hpp"

namespace dmawire::commands {
namespace {

using namespace bench;

enum class Format { table, json, csv };

struct Options {
  Plan plan;
  Conduct conduct;
  Endpoint peer;
  std::vector<std::string> netns;
  bool setup = false;
  bool memory = false;
  bool populate = false;
  unsigned device = 0;
  bool sizes_given = false;
  std::vector<std::string> from;
  bool json = false;
  bool csv = false;
  std::string plot;
  std::string baseline;
  double tolerance = 10;
};

/// Every connection and every buffer is a descriptor, and the usual limit is meant for select(2).
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

std::vector<Row> rows_of_files(const std::vector<std::string>& files, RowKind kind) {
  std::vector<Row> rows;
  for (const std::string& file : files) {
    const std::vector<Row> some = read_rows(file, kind);
    rows.insert(rows.end(), some.begin(), some.end());
  }
  return rows;
}

std::vector<Row> get_rows(const Options& options) {
  if (!options.from.empty()) {
    return rows_of_files(options.from, options.setup ? RowKind::setup : RowKind::transfer);
  }
  raise_descriptor_limit();
  constexpr std::uint64_t mebibyte = 1024UL * 1024;
  if (options.memory) {
    const std::vector<std::uint64_t> usual{mebibyte / 16, mebibyte, 4 * mebibyte};
    return measure_bandwidth(Device{Device::node_of(options.device)},
                             options.sizes_given ? options.plan.sizes : usual,
                             options.conduct.repeats);
  }
  if (options.populate) {
    return measure_population(
        options.plan,
        options.sizes_given ? options.plan.sizes : std::vector{mebibyte, 64 * mebibyte},
        options.conduct.repeats);
  }
  if (options.setup) {
    const std::vector<std::uint64_t> usual{64 * mebibyte, 1024 * mebibyte, 4096 * mebibyte};
    return measure_setup(options.plan, options.sizes_given ? options.plan.sizes : usual,
                         options.conduct.repeats);
  }
  if (!options.netns.empty()) {
    enter_namespace(options.netns.front());
  }
  return measure(options.plan, options.conduct);
}

void print(const Options& options, const std::vector<Row>& rows) {
  if (options.json) {
    std::string text;
    for (const Row& row : rows) {
      text += (text.empty() ? "" : ",\n") + row.dump();
    }
    fmt::print("[{}]\n", text);
  } else if (options.csv) {
    fmt::print("{}", format_csv(rows));
  } else {
    fmt::print("{}", options.memory     ? format_bandwidth_table(rows)
                     : options.populate ? format_population_table(rows)
                     : options.setup    ? format_setup_table(rows)
                                        : format_table(rows));
  }
}

void write_plot(const std::string& path, const std::vector<Row>& rows) {
  std::ofstream file{path};
  file << format_plot(rows);
  if (!file.flush()) {
    const int code = errno;
    throw Error(code, fmt::format("writing {}", path));
  }
}

void judge(const Options& options, const std::vector<Row>& rows, const std::vector<Row>& before) {
  const Comparison result = compare(rows, before, options.tolerance);
  for (const std::string& row : result.unmatched) {
    fmt::print(stderr, "not in {}: {}\n", options.baseline, row);
  }
  for (const std::string& row : result.worse) {
    fmt::print(stderr, "worse: {}\n", row);
  }
  if (result.compared == 0) {
    throw Error(0, fmt::format("{} has none of these rows to compare with", options.baseline));
  }
  if (!result.worse.empty()) {
    throw Error(
        0, fmt::format("{} of {} rows are more than {:g} % worse than in {}", result.worse.size(),
                       result.compared, options.tolerance, options.baseline));
  }
  fmt::print(stderr, "none of {} rows is more than {:g} % worse than in {}\n", result.compared,
             options.tolerance, options.baseline);
}

void run(const Options& options) {
  std::vector<Row> before;
  if (!options.baseline.empty()) {
    before = read_rows(options.baseline);  // measuring takes long, a wrong name is found at once
  }
  const std::vector<Row> rows = get_rows(options);
  print(options, rows);
  if (!options.plot.empty()) {
    write_plot(options.plot, rows);
  }
  if (!options.baseline.empty()) {
    judge(options, rows, before);
  }
  if (std::any_of(rows.begin(), rows.end(), [](const Row& row) {
        return row.contains("verified") && row["verified"] == false;
      })) {
    throw Error(0, "what arrived is not what was sent (rows with verified WRONG)");
  }
}

/// An option that takes a comma list and puts its words, parsed, into `values`.
template <typename Value>
CLI::Option* add_list(CLI::App& command, const std::string& option, std::vector<Value>& values,
                      std::function<Value(const std::string&)> parse,
                      const std::string& description) {
  return command
      .add_option_function<std::string>(
          option,
          [option, &values, parse](const std::string& text) {
            values = parse_or_usage_error(option, [&] {
              std::vector<Value> parsed;
              for (const std::string& word : split_list(text)) {
                parsed.push_back(parse(word));
              }
              return parsed;
            });
          },
          description)
      ->type_name("LIST");
}

/// A parser of one of `values` by its name.
template <typename Value>
std::function<Value(const std::string&)> one_of(std::vector<Value> values) {
  return [values](const std::string& word) {
    std::string known;
    for (const Value value : values) {
      if (name(value) == word) {
        return value;
      }
      known += fmt::format("{}{}", known.empty() ? "" : ", ", name(value));
    }
    throw std::invalid_argument(fmt::format("'{}' is none of {}", word, known));
  };
}

std::function<std::uint32_t(const std::string&)> number_up_to(std::uint32_t most) {
  return [most](const std::string& word) {
    return static_cast<std::uint32_t>(parse_number(word, 1, most));
  };
}

std::optional<Path> parse_path(const std::string& word) {
  if (word == "auto") {
    return std::nullopt;
  }
  return one_of<Path>({Path::direct, Path::fixed, Path::plain, Path::msg, Path::copy})(word);
}

std::optional<std::uint64_t> parse_offset(const std::string& word) {
  const std::uint64_t offset = parse_size(word);
  constexpr std::uint64_t most = 1024UL * 1024 * 1024;
  if (offset > most) {
    throw std::invalid_argument(fmt::format("{} is more than {}", word, format_size(most)));
  }
  return offset;
}

void add_dimensions(CLI::App& command, Options& options) {
  Plan& plan = options.plan;
  add_list<std::optional<Path>>(command, "--tx", plan.paths, parse_path,
                                "paths: direct, fixed, plain, msg, copy, auto")
      ->default_str("direct,fixed,plain,msg,copy");
  add_list<Protocol>(command, "--proto", plan.protocols,
                     one_of<Protocol>({Protocol::tcp, Protocol::udp}), "tcp, udp")
      ->default_str("tcp");
  add_list<std::uint64_t>(
      command, "--size", plan.sizes,
      [&options](const std::string& word) {
        options.sizes_given = true;
        return parse_size(word);
      },
      "bytes of a frame; with --setup and --populate, of all memory")
      ->default_str("4K,64K");
  add_list<std::uint32_t>(command, "--depth", plan.depths, number_up_to(16'384),
                          "most frames in flight")
      ->default_str("64");
  add_list<std::uint32_t>(command, "--connections", plan.connections, number_up_to(4096),
                          "connections that share the frames")
      ->default_str("1");
  add_list<std::uint32_t>(command, "--gather", plan.gathers, number_up_to(Sender::max_gathered),
                          "most frames in one request")
      ->default_str(std::to_string(Sender::max_gathered));
  add_list<std::uint32_t>(command, "--batch", plan.batches, number_up_to(16'384),
                          "frames that are started together")
      ->default_str("32");
  add_list<Exporter>(
      command, "--source", plan.sources,
      one_of<Exporter>({Exporter::dmawire, Exporter::memfd, Exporter::udmabuf, Exporter::dma_heap}),
      "whose memory: dmawire, memfd (needs no module), udmabuf, dma-heap")
      ->default_str("dmawire");
  add_list<Layout>(command, "--layout", plan.layouts,
                   one_of<Layout>({Layout::pages, Layout::folios, Layout::huge}),
                   "pages, folios (of 64 KiB: dmawire, memfd), huge (memfd, pages of 2 MiB)")
      ->default_str("pages");
  add_list<Backing>(
      command, "--backing", plan.backings,
      one_of<Backing>({Backing::pages, Backing::memfd, Backing::memfd_2m, Backing::memfd_1g,
                       Backing::user, Backing::contig, Backing::contig_cma}),
      "where dmawire's memory comes from: pages, memfd, memfd:2M, memfd:1G, user, "
      "contig, contig:cma")
      ->default_str("pages");
  add_list<Data>(command, "--data", plan.data, one_of<Data>({Data::cold, Data::hot}),
                 "cold (64 MiB of frames in turn, as from a device), hot (256 KiB of them)")
      ->default_str("cold");
  add_list<std::optional<std::uint32_t>>(command, "--buffers", plan.frames,
                                         number_up_to(16'777'216),
                                         "frames in turn, instead of what --data says");
  add_list<std::optional<std::uint64_t>>(command, "--offset", plan.offsets, parse_offset,
                                         "put each frame into a buffer (and a slot of the ring) of "
                                         "its own, so far from its beginning");
}

void add_conduct(CLI::App& command, Options& options) {
  Conduct& conduct = options.conduct;
  conduct.amount.bytes = 256UL * 1024 * 1024;
  CLI::Option* total =
      command
          .add_option_function<std::string>(
              "--total",
              [&conduct](const std::string& text) {
                conduct.amount.bytes =
                    parse_or_usage_error("--total", [&] { return parse_size(text); });
              },
              "bytes that one run sends: as many whole frames as they are, but at least one")
          ->type_name("SIZE")
          ->default_str("256M");
  command
      .add_option_function<double>(
          "--time", [&conduct](double seconds) { conduct.amount.seconds = seconds; },
          "seconds that one run takes, instead of --total")
      ->check(CLI::Range(0.001, 86'400.0))
      ->type_name("SECONDS")
      ->excludes(total);
  command.add_option("--repeats", conduct.repeats, "runs of each case that count, in turn")
      ->check(CLI::Range(1U, 1000U))
      ->capture_default_str();
  command.add_option("--warm-up", conduct.warm_up, "runs of each case before those")
      ->check(CLI::Range(0U, 1000U))
      ->capture_default_str();
  command.add_flag("--verify", conduct.verify,
                   "run each case once more with a receiver that hashes what it gets");
  command.add_flag("--setup", options.setup,
                   "measure what has to be done before the first send instead: 64M, 1G and 4G");
  command.add_flag("--populate", options.populate,
                   "measure the CPU's first touch of new memory instead: with a fault for what is "
                   "not mapped yet, and with all mapped before; 1M and 64M");
  auto* memory = command.add_flag(
      "--memory", options.memory,
      "measure how fast the CPU reads and writes what --device N writes to instead: coherent "
      "memory, and pages that are synced; buffers of 64K, 1M and 4M");
  command.add_option("--device", options.device, "whose memory")->type_name("N")->needs(memory);
  command
      .add_option_function<std::string>(
          "--netns",
          [&options](const std::string& text) {
            options.netns = parse_or_usage_error("--netns", [&] { return split_list(text); });
          },
          "network namespaces to send from and to receive in; SRC alone with HOST:PORT")
      ->type_name("SRC,DST");
  command
      .add_option("--peer-address", conduct.place.address,
                  "where the receiver in DST listens, if not at its first IPv4 address")
      ->type_name("ADDR");
}

void add_results(CLI::App& command, Options& options) {
  auto* json = command.add_flag("--json", options.json, "print an array of rows");
  command.add_flag("--csv", options.csv, "print comma-separated values")->excludes(json);
  command.add_option("--plot", options.plot, "also draw a chart into this file")
      ->type_name("FILE.svg");
  command
      .add_option("--baseline", options.baseline,
                  "compare CPU time with an earlier --json; worse is status 1")
      ->type_name("FILE");
  command.add_option("--tolerance", options.tolerance, "how much worse is not worse, in percent")
      ->check(CLI::Range(0.0, 10'000.0))
      ->capture_default_str()
      ->type_name("PERCENT");
  add_list<std::string>(
      command, "--from", options.from, [](const std::string& word) { return word; },
      "show the rows of earlier --json files instead of measuring");
}

/// What no option can know by itself.
void finish_options(Options& options) {
  options.conduct.place.remote.reset();
  if (!options.peer.port.empty()) {
    options.conduct.place.remote = options.peer;
  }
  const std::size_t wanted = options.conduct.place.remote ? 1 : 2;
  if (!options.netns.empty() && options.netns.size() != wanted) {
    throw CLI::ValidationError("--netns",
                               wanted == 1 ? "with HOST:PORT it is SRC alone" : "expected SRC,DST");
  }
  if (options.netns.size() == 2) {
    options.conduct.place.netns = options.netns[1];
  }
  // A frame's length has 32 bits.
  const std::uint64_t most = options.setup || options.populate
                                 ? std::numeric_limits<std::uint64_t>::max()
                                 : std::numeric_limits<std::uint32_t>::max();
  for (const std::uint64_t size : options.plan.sizes) {
    if (size == 0 || size > most) {
      throw CLI::ValidationError("--size", fmt::format("{} is no size of a frame", size));
    }
  }
  if (options.memory + options.populate + options.setup > 1) {
    throw CLI::ValidationError("--memory, --populate, --setup", "measure one thing at a time");
  }
  if ((options.memory || options.populate) &&
      (!options.from.empty() || !options.baseline.empty() || !options.plot.empty())) {
    throw CLI::ValidationError(options.memory ? "--memory" : "--populate",
                               "has nothing to plot, to read back or to compare");
  }
  if (options.setup && (!options.baseline.empty() || !options.plot.empty())) {
    throw CLI::ValidationError("--setup", "has nothing to plot or to compare");
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "bench", "Measure every combination of what the comma lists name, in one table");
  add_endpoint(*command, "peer", "HOST:PORT", options->peer, false,
               "who receives (`uring_app recv --again`; for UDP nobody has to); else a process of "
               "its own, over loopback or --netns")
      ->required(false);
  add_dimensions(*command, *options);
  add_conduct(*command, *options);
  add_results(*command, *options);
  command->callback([options] {
    finish_options(*options);
    run(*options);
  });
}

}  // namespace dmawire::commands
