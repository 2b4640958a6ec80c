// SPDX-License-Identifier: MIT
//
// Every format that the library and the program read, under libFuzzer. The first byte of an input
// selects the format, A the first of `formats` and so on; the rest is the text to parse.
//
// A bug is a crash, a sanitizer report, an exception that the parser does not document, or a failed
// must().

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <dmawire/stream.hpp>
#include <iostream>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "commands/bench/baseline.hpp"
#include "commands/bench/message.hpp"
#include "commands/bench/pattern.hpp"
#include "commands/bench/plan.hpp"
#include "commands/bench/plot.hpp"
#include "commands/bench/proc.hpp"
#include "commands/bench/row.hpp"
#include "commands/bench/setup.hpp"
#include "commands/bench/table.hpp"
#include "commands/units.hpp"
#include "completion.hpp"
#include "netlink_parse.hpp"
#include "share_message.hpp"

namespace dmawire {
namespace {

using Bytes = std::span<const std::byte>;

void must(bool condition, const char* what) {
  if (!condition) {
    std::cerr << "broken promise: " << what << '\n';
    std::abort();
  }
}

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A number from the front of `bytes`, which loses it; zeros where there is nothing left.
template <typename T>
T take(Bytes& bytes) {
  std::array<std::byte, sizeof(T)> front{};
  const std::size_t size = std::min(front.size(), bytes.size());
  std::copy_n(bytes.begin(), size, front.begin());
  bytes = bytes.subspan(size);
  return std::bit_cast<T>(front);
}

/// Runs a parser that rejects its input with std::invalid_argument and throws nothing else.
template <typename Parse>
bool takes(Parse parse) {
  try {
    parse();
    return true;
  } catch (const std::invalid_argument& error) {
    must(std::strlen(error.what()) > 0, "a refusal says why");
    return false;
  }
}

void endpoint(Bytes bytes) {
  for (const bool host_optional : {false, true}) {
    takes([&] {
      const Endpoint parsed = Endpoint::parse(text_of(bytes), host_optional);
      const Endpoint again = Endpoint::parse(parsed.text(), true);
      must(again.host == parsed.host && again.port == parsed.port, "an endpoint reads as written");
    });
  }
}

void size(Bytes bytes) {
  std::uint64_t value = 0;
  if (takes([&] { value = commands::parse_size(text_of(bytes)); })) {
    must(commands::parse_size(std::to_string(value)) == value, "a size reads as written");
    must(!commands::format_size(value).empty() && !commands::format_frame_size(value).empty(),
         "every size can be written");
  }
}

void number(Bytes bytes) {
  const auto least = take<std::uint64_t>(bytes);
  const auto most = take<std::uint64_t>(bytes);
  takes([&] {
    const std::uint64_t value = commands::bench::parse_number(text_of(bytes), least, most);
    must(value >= least && value <= most, "a number is within its limits");
  });
}

void list(Bytes bytes) {
  takes([&] {
    std::string joined;
    for (const std::string& word : commands::bench::split_list(text_of(bytes))) {
      must(!word.empty(), "no word of a list is empty");
      joined += (joined.empty() ? "" : ",") + word;
    }
    must(joined == text_of(bytes), "a list is its words");
  });
}

void route_reply(Bytes bytes) {
  if (const auto reply = parse_route_reply(bytes)) {
    must(reply->error >= 0 && (reply->error == 0 || !reply->device), "a refusal names no device");
  }
}

void cpu_list(Bytes bytes) {
  if (const auto cpus = parse_cpu_list(text_of(bytes))) {
    must(!cpus->empty() && cpus->front() >= 0, "a list of CPUs has some");
  }
}

void proc_files(Bytes bytes) {
  std::istringstream stat{std::string{text_of(bytes)}};
  static_cast<void>(commands::bench::parse_idle_ticks(stat));
  std::istringstream status{std::string{text_of(bytes)}};
  const std::uint64_t locked = commands::bench::parse_kernel_field(status, "VmLck");
  must(locked % 1024 == 0, "a field is in KiB");
}

void transfer_rows(Bytes bytes) {
  using namespace commands::bench;
  std::istringstream text{std::string{text_of(bytes)}};
  if (const auto rows = parse_rows(text, RowKind::transfer)) {
    must(format_plot(*rows).find("nan") == std::string::npos, "no place in a plot is no number");
    static_cast<void>(format_table(*rows));
    static_cast<void>(format_csv(*rows));
    const Comparison same = compare(*rows, *rows, 0);
    must(same.compared + same.unmatched.size() == rows->size(), "every row is compared or named");
  }
}

void setup_rows(Bytes bytes) {
  using namespace commands::bench;
  std::istringstream text{std::string{text_of(bytes)}};
  if (const auto rows = parse_rows(text, RowKind::setup)) {
    static_cast<void>(format_setup_table(*rows));
    static_cast<void>(format_csv(*rows));
  }
}

void pattern(Bytes bytes) {
  static_cast<void>(commands::bench::is_pattern(bytes));
  const auto index = take<std::uint64_t>(bytes);
  std::vector<std::byte> frame(bytes.size());
  commands::bench::fill_pattern(frame, index);
  must(commands::bench::is_pattern(frame), "a pattern is one");
}

void message(Bytes bytes) {
  if (const auto parsed = commands::bench::parse_message(bytes)) {
    must(parsed->text_string().size() <= parsed->text.size(), "a text ends within its message");
  }
}

void completions(Bytes bytes) {
  UsageTally tally;
  SenderStatistics statistics{};
  std::uint64_t notifications = 0;
  while (!bytes.empty()) {
    io_uring_cqe cqe{};
    cqe.user_data = take<std::uint64_t>(bytes);
    cqe.res = take<std::int32_t>(bytes);
    cqe.flags = take<std::uint32_t>(bytes);
    const Completion completion{cqe};
    const RequestTag tag{.request = completion.request(),
                         .sequence = completion.sequence(),
                         .client = completion.client()};
    must((cqe.user_data & ~RequestTag::notification_bit) == tag.pack(), "a tag reads as written");
    if (completion.notification()) {
      must(completion.result() == 0, "a notification has no result");
      tally.add(completion.sequence(), completion.flagged_copied(), statistics);
      ++notifications;
    } else {
      must(!completion.flagged_copied(), "a result says nothing of copies");
      tally.end_run();
    }
  }
  must(statistics.zero_copied + statistics.copied + statistics.merged == notifications,
       "every notification is counted once");
}

void share_message(Bytes bytes) {
  const auto header = share::parse_header(bytes);
  if (!header) {
    return;
  }
  must(header->count <= share::max_entries, "a message has no more entries than there can be");
  switch (header->type) {
    case DMAWIRE_SHARE_HELLO:
      static_cast<void>(share::as<dmawire_share_hello>(bytes));
      break;
    case DMAWIRE_SHARE_WELCOME:
      static_cast<void>(share::as<dmawire_share_welcome>(bytes));
      break;
    case DMAWIRE_SHARE_BUFFERS:
      static_cast<void>(share::entry<dmawire_share_buffer>(bytes, header->count - 1));
      break;
    case DMAWIRE_SHARE_FRAMES:
      static_cast<void>(share::entry<dmawire_share_frame>(bytes, header->count - 1));
      break;
    case DMAWIRE_SHARE_DONE:
      static_cast<void>(share::entry<__u32>(bytes, header->count - 1));
      break;
    case DMAWIRE_SHARE_END:
      static_cast<void>(share::as<dmawire_share_end>(bytes));
      break;
    default:
      must(false, "a message has a type");
  }
}

constexpr std::array formats{endpoint, size,        number,        list,       route_reply,
                             cpu_list, proc_files,  transfer_rows, setup_rows, pattern,
                             message,  completions, share_message};

}  // namespace
}  // namespace dmawire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t length) {
  using dmawire::formats;
  if (length > 0) {
    // On the heap by itself: a read before or behind it is seen.
    const std::vector<std::uint8_t> rest(data + 1, data + length);
    formats.at(static_cast<std::uint8_t>(data[0] - 'A') %
               formats.size())(std::as_bytes(std::span{rest}));
  }
  return 0;
}
