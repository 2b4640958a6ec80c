// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <dmawire/stream.hpp>
#include <optional>
#include <stdexcept>
#include <string>

#include "units.hpp"

/// Option types that several commands share.
namespace dmawire::commands {

/// Runs a parser that throws std::invalid_argument; misuse is CLI11's to report.
template <typename Parse>
auto parse_or_usage_error(const std::string& option, Parse parse) {
  try {
    return parse();
  } catch (const std::invalid_argument& error) {
    throw CLI::ValidationError(option, error.what());
  }
}

/// An option that takes a size of at least `least` bytes.
inline CLI::Option* add_size(CLI::App& command, const std::string& option,
                             std::optional<std::uint64_t>& value, std::uint64_t least,
                             const std::string& description) {
  return command
      .add_option_function<std::string>(
          option,
          [option, &value, least](const std::string& text) {
            value = parse_or_usage_error(option, [&] { return parse_size(text); });
            if (*value < least) {
              throw CLI::ValidationError(option, "must be at least " + format_size(least));
            }
          },
          description)
      ->type_name("SIZE");
}

/// A positional that takes an endpoint; `form` shows how it is written.
inline CLI::Option* add_endpoint(CLI::App& command, const std::string& name,
                                 const std::string& form, Endpoint& value, bool host_optional,
                                 const std::string& description) {
  return command
      .add_option_function<std::string>(
          name,
          [form, &value, host_optional](const std::string& text) {
            value =
                parse_or_usage_error(form, [&] { return Endpoint::parse(text, host_optional); });
          },
          description)
      ->type_name(form)
      ->required();
}

}  // namespace dmawire::commands
