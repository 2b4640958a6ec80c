// SPDX-License-Identifier: MIT
#include "plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "../units.hpp"

namespace dmawire::commands::bench {
namespace {

/// Twice what the last level of most caches holds.
constexpr std::uint64_t cold_bytes = 64UL * 1024 * 1024;
/// Fits into a second-level cache beside what the kernel needs.
constexpr std::uint64_t hot_bytes = 256UL * 1024;

std::uint32_t frames_for(Data data, std::uint64_t size) {
  const std::uint64_t bytes = data == Data::cold ? cold_bytes : hot_bytes;
  return static_cast<std::uint32_t>(
      std::max<std::uint64_t>(bytes / size, data == Data::cold ? 16 : 1));
}

/// Every case of `before` with every one of `values`.
template <typename Value, typename Set>
std::vector<Case> times(const std::vector<Case>& before, const std::vector<Value>& values,
                        Set set) {
  std::vector<Case> after;
  after.reserve(before.size() * values.size());
  for (const Case& base : before) {
    for (const Value& value : values) {
      after.push_back(base);
      set(after.back(), value);
    }
  }
  return after;
}

}  // namespace

std::string_view name(Protocol protocol) noexcept {
  return protocol == Protocol::tcp ? "tcp" : "udp";
}

std::string_view name(Data data) noexcept {
  return data == Data::cold ? "cold" : "hot";
}

std::string path_name(const Case& what) {
  return what.path ? std::string{name(*what.path)} : "auto";
}

std::string describe(const Case& what) {
  return fmt::format("{} {} {}", path_name(what), name(what.protocol), format_size(what.size));
}

std::vector<Case> Plan::cases() const {
  std::vector<Case> all{Case{}};
  all = times(all, protocols, [](Case& to, Protocol value) { to.protocol = value; });
  all = times(all, connections, [](Case& to, std::uint32_t value) { to.connections = value; });
  all = times(all, sizes, [](Case& to, std::uint64_t value) { to.size = value; });
  all = times(all, depths, [](Case& to, std::uint32_t value) { to.depth = value; });
  all = times(all, batches, [](Case& to, std::uint32_t value) { to.batch = value; });
  all = times(all, data, [](Case& to, Data value) { to.data = value; });
  all = times(all, sources, [](Case& to, Exporter value) { to.source = value; });
  all = times(all, layouts, [](Case& to, Layout value) { to.layout = value; });
  all = times(all, backings, [](Case& to, Backing value) { to.backing = value; });
  all = times(all, gathers, [](Case& to, std::uint32_t value) { to.gather = value; });
  all = times(all, paths, [](Case& to, std::optional<Path> value) { to.path = value; });
  all = times(all, frames, [](Case& to, std::optional<std::uint32_t> value) {
    to.frames = value.value_or(frames_for(to.data, to.size));
  });
  return times(all, offsets,
               [](Case& to, std::optional<std::uint64_t> value) { to.offset = value; });
}

std::vector<Case> Plan::memory_cases(const std::vector<std::uint64_t>& amounts) const {
  std::vector<Case> cases;
  for (const std::uint64_t amount : amounts) {
    for (const Exporter source : sources) {
      for (const Layout layout : layouts) {
        for (const Backing backing : backings) {
          cases.push_back({.source = source, .layout = layout, .backing = backing, .size = amount});
        }
      }
    }
  }
  return cases;
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> words;
  for (;;) {
    const std::size_t comma = text.find(',');
    words.emplace_back(text.substr(0, comma));
    if (words.back().empty()) {
      throw std::invalid_argument("a word is missing in the list");
    }
    if (comma == std::string_view::npos) {
      return words;
    }
    text.remove_prefix(comma + 1);
  }
}

std::uint64_t parse_number(std::string_view text, std::uint64_t least, std::uint64_t most) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < least || number > most) {
    throw std::invalid_argument(
        fmt::format("'{}' is not a whole number from {} to {}", text, least, most));
  }
  return number;
}

}  // namespace dmawire::commands::bench
