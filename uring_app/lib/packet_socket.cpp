// SPDX-License-Identifier: MIT
#include <dmawire/packet_socket.hpp>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <dmawire/error.hpp>

namespace dmawire {
namespace {

constexpr int max_waiting = 16;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    throw Error(ENAMETOOLONG, fmt::format("using '{}' as a socket", path),
                fmt::format("a socket's name has 1 to {} bytes", sizeof(address.sun_path) - 1));
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  return address;
}

UniqueFd open_socket(int flags) {
  UniqueFd socket{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0)};
  if (!socket.valid()) {
    throw Error(errno, "opening a Unix socket");
  }
  return socket;
}

template <typename Call>
bool with(Call call, const UniqueFd& socket, const sockaddr_un& address) {
  return call(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

/// Whether the name is that of a socket that nobody listens at any more. Only the kernel knows.
bool is_left_over(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode) &&
         !with(::connect, open_socket(SOCK_NONBLOCK), address) && errno == ECONNREFUSED;
}

const char* connect_advice(int code) {
  switch (code) {
    case ENOENT:
    case ECONNREFUSED:
      return "nobody shares there; start `uring_app share SOCKET` first";
    case EACCES:
      return "whoever may write to the socket's file can connect";
    case EAGAIN:
      return "whoever shares there does not answer";
    case EPROTOTYPE:
      return "it is a socket of another kind";
    default:
      return "";
  }
}

}  // namespace

UniqueFd listen_packets(const std::string& path) {
  const sockaddr_un address = address_of(path);
  UniqueFd socket = open_socket(SOCK_NONBLOCK);
  bool bound = with(::bind, socket, address);
  const int bind_error = errno;
  if (!bound && errno == EADDRINUSE && is_left_over(path, address)) {
    ::unlink(path.c_str());
    bound = with(::bind, socket, address);
  }
  if (!bound || ::listen(socket.get(), max_waiting) < 0) {
    const int code = bound ? errno : bind_error;
    throw Error(code, fmt::format("listening on {}", path),
                code == EADDRINUSE ? "another program shares there, or it is a file" : "");
  }
  return socket;
}

UniqueFd connect_packets(const std::string& path) {
  const sockaddr_un address = address_of(path);
  UniqueFd socket = open_socket(SOCK_NONBLOCK);  // or it would wait for room among those that wait
  if (!with(::connect, socket, address)) {
    const int code = errno;
    throw Error(code, fmt::format("connecting to {}", path), connect_advice(code));
  }
  return socket;
}

}  // namespace dmawire
