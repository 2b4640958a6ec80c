// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// One end of a connection: a host name or address, and a port.
struct Endpoint {
  std::string host;
  std::string port;

  /// "HOST:PORT" or "[V6ADDR]:PORT"; with `host_optional` also "PORT" and ":PORT". Throws
  /// std::invalid_argument with a sentence that names the fault.
  [[nodiscard]] static Endpoint parse(std::string_view text, bool host_optional = false);
  [[nodiscard]] std::string text() const;
};

/// A TCP connection to `peer`; every address it resolves to is tried. Throws Error.
///
/// Its close is abortive, see below, until finish_stream() has succeeded: without it, bytes that
/// were sent may be lost at the close.
[[nodiscard]] UniqueFd connect_stream(const Endpoint& peer);

/// Whether the last close of a TCP socket resets the connection (SO_LINGER of 0 seconds): bytes
/// that were not acknowledged are dropped at once and their memory is released, independent of the
/// peer. The peer reads the bytes it had received, then gets ECONNRESET: it can tell a stream that
/// was cut short from one that is complete.
///
/// So it should be for every stream that is sent from memory of a device. A process that is killed
/// closes its sockets; without this the kernel goes on sending, and keeps the pages, for as long as
/// a peer that does not read answers. connect_stream() does it; for other sockets it is to be done
/// before the first send().
[[nodiscard]] std::error_code set_abortive_close(int socket, bool abortive) noexcept;

/// A listening TCP socket; an empty host means every address. Throws Error.
[[nodiscard]] UniqueFd listen_stream(const Endpoint& local);

/// The port a socket is bound to. Throws Error.
[[nodiscard]] std::uint16_t local_port(int socket);

/// Waits for one connection. Throws Error.
[[nodiscard]] UniqueFd accept_stream(int listener);

/// Tells the peer that no more comes and waits until its kernel acknowledged every byte, which its
/// program need not have read yet. Then the close is no longer abortive. A peer that does not read
/// holds this up for as long as its kernel answers: only the end of the process ends that.
[[nodiscard]] std::error_code finish_stream(int socket) noexcept;

/// A UDP socket that sends to `peer`. Throws Error.
[[nodiscard]] UniqueFd connect_datagram(const Endpoint& peer);

/// A UDP socket that receives at `local`; an empty host means every address. Throws Error.
[[nodiscard]] UniqueFd bind_datagram(const Endpoint& local);

/// The longest datagram that leaves a connected UDP socket in one packet: the MTU minus the
/// headers. Throws Error.
[[nodiscard]] std::size_t longest_datagram(int socket);

/// Says that no more comes, as far as datagrams can: with empty ones, which end a Receiver.
[[nodiscard]] std::error_code finish_datagrams(int socket) noexcept;

}  // namespace dmawire
