// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/error.hpp>
#include <string>

namespace dmawire::test {

/// What the Error says that an action throws.
template <typename Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace dmawire::test
