// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <dmawire/error.hpp>
#include <string>

namespace dmawire::test {

/// The message of the Error that an action throws.
template <typename Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline void expect_says(const std::string& message, const std::string& words) {
  EXPECT_NE(message.find(words), std::string::npos) << message;
}

}  // namespace dmawire::test
