// SPDX-License-Identifier: MIT
#include "units.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <stdexcept>

namespace dmawire::commands {
namespace {

constexpr std::string_view unit_letters = "KMGT";

}  // namespace

std::uint64_t parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit{end, static_cast<std::size_t>(text.data() + text.size() - end)};
  const std::size_t power = unit.empty() ? 0 : unit_letters.find(unit) + 1;
  if (error == std::errc::invalid_argument || unit.size() > 1 || (!unit.empty() && power == 0)) {
    throw std::invalid_argument(
        fmt::format("'{}' is not a size: expected a whole number and K, M, G or T or none", text));
  }
  const std::size_t shift = 10 * power;
  if (error == std::errc::result_out_of_range ||
      number > std::numeric_limits<std::uint64_t>::max() >> shift) {
    throw std::invalid_argument(fmt::format("'{}' is too large", text));
  }
  return number << shift;
}

Dimensions parse_dimensions(std::string_view text) {
  Dimensions dimensions;
  const char* const end = text.data() + text.size();
  const auto width = std::from_chars(text.data(), end, dimensions.width);
  if (width.ec == std::errc{} && width.ptr != end && *width.ptr == 'x') {
    const auto height = std::from_chars(width.ptr + 1, end, dimensions.height);
    if (height.ec == std::errc{} && height.ptr == end && dimensions.width > 0 &&
        dimensions.height > 0) {
      return dimensions;
    }
  }
  throw std::invalid_argument(fmt::format("'{}' is not of the form 640x480", text));
}

std::string format_size(std::uint64_t bytes) {
  std::size_t power = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024 && power < unit_letters.size()) {
    value /= 1024;
    ++power;
  }
  if (power == 0) {
    return fmt::format("{} B", bytes);
  }
  std::string digits = fmt::format("{:.2f}", value);
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.ends_with('.')) {
    digits.pop_back();
  }
  return fmt::format("{} {}iB", digits, unit_letters[power - 1]);
}

std::string format_frame_size(std::uint64_t bytes) {
  return bytes % 1024 == 0 ? format_size(bytes) : fmt::format("{} B", bytes);
}

std::string format_hash(std::uint64_t hash) {
  return fmt::format("{:016x}", hash);
}

}  // namespace dmawire::commands
