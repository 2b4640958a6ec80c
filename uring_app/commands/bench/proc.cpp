// SPDX-License-Identifier: MIT
#include "proc.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>
#include <system_error>

namespace dmawire::commands::bench {

std::optional<double> parse_idle_ticks(std::istream& stat) {
  std::string word;
  double user = 0;
  double nice = 0;
  double system = 0;
  double idle = 0;
  double waiting = 0;
  double interrupts = 0;
  double soft_interrupts = 0;
  double stolen = 0;
  stat >> word >> user >> nice >> system >> idle >> waiting >> interrupts >> soft_interrupts >>
      stolen;
  return stat ? std::optional{idle + waiting + stolen} : std::nullopt;
}

std::uint64_t parse_kernel_field(std::istream& file, std::string_view field) {
  constexpr std::uint64_t kibibyte = 1024;
  for (std::string line; std::getline(file, line);) {
    std::string_view rest = line;
    if (!rest.starts_with(field) || !rest.substr(field.size()).starts_with(':')) {
      continue;
    }
    rest.remove_prefix(field.size() + 1);
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    const bool good =
        error == std::errc{} && number <= std::numeric_limits<std::uint64_t>::max() / kibibyte;
    return good ? number * kibibyte : 0;
  }
  return 0;
}

}  // namespace dmawire::commands::bench
