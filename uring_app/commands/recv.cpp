// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <dmawire/error.hpp>
#include <dmawire/receiver.hpp>
#include <dmawire/stream.hpp>
#include <dmawire/unique_fd.hpp>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "commands.hpp"
#include "hash.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "recv/frame_checker.hpp"
#include "units.hpp"

namespace dmawire::commands {
namespace {

struct Options {
  Endpoint local;
  bool udp = false;
  bool again = false;
  bool hash = false;
  bool check_frames = false;
  std::string out;
  bool json = false;
};

/// The file that what arrives is stored in.
class Output {
 public:
  explicit Output(const std::string& path)
      : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (!fd_.valid()) {
      const int code = errno;
      throw Error(code, fmt::format("opening {} for writing", path_));
    }
  }

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_.get(), bytes.data(), bytes.size());
      if (count < 0 && errno != EINTR) {
        const int code = errno;
        throw Error(code, fmt::format("writing {}", path_),
                    code == ENOSPC ? "the disk is full; what is there is not complete" : "");
      }
      bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    }
  }

  /// Some filesystems tell of a failed write only now.
  void close() {
    if (::close(fd_.release()) < 0) {
      const int code = errno;
      throw Error(code, fmt::format("writing {}", path_));
    }
  }

 private:
  std::string path_;
  UniqueFd fd_;
};

struct Report {
  std::uint64_t bytes = 0;
  double seconds = 0;
  std::optional<std::uint64_t> hash;
  std::optional<FrameChecker::Result> checked;
  bool good = true;  ///< of checked frames
};

Report receive(int connection, const Options& options) {
  using Clock = std::chrono::steady_clock;
  Receiver receiver{connection};
  std::optional<Output> output;
  if (!options.out.empty()) {
    output.emplace(options.out);
  }
  std::optional<Hash> hash;
  if (options.hash) {
    hash.emplace();
  }
  std::optional<FrameChecker> checker;
  if (options.check_frames) {
    checker.emplace(options.udp ? FrameChecker::Transport::datagrams
                                : FrameChecker::Transport::stream);
  }

  Report report;
  Progress progress{std::nullopt};
  const Clock::time_point start = Clock::now();
  for (;;) {
    const Receiver::Received received = receiver.next();
    if (received.error) {
      throw Error(received.error.value(), fmt::format("receiving, after {} bytes", report.bytes),
                  received.error.value() == ECONNRESET ? "the sender broke off" : "");
    }
    if (received.bytes.empty()) {
      break;
    }
    report.bytes += received.bytes.size();
    if (hash) {
      hash->add(received.bytes);
    }
    if (checker) {
      checker->add(received.bytes);
    }
    if (output) {
      output->write(received.bytes);
    }
    progress.update(report.bytes);
  }
  if (output) {
    output->close();
  }
  report.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (hash) {
    report.hash = hash->value();
  }
  if (checker) {
    checker->finish();
    report.checked = checker->result();
    report.good = checker->good();
  }
  return report;
}

void print_json(const Report& report) {
  nlohmann::ordered_json row;
  row["bytes"] = report.bytes;
  row["seconds"] = report.seconds;
  row["xxh3"] = nullptr;
  if (report.hash) {
    row["xxh3"] = format_hash(*report.hash);
  }
  if (report.checked) {
    const FrameChecker::Result& checked = *report.checked;
    row["frames"] = checked.frames;
    row["bad"] = checked.bad;
    row["lost"] = checked.lost;
    row["out_of_order"] = checked.out_of_order;
    row["first_sequence"] = nullptr;
    row["last_sequence"] = nullptr;
    if (checked.first_sequence) {
      row["first_sequence"] = *checked.first_sequence;
      row["last_sequence"] = checked.last_sequence;
    }
  }
  fmt::print("{}\n", row.dump());
}

void print_text(const Report& report) {
  const double rate = report.seconds > 0 ? static_cast<double>(report.bytes) / report.seconds : 0;
  fmt::print("received    {} bytes ({}) in {:.3f} s, {}/s\n", report.bytes,
             format_size(report.bytes), report.seconds,
             format_size(static_cast<std::uint64_t>(rate)));
  if (report.hash) {
    fmt::print("xxh3        {}\n", format_hash(*report.hash));
  }
  if (report.checked) {
    const FrameChecker::Result& checked = *report.checked;
    fmt::print("frames      {} good, {} bad, {} lost, {} out of order\n", checked.frames,
               checked.bad, checked.lost, checked.out_of_order);
    if (checked.first_sequence) {
      fmt::print("numbers     {} to {}\n", *checked.first_sequence, checked.last_sequence);
    }
  }
}

void print(const Report& report, const Options& options) {
  if (options.json) {
    print_json(report);
  } else {
    print_text(report);
  }
}

/// Connection after connection, several at a time, until somebody ends the program.
[[noreturn]] void serve(int listener, const Options& options) {
  std::mutex printing;
  for (;;) {
    std::thread([&, connection = accept_stream(listener)] {
      try {
        const Report report = receive(connection.get(), options);
        const std::lock_guard lock{printing};
        print(report, options);
        std::fflush(stdout);
      } catch (const Error& error) {
        fmt::print(stderr, "uring_app: {}\n", error.what());
      }
    }).detach();
  }
}

void run(const Options& options) {
  UniqueFd listener = options.udp ? bind_datagram(options.local) : listen_stream(options.local);
  Endpoint bound = options.local;
  bound.port = std::to_string(local_port(listener.get()));
  fmt::print(stderr, "listening on {}\n", bound.host.empty() ? "port " + bound.port : bound.text());
  if (options.again) {
    serve(listener.get(), options);
  }
  const UniqueFd connection = options.udp ? std::move(listener) : accept_stream(listener.get());

  const Report report = receive(connection.get(), options);
  print(report, options);
  if (!report.good) {
    throw Error(0, "what came is not what was captured",
                "bad frames came damaged, or are none; out of order are those behind a later one");
  }
}

}  // namespace

void add_recv(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("recv",
                                         "Take one TCP connection, or datagrams, from uring_app or "
                                         "anything else, and count what comes");
  add_endpoint(*command, "local", "[ADDR:]PORT", options->local, true,
               "where to listen; port 0 takes a free one and says which");
  auto* udp = command->add_flag("--udp", options->udp, "take datagrams, until an empty one comes");
  auto* again = command->add_flag("--again", options->again,
                                  "take every connection that comes, until ended; for bench");
  again->excludes(udp);
  command->add_flag("--hash", options->hash, "hash what arrives (XXH3, reads every byte)");
  command
      ->add_flag("--check-frames", options->check_frames,
                 "verify checksums and sequence of frames that say what they are, as the device "
                 "`pattern` makes them; fail if one is bad, or a stream's out of order")
      ->excludes(again);
  command->add_option("--out", options->out, "store what arrives in this file")
      ->type_name("FILE")
      ->excludes(again);
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback([options] { run(*options); });
}

}  // namespace dmawire::commands
