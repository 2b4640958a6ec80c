// SPDX-License-Identifier: MIT
#include <dmawire/stream.hpp>

#include <fmt/format.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <stdexcept>

#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {
namespace {

/// Connections that may wait to be accepted.
constexpr int max_waiting = 128;

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

AddressList resolve(const Endpoint& endpoint, int type, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = type;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const char* host = endpoint.host.empty() ? nullptr : endpoint.host.c_str();
  if (const int status = ::getaddrinfo(host, endpoint.port.c_str(), &hints, &list); status != 0) {
    throw Error(status == EAI_SYSTEM ? errno : 0,
                fmt::format("looking up {}: {}", endpoint.host, ::gai_strerror(status)));
  }
  return {list, &freeaddrinfo};
}

UniqueFd open_socket(const addrinfo& address) {
  return UniqueFd{
      ::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC, address.ai_protocol)};
}

const char* connect_advice(int code) {
  switch (code) {
    case ECONNREFUSED:
      return "nothing listens there; start `uring_app recv PORT` first";
    case ENETUNREACH:
    case EHOSTUNREACH:
      return "there is no route to it";
    default:
      return "";
  }
}

int connect_to(const UniqueFd& socket, const addrinfo& address) {
  return ::connect(socket.get(), address.ai_addr, address.ai_addrlen);
}

/// Takes an address, and if it is a stream's, lets peers connect to it.
int bind_to(const UniqueFd& socket, const addrinfo& address) {
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.ai_family == AF_INET6) {
    const int off = 0;  // one socket for both versions of IP
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (::bind(socket.get(), address.ai_addr, address.ai_addrlen) < 0) {
    return -1;
  }
  return address.ai_socktype == SOCK_STREAM ? ::listen(socket.get(), max_waiting) : 0;
}

/// Calls `attempt(socket, address)` on each address until one succeeds.
template <typename Attempt>
UniqueFd first_that_works(const addrinfo* list, Attempt attempt, int& code) {
  for (const addrinfo* address = list; address != nullptr; address = address->ai_next) {
    UniqueFd socket = open_socket(*address);
    if (socket.valid() && attempt(socket, *address) == 0) {
      return socket;
    }
    code = errno;
  }
  return {};
}

UniqueFd connect_socket(const Endpoint& peer, int type) {
  const AddressList addresses = resolve(peer, type, 0);
  int code = 0;
  UniqueFd socket = first_that_works(addresses.get(), connect_to, code);
  if (!socket.valid()) {
    throw Error(code, fmt::format("connecting to {}", peer.text()), connect_advice(code));
  }
  return socket;
}

UniqueFd bind_socket(const Endpoint& local, int type) {
  const AddressList addresses = resolve(local, type, AI_PASSIVE);
  // An address for every version of IP serves better than one for IPv4 alone.
  const addrinfo* preferred = addresses.get();
  if (local.host.empty()) {
    for (const addrinfo* address = addresses.get(); address; address = address->ai_next) {
      if (address->ai_family == AF_INET6) {
        preferred = address;
      }
    }
  }
  int code = 0;
  UniqueFd socket = first_that_works(preferred, bind_to, code);
  if (!socket.valid() && preferred != addresses.get()) {
    socket = first_that_works(addresses.get(), bind_to, code);
  }
  if (!socket.valid()) {
    throw Error(code, fmt::format("listening on {}", local.text()),
                code == EADDRINUSE ? "another program has the port; choose another"
                : code == EACCES   ? "ports below 1024 need privileges"
                                   : "");
  }
  return socket;
}

/// Without the privilege to exceed them the system's limits hold.
void want_room(int socket, int option, int option_with_privilege) {
  const int length = 8 * 1024 * 1024;
  if (::setsockopt(socket, SOL_SOCKET, option_with_privilege, &length, sizeof(length)) < 0) {
    ::setsockopt(socket, SOL_SOCKET, option, &length, sizeof(length));
  }
}

bool closes_abortively(int socket) noexcept {
  linger value{};
  socklen_t size = sizeof(value);
  return ::getsockopt(socket, SOL_SOCKET, SO_LINGER, &value, &size) == 0 && value.l_onoff != 0 &&
         value.l_linger == 0;
}

int option_of(int socket, int level, int name) {
  int value = 0;
  socklen_t size = sizeof(value);
  if (::getsockopt(socket, level, name, &value, &size) < 0) {
    throw Error(errno, "asking a socket about its path");
  }
  return value;
}

}  // namespace

Endpoint Endpoint::parse(std::string_view text, bool host_optional) {
  const std::size_t colon = text.rfind(':');
  std::string_view host = colon == std::string_view::npos ? "" : text.substr(0, colon);
  const std::string_view port = colon == std::string_view::npos ? text : text.substr(colon + 1);

  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    throw std::invalid_argument(
        fmt::format("'{}': an IPv6 address is written in brackets, as in [::1]:9000", text));
  }
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc{} || end != port.data() + port.size() || number > 65'535) {
    throw std::invalid_argument(
        fmt::format("'{}': '{}' is not a port number (0 to 65535)", text, port));
  }
  if (host.empty() && !host_optional) {
    throw std::invalid_argument(fmt::format("'{}': expected HOST:PORT", text));
  }
  return {std::string{host}, std::string{port}};
}

std::string Endpoint::text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

UniqueFd connect_stream(const Endpoint& peer) {
  UniqueFd socket = connect_socket(peer, SOCK_STREAM);
  if (const std::error_code error = set_abortive_close(socket.get(), true)) {
    throw Error(error.value(), "setting SO_LINGER on a socket");
  }
  return socket;
}

std::error_code set_abortive_close(int socket, bool abortive) noexcept {
  const linger value{.l_onoff = abortive ? 1 : 0, .l_linger = 0};
  if (::setsockopt(socket, SOL_SOCKET, SO_LINGER, &value, sizeof(value)) < 0) {
    return {errno, std::system_category()};
  }
  return {};
}

UniqueFd listen_stream(const Endpoint& local) {
  return bind_socket(local, SOCK_STREAM);
}

UniqueFd connect_datagram(const Endpoint& peer) {
  UniqueFd socket = connect_socket(peer, SOCK_DGRAM);
  // Zero-copy data is charged by the page, or by the 64 KiB it lies in.
  want_room(socket.get(), SO_SNDBUF, SO_SNDBUFFORCE);
  return socket;
}

UniqueFd bind_datagram(const Endpoint& local) {
  UniqueFd socket = bind_socket(local, SOCK_DGRAM);
  want_room(socket.get(), SO_RCVBUF, SO_RCVBUFFORCE);  // what does not fit is lost
  return socket;
}

std::uint16_t local_port(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) < 0) {
    throw Error(errno, "asking a socket for its port");
  }
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

UniqueFd accept_stream(int listener) {
  for (;;) {
    UniqueFd socket{::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)};
    if (socket.valid()) {
      return socket;
    }
    if (errno != EINTR && errno != ECONNABORTED) {
      throw Error(errno, "accepting a connection");
    }
  }
}

std::error_code finish_stream(int socket) noexcept {
  // There is nothing to sleep on for "all acknowledged": look again, soon at first.
  constexpr int longest_pause_ms = 50;
  if (::shutdown(socket, SHUT_WR) < 0) {
    return {errno, std::system_category()};
  }
  for (int pause_ms = 1;; pause_ms = std::min(2 * pause_ms, longest_pause_ms)) {
    int code = 0;
    socklen_t size = sizeof(code);
    int unacknowledged = 0;
    if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size) < 0 ||
        sys().ioctl(socket, SIOCOUTQ, &unacknowledged) < 0) {
      code = errno;
    }
    if (code != 0) {
      return {code, std::system_category()};
    }
    if (unacknowledged == 0) {
      return closes_abortively(socket) ? set_abortive_close(socket, false) : std::error_code{};
    }
    sys().poll(nullptr, 0, pause_ms);
  }
}

std::size_t longest_datagram(int socket) {
  constexpr int udp_header = 8;
  constexpr int longest = 65'507;  // with headers, what the length field of IPv4 can say
  const bool v6 = option_of(socket, SOL_SOCKET, SO_DOMAIN) == AF_INET6;
  const int mtu = v6 ? option_of(socket, SOL_IPV6, IPV6_MTU) : option_of(socket, SOL_IP, IP_MTU);
  return static_cast<std::size_t>(std::min(mtu - (v6 ? 40 : 20) - udp_header, longest));
}

std::error_code finish_datagrams(int socket) noexcept {
  constexpr int times = 3;  // one of them will arrive
  constexpr int pause_ms = 10;
  for (int i = 0; i < times; ++i) {
    if (::send(socket, nullptr, 0, MSG_NOSIGNAL) < 0) {
      // Refused after the first: that one arrived, and the receiver has left.
      return {i > 0 && errno == ECONNREFUSED ? 0 : errno, std::system_category()};
    }
    sys().poll(nullptr, 0, pause_ms);
  }
  return {};
}

}  // namespace dmawire
