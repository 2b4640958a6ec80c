// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <system_error>

#include <dmawire/stream.hpp>
#include <dmawire/unique_fd.hpp>

namespace dmawire::test {

/// Two ends of a TCP connection on this machine.
struct Loopback {
  UniqueFd near;
  UniqueFd far;

  explicit Loopback(const std::string& host = "127.0.0.1") {
    const UniqueFd listener = listen_stream({host, "0"});
    near = connect_stream({host, std::to_string(local_port(listener.get()))});
    far = accept_stream(listener.get());
    // For tests of data that is in flight when its socket is closed.
    if (const std::error_code error = set_abortive_close(near.get(), false)) {
      throw std::system_error(error);
    }
  }
};

}  // namespace dmawire::test
