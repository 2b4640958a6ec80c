// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <system_error>

#include <dmawire/stream.hpp>
#include <dmawire/unique_fd.hpp>

#include "process.hpp"

namespace dmawire::test {

/// A TCP connection from src to dst over the guest's two network cards.
struct CardsConnection {
  UniqueFd near;
  UniqueFd far;

  CardsConnection() {
    UniqueFd listener;
    {
      const InNamespace there{"dst"};
      listener = listen_stream({"", "0"});
    }
    {
      const InNamespace here{"src"};
      near = connect_stream({"192.0.2.2", std::to_string(local_port(listener.get()))});
    }
    far = accept_stream(listener.get());
    // For tests of data that is in flight when its socket is closed.
    if (const std::error_code error = set_abortive_close(near.get(), false)) {
      throw std::system_error(error);
    }
  }
};

}  // namespace dmawire::test
