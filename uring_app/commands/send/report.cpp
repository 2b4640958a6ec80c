// SPDX-License-Identifier: MIT
#include "report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "../units.hpp"

namespace dmawire::commands {
namespace {

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

double per_call(std::uint64_t count, std::uint64_t calls) {
  return calls > 0 ? static_cast<double>(count) / static_cast<double>(calls) : 0;
}

double microseconds(std::chrono::nanoseconds duration) {
  return static_cast<double>(duration.count()) / 1e3;
}

nlohmann::ordered_json percentiles(const Histogram& histogram) {
  return {{"p50", microseconds(histogram.percentile(50))},
          {"p99", microseconds(histogram.percentile(99))},
          {"max", microseconds(histogram.max())}};
}

void add_stream(nlohmann::ordered_json& row, const StreamReport& stream,
                const SenderStatistics& sent) {
  row["captured"] = stream.capture.captured;
  row["lost"] = stream.capture.lost;
  row["failed"] = stream.capture.failed;
  row["canceled"] = stream.capture.canceled;
  row["sent_frames"] = sent.frames;
  row["dropped"] = stream.capture.captured - sent.frames;
  row["recorded_bytes"] = stream.recorded_bytes;
  row["frames_per_syscall"] = per_call(stream.capture.captured, sent.system_calls);
  if (stream.video) {
    row["video"] = {{"format", stream.video->fourcc},
                    {"width", stream.video->width},
                    {"height", stream.video->height}};
  }
  row["latency_to_send_us"] = percentiles(stream.to_send);
  row["latency_to_done_us"] = percentiles(stream.to_done);
}

void add_import(nlohmann::ordered_json& row, const SendReport& report) {
  const ImportReport& imported = *report.import;
  row["reason"] = report.reason;
  row["exporters"] = imported.exporters;
  row["imported_frames"] = imported.frames;
  row["imported_bytes"] = imported.bytes;
  row["hold"] = imported.hold;
  row["lost"] = imported.lost;
  row["skipped"] = imported.skipped;
  row["recorded_bytes"] = imported.recorded_bytes;
}

void print_import(const ImportReport& imported) {
  fmt::print("imported       {} frames, {} bytes ({}), of {}; {} at a time at most\n",
             imported.frames, imported.bytes, format_size(imported.bytes),
             fmt::join(imported.exporters, ", "), imported.hold);
  fmt::print("               {} lost for want of room at the device, {} skipped here\n",
             imported.lost, imported.skipped);
  if (imported.recorded_bytes > 0) {
    fmt::print("recorded       {} bytes ({})\n", imported.recorded_bytes,
               format_size(imported.recorded_bytes));
  }
}

void print_latency(const char* what, const Histogram& histogram) {
  fmt::print("{}  {:.1f} us for half of the frames, {:.1f} us for 99 %, {:.1f} us at most\n", what,
             microseconds(histogram.percentile(50)), microseconds(histogram.percentile(99)),
             microseconds(histogram.max()));
}

void print_stream(const StreamReport& stream, const SenderStatistics& sent) {
  const CaptureStatistics& capture = stream.capture;
  fmt::print("captured       {} frames; {} lost for want of room, {} failed\n", capture.captured,
             capture.lost, capture.failed);
  if (stream.video) {
    fmt::print("format         {} {}x{}\n", stream.video->fourcc, stream.video->width,
               stream.video->height);
  }
  fmt::print("frames         {} sent, {} dropped; {:.1f} captured a system call\n", sent.frames,
             capture.captured - sent.frames, per_call(capture.captured, sent.system_calls));
  if (stream.recorded_bytes > 0) {
    fmt::print("recorded       {} bytes ({})\n", stream.recorded_bytes,
               format_size(stream.recorded_bytes));
  }
  print_latency("until sent   ", stream.to_send);
  print_latency("until let go ", stream.to_done);
}

void print_sending(const SendReport& report) {
  const SenderStatistics& statistics = report.statistics;
  const auto bytes = static_cast<double>(statistics.bytes);
  constexpr double gibibyte = 1024.0 * 1024 * 1024;
  fmt::print("path           {} ({})\n", name(*report.path), report.reason);
  fmt::print(
      "sent           {} bytes ({}) in {:.3f} s, {}/s\n", statistics.bytes,
      format_size(statistics.bytes), report.seconds,
      format_size(static_cast<std::uint64_t>(report.seconds > 0 ? bytes / report.seconds : 0)));
  if (report.stream) {
    print_stream(*report.stream, statistics);
  }
  fmt::print("sends          {}\n", statistics.sends);
  fmt::print("notifications  {}\n", describe_notifications(statistics));
  if (report.kernel_copies) {
    fmt::print("kernel         copied {} packets of zero-copy data, whosever they were\n",
               *report.kernel_copies);
  }
  fmt::print("system calls   {} for sending\n", statistics.system_calls);
  fmt::print("CPU            {:.3f} s", report.cpu_seconds);
  if (statistics.bytes >= 1024UL * 1024) {  // below that it says nothing
    fmt::print(", {:.3f} s per GiB", report.cpu_seconds * gibibyte / bytes);
  }
  fmt::print("\n");
}

}  // namespace

void tell_of_copying(SendReport& report) {
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

void print_json(const SendReport& report) {
  const SenderStatistics& statistics = report.statistics;
  const auto if_reported = [&](std::uint64_t count) {
    return statistics.usage_reported ? nlohmann::ordered_json(count) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json row;
  row["path"] = nullptr;
  if (report.path) {
    row["path"] = name(*report.path);
  }
  row["bytes"] = statistics.bytes;
  row["seconds"] = report.seconds;
  row["sends"] = statistics.sends;
  row["notifications"] = statistics.notifications;
  row["zerocopied"] = if_reported(statistics.zero_copied);
  row["copied"] = if_reported(statistics.copied);
  row["merged"] = if_reported(statistics.merged);
  row["syscalls"] = statistics.system_calls;
  row["cpu_seconds"] = report.cpu_seconds;
  row["frames"] = statistics.frames;
  if (report.stream) {
    add_stream(row, *report.stream, statistics);
  }
  if (report.import) {
    add_import(row, report);
  }
  if (report.kernel_copies) {
    row["kernel_copies"] = *report.kernel_copies;
  }
  row["xxh3"] = nullptr;
  if (report.hash) {
    row["xxh3"] = format_hash(*report.hash);
  }
  fmt::print("{}\n", row.dump());
}

void print_text(const SendReport& report) {
  if (report.import) {
    print_import(*report.import);
  }
  if (report.path) {
    print_sending(report);
  }
  if (report.hash) {
    fmt::print("xxh3           {}\n", format_hash(*report.hash));
  }
}

}  // namespace dmawire::commands
