// SPDX-License-Identifier: MIT
#include <dmawire/error.hpp>

#include <fmt/format.h>

#include <cstring>

namespace dmawire {

std::string describe_errno(int code) {
  const char* errno_name = ::strerrorname_np(code);
  return fmt::format("{} ({})", errno_name ? errno_name : std::to_string(code),
                     ::strerrordesc_np(code) ? ::strerrordesc_np(code) : "unknown error");
}

namespace {

std::string sentence(int code, std::string_view tried, std::string_view advice) {
  std::string text{tried};
  if (code != 0) {
    text += ": " + describe_errno(code);
  }
  if (!advice.empty()) {
    text += "; ";
    text += advice;
  }
  return text;
}

}  // namespace

Error::Error(int code, std::string_view tried, std::string_view advice, Kind kind)
    : std::runtime_error(sentence(code, tried, advice)), code_(code), kind_(kind) {}

}  // namespace dmawire
