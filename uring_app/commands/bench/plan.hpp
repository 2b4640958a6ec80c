// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <dmawire/exporters.hpp>
#include <dmawire/sender.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dmawire::commands::bench {

enum class Protocol { tcp, udp };
/// Whether what is sent is in the processor's caches.
enum class Data {
  cold,  ///< far more of it than caches hold: as a device's data is
  hot,   ///< the same few frames over and over
};

[[nodiscard]] std::string_view name(Protocol protocol) noexcept;
[[nodiscard]] std::string_view name(Data data) noexcept;

/// One thing to measure.
struct Case {
  std::optional<Path> path;  ///< none: the sender chooses ("auto")
  Exporter source = Exporter::dmawire;
  Layout layout = Layout::pages;
  Backing backing = Backing::pages;
  Data data = Data::cold;
  Protocol protocol = Protocol::tcp;
  std::uint64_t size = 0;
  std::uint32_t depth = 0;
  std::uint32_t connections = 0;
  std::uint32_t gather = 0;
  std::uint32_t batch = 0;
  std::uint32_t frames = 0;  ///< in the pool
  /// Each frame in a buffer of its own, so far into it; none: as many frames in a buffer as fit.
  std::optional<std::uint64_t> offset;
};

[[nodiscard]] std::string path_name(const Case& what);
/// "direct tcp 4 KiB": as short as it can be said.
[[nodiscard]] std::string describe(const Case& what);

/// What to vary. The cases are all combinations.
struct Plan {
  std::vector<std::optional<Path>> paths{Path::direct, Path::fixed, Path::plain, Path::msg,
                                         Path::copy};
  std::vector<Exporter> sources{Exporter::dmawire};
  std::vector<Layout> layouts{Layout::pages};
  std::vector<Backing> backings{Backing::pages};
  std::vector<Data> data{Data::cold};
  std::vector<Protocol> protocols{Protocol::tcp};
  std::vector<std::uint64_t> sizes{4UL * 1024, 64UL * 1024};
  std::vector<std::uint32_t> depths{64};
  std::vector<std::uint32_t> connections{1};
  std::vector<std::uint32_t> gathers{Sender::max_gathered};
  std::vector<std::uint32_t> batches{32};
  std::vector<std::optional<std::uint32_t>> frames{{}};  ///< none: what the data asks for
  std::vector<std::optional<std::uint64_t>> offsets{{}};

  [[nodiscard]] std::vector<Case> cases() const;
  /// All combinations of what concerns memory alone, `size` being that of all memory.
  [[nodiscard]] std::vector<Case> memory_cases(const std::vector<std::uint64_t>& amounts) const;
};

/// The words of a comma list. Throws std::invalid_argument on an empty one.
[[nodiscard]] std::vector<std::string> split_list(std::string_view text);
/// A whole number from `least` to `most`. Throws std::invalid_argument.
[[nodiscard]] std::uint64_t parse_number(std::string_view text, std::uint64_t least,
                                         std::uint64_t most);

}  // namespace dmawire::commands::bench
