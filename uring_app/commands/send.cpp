// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <dmawire/copy_counter.hpp>
#include <dmawire/cpu_access.hpp>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/paths.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/stream.hpp>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "commands.hpp"
#include "hash.hpp"
#include "input.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "units.hpp"

namespace dmawire::commands {
namespace {

struct Options {
  Endpoint peer;
  bool udp = false;
  std::string from;
  std::string file;
  std::optional<Path> path;  ///< none: the best that works
  Exporter source = Exporter::dmawire;
  std::optional<std::uint64_t> size;
  std::uint32_t buffers = 256;
  std::uint32_t depth = 64;
  std::optional<std::uint64_t> total;
  bool sq_poll = false;
  bool verify_copies = false;
  bool hash = false;
  bool json = false;
};

struct Report {
  Path path;
  std::string reason;
  double seconds = 0;
  double cpu_seconds = 0;
  SenderStatistics statistics;
  std::optional<std::uint64_t> kernel_copies;
  std::optional<std::uint64_t> hash;
};

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Input open_input(const Options& options) {
  return options.file.empty() ? Input::standard_input(options.total)
                              : Input{options.file, options.total};
}

/// What fits a packet of UDP, in whole cache lines, so that frames lie side by side.
std::uint64_t default_size(const UniqueFd& datagrams) {
  return datagrams.valid() ? longest_datagram(datagrams.get()) / 64 * 64 : 64 * 1024;
}

ChosenSender open_sender(const Options& options, int socket, FramePool& pool) {
  Sender::Options sender_options{.depth = options.depth, .sq_poll = options.sq_poll};
  if (options.path) {
    return {make_sender(*options.path, std::array{socket}, pool, sender_options), *options.path,
            "asked for"};
  }
  sender_options.may_copy = true;
  sender_options.cached_data = true;  // the input was just read
  return choose_sender(std::array{socket}, pool, sender_options);
}

void throw_if(std::error_code error, const Sender& sender) {
  if (!error) {
    return;
  }
  const int code = error.value();
  const char* advice = "";
  if (code == EFAULT) {
    advice = "the mapping has no struct page to send from; dmawire's buffers and memfds have";
  } else if (code == ECONNRESET || code == EPIPE) {
    advice = "the receiver closed the connection before it had everything";
  } else if (code == EMSGSIZE) {
    advice = "a frame is longer than a datagram can be; choose a smaller --size";
  } else if (code == ECONNREFUSED) {
    advice = "nothing listens there; start `uring_app recv --udp PORT` first";
  } else if (code == ENOMEM) {
    advice = "the limit of locked memory may be too small (ulimit -l); --tx fixed needs it once";
  }
  throw Error(code, fmt::format("sending, after {} bytes", sender.statistics().bytes), advice);
}

/// Fills frames from the input while earlier ones are on their way.
void pump(Input& input, FramePool& pool, Sender& sender, std::optional<Hash>& hash) {
  Progress progress{input.length()};
  bool any = false;
  for (;;) {
    std::optional<Frame> frame = pool.take();
    if (!frame) {
      throw_if(sender.wait(), sender);
      continue;
    }
    std::size_t length = 0;
    {
      const CpuAccess access{frame->buffer(), CpuAccess::Intent::write};
      length = input.fill(frame->bytes(), sender);
    }
    if (length == 0) {
      break;
    }
    any = true;
    if (hash) {
      hash->add(frame->bytes().first(length));
    }
    throw_if(sender.send(std::move(*frame), length), sender);
    progress.update(sender.statistics().bytes);
  }
  if (!any) {
    throw Error(0, fmt::format("{} is empty, there is nothing to send", input.name()));
  }
  throw_if(sender.finish(), sender);
}

/// `auto` may have found that the way copies; then that is what was done.
void tell_of_copying(Report& report) {
  const SenderStatistics& statistics = report.statistics;
  if (statistics.copying_sends > 0) {
    report.reason += fmt::format("; but {} of {} sends as a copy, which is cheaper: {}",
                                 statistics.copying_sends, statistics.sends,
                                 statistics.copied > 0 ? "the way there copies anyway"
                                                       : "they were short and in the CPU's cache");
    if (2 * statistics.copying_sends > statistics.sends) {
      report.path = Path::copy;
    }
  }
}

Report transfer(const Options& options) {
  using Clock = std::chrono::steady_clock;
  Input input = open_input(options);
  // Memory first: without it no receiver should be troubled. UDP's connect() troubles nobody.
  UniqueFd datagrams = options.udp ? connect_datagram(options.peer) : UniqueFd{};
  FramePool pool = make_pool(options.source, options.buffers,
                             options.size ? *options.size : default_size(datagrams));
  const UniqueFd socket = options.udp ? std::move(datagrams) : connect_stream(options.peer);
  const ChosenSender chosen = open_sender(options, socket.get(), pool);
  std::optional<Hash> hash;
  if (options.hash) {
    hash.emplace();
  }

  std::optional<CopyCounter> copy_counter;
  if (options.verify_copies) {
    copy_counter.emplace();
  }

  const double cpu_start = cpu_seconds();
  const Clock::time_point start = Clock::now();
  pump(input, pool, *chosen.sender, hash);
  throw_if(options.udp ? finish_datagrams(socket.get()) : finish_stream(socket.get()),
           *chosen.sender);

  Report report{.path = chosen.path, .reason = chosen.reason};
  report.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  report.cpu_seconds = cpu_seconds() - cpu_start;
  report.statistics = chosen.sender->statistics();
  if (copy_counter) {
    report.kernel_copies = copy_counter->count();
  }
  tell_of_copying(report);
  if (hash) {
    report.hash = hash->value();
  }
  return report;
}

void print_json(const Report& report) {
  const SenderStatistics& statistics = report.statistics;
  const auto if_reported = [&](std::uint64_t count) {
    return statistics.usage_reported ? nlohmann::ordered_json(count) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json row;
  row["path"] = name(report.path);
  row["bytes"] = statistics.bytes;
  row["seconds"] = report.seconds;
  row["sends"] = statistics.sends;
  row["notifications"] = statistics.notifications;
  row["zerocopied"] = if_reported(statistics.zero_copied);
  row["copied"] = if_reported(statistics.copied);
  row["merged"] = if_reported(statistics.merged);
  row["syscalls"] = statistics.system_calls;
  row["cpu_seconds"] = report.cpu_seconds;
  if (report.kernel_copies) {
    row["kernel_copies"] = *report.kernel_copies;
  }
  row["xxh3"] = nullptr;
  if (report.hash) {
    row["xxh3"] = format_hash(*report.hash);
  }
  fmt::print("{}\n", row.dump());
}

std::string describe_notifications(const SenderStatistics& statistics) {
  if (statistics.notifications == 0) {
    return "none";
  }
  if (!statistics.usage_reported) {
    return fmt::format("{}; this kernel does not tell whether it copied", statistics.notifications);
  }
  return fmt::format("{}: {} zero-copied, {} copied, {} merged with an earlier one",
                     statistics.notifications, statistics.zero_copied, statistics.copied,
                     statistics.merged);
}

void print_text(const Report& report) {
  const SenderStatistics& statistics = report.statistics;
  const auto bytes = static_cast<double>(statistics.bytes);
  constexpr double gibibyte = 1024.0 * 1024 * 1024;
  fmt::print("path           {} ({})\n", name(report.path), report.reason);
  fmt::print(
      "sent           {} bytes ({}) in {:.3f} s, {}/s\n", statistics.bytes,
      format_size(statistics.bytes), report.seconds,
      format_size(static_cast<std::uint64_t>(report.seconds > 0 ? bytes / report.seconds : 0)));
  fmt::print("sends          {}\n", statistics.sends);
  fmt::print("notifications  {}\n", describe_notifications(statistics));
  if (report.kernel_copies) {
    fmt::print("kernel         copied {} packets of zero-copy data, whosever they were\n",
               *report.kernel_copies);
  }
  fmt::print("system calls   {} for sending\n", statistics.system_calls);
  fmt::print("CPU            {:.3f} s", report.cpu_seconds);
  if (statistics.bytes >= 1024 * 1024) {  // below that it says nothing
    fmt::print(", {:.3f} s per GiB", report.cpu_seconds * gibibyte / bytes);
  }
  fmt::print("\n");
  if (report.hash) {
    fmt::print("xxh3           {}\n", format_hash(*report.hash));
  }
}

void run(const Options& options) {
  if (options.source != Exporter::dmawire && options.source != Exporter::memfd) {
    fmt::print(stderr, "note: {} is here for comparison; its mappings cannot be sent zero-copy\n",
               name(options.source));
  } else if (options.source == Exporter::memfd) {
    fmt::print(stderr,
               "note: a memfd needs no module, but no device can write to it: data must be brought "
               "there by the CPU\n");
  }
  const Report report = transfer(options);
  if (options.json) {
    print_json(report);
  } else {
    print_text(report);
  }
}

/// An option that takes one of `values` by its name, or one of `others`, which mean no value.
template <typename Value>
CLI::Option* add_choice(CLI::App& command, const std::string& option,
                        std::initializer_list<Value> values, std::vector<std::string> others,
                        std::function<void(std::optional<Value>)> set,
                        const std::string& description) {
  std::map<std::string, std::optional<Value>> choices;
  std::vector<std::string> names = std::move(others);
  for (const std::string& other : names) {
    choices.emplace(other, std::nullopt);
  }
  for (const Value value : values) {
    choices.emplace(name(value), value);
    names.emplace_back(name(value));
  }
  return command
      .add_option_function<std::string>(
          option, [choices, set](const std::string& text) { set(choices.at(text)); }, description)
      ->check(CLI::IsMember(names))
      ->type_name("");
}

}  // namespace

void add_send(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("send", "Send a file or standard input over TCP or UDP, zero-copy");
  add_endpoint(*command, "peer", "HOST:PORT", options->peer, false, "who receives");

  auto* from = command->add_option("from", options->from, "send standard input")->type_name("-");
  from->check(CLI::IsMember({"-"}));
  auto* file = command->add_option("--file", options->file, "send this file")->type_name("FILE");
  from->excludes(file);

  add_choice<Path>(
      *command, "--tx", {Path::direct, Path::fixed, Path::plain, Path::msg, Path::copy}, {"auto"},
      [options](std::optional<Path> path) { options->path = path; },
      "how to send; auto takes the best that works and says why")
      ->default_str("auto");
  add_choice<Exporter>(
      *command, "--source",
      {Exporter::dmawire, Exporter::memfd, Exporter::udmabuf, Exporter::dma_heap}, {},
      [options](std::optional<Exporter> exporter) { options->source = *exporter; },
      "whose memory to send from; memfd needs no module, udmabuf and dma-heap are here to compare")
      ->default_str("dmawire");
  command->add_flag("--udp", options->udp, "send each frame as a datagram; nothing is sent again");
  add_size(*command, "--size", options->size, 1, "bytes of a frame")
      ->default_str("64K, or what fits a packet with --udp");
  command->add_option("--buffers", options->buffers, "frames to cycle through")
      ->check(CLI::Range(1U, 16'384U))
      ->capture_default_str();
  command->add_option("--depth", options->depth, "most frames in flight")
      ->check(CLI::Range(1U, 16'384U))
      ->capture_default_str();
  command
      ->add_option_function<std::string>(
          "--total",
          [options](const std::string& text) {
            options->total = parse_or_usage_error("--total", [&] { return parse_size(text); });
            if (*options->total == 0) {
              throw CLI::ValidationError("--total", "must be at least 1 B");
            }
          },
          "stop after this much")
      ->type_name("SIZE");
  command->add_flag("--sq-poll", options->sq_poll,
                    "have a thread of the kernel take the requests: fewer system calls, one CPU "
                    "more");
  command->add_flag("--verify-copies", options->verify_copies,
                    "count copies in the kernel too, with a probe on skb_copy_ubufs()");
  command->add_flag("--hash", options->hash, "hash what is sent (XXH3, reads every byte)");
  command->add_flag("--json", options->json, "print one JSON object");

  command->callback([options] {
    if (options->file.empty() && options->from.empty()) {
      throw CLI::RequiredError("--file FILE or -");
    }
    run(*options);
  });
}

}  // namespace dmawire::commands
