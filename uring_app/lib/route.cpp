// SPDX-License-Identifier: MIT
#include <dmawire/route.hpp>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include <dmawire/error.hpp>
#include <dmawire/unique_fd.hpp>

#include "netlink_parse.hpp"

namespace dmawire {
namespace {

struct Address {
  int family;
  std::array<std::byte, sizeof(in6_addr)> bytes;
  std::size_t length;

  [[nodiscard]] std::string text() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(family, bytes.data(), text.data(), text.size());
    return text.data();
  }
};

Address address_of(const sockaddr* name) {
  Address address{.family = name->sa_family, .bytes = {}, .length = sizeof(in_addr)};
  if (address.family == AF_INET) {
    std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in*>(name)->sin_addr,
                address.length);
    return address;
  }
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(name)->sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    address.family = AF_INET;
    std::memcpy(address.bytes.data(), &v6.s6_addr[12], address.length);
  } else {
    address.length = sizeof(in6_addr);
    std::memcpy(address.bytes.data(), &v6, address.length);
  }
  return address;
}

Address resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* list = nullptr;
  if (const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &list); status != 0) {
    throw Error(status == EAI_SYSTEM ? errno : 0,
                fmt::format("looking up {}: {}", host, ::gai_strerror(status)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner{list, &freeaddrinfo};
  return address_of(list->ai_addr);
}

Address peer_of(int socket) {
  sockaddr_storage name{};
  socklen_t size = sizeof(name);
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&name), &size) < 0) {
    throw Error(errno, "asking a socket for its peer");
  }
  return address_of(reinterpret_cast<const sockaddr*>(&name));
}

/// The index of the device that the route to an address leaves by.
unsigned ask_for_device(const Address& address) {
  const UniqueFd socket{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)};
  struct {
    nlmsghdr header;
    rtmsg route;
    rtattr attribute;
    std::array<std::byte, sizeof(in6_addr)> destination;
  } request{};
  request.header.nlmsg_type = RTM_GETROUTE;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.route.rtm_family = static_cast<unsigned char>(address.family);
  request.route.rtm_dst_len = static_cast<unsigned char>(address.length * 8);
  request.attribute.rta_type = RTA_DST;
  request.attribute.rta_len = static_cast<unsigned short>(RTA_LENGTH(address.length));
  std::copy_n(address.bytes.begin(), address.length, request.destination.begin());
  request.header.nlmsg_len =
      static_cast<__u32>(NLMSG_LENGTH(sizeof(rtmsg)) + RTA_LENGTH(address.length));

  alignas(nlmsghdr) std::array<std::byte, 8192> answer;
  ssize_t length = -1;
  if (socket.valid() && ::send(socket.get(), &request, request.header.nlmsg_len, 0) >= 0) {
    length = ::recv(socket.get(), answer.data(), answer.size(), 0);
  }
  const auto reply =
      length < 0 ? std::nullopt
                 : parse_route_reply(std::span{answer}.first(static_cast<std::size_t>(length)));
  if (!reply || reply->error != 0) {
    throw Error(reply        ? reply->error
                : length < 0 ? errno
                             : 0,
                fmt::format("asking for the route to {}", address.text()));
  }
  if (!reply->device) {
    throw Error(0, fmt::format("the route to {} leads nowhere", address.text()));
  }
  return *reply->device;
}

/// A network device, asked through any socket.
class NetDevice {
 public:
  explicit NetDevice(unsigned index) : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    if (::if_indextoname(index, name_.data()) == nullptr) {
      throw Error(errno, "looking for the device of a route");
    }
  }

  [[nodiscard]] std::string name() const { return name_.data(); }
  [[nodiscard]] unsigned mtu() const {
    ifreq request = named();
    return ask(SIOCGIFMTU, request) ? static_cast<unsigned>(request.ifr_mtu) : 0;
  }
  [[nodiscard]] bool is_loopback() const {
    ifreq request = named();
    return ask(SIOCGIFFLAGS, request) && (request.ifr_flags & IFF_LOOPBACK) != 0;
  }
  [[nodiscard]] std::string driver() const {
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    ifreq request = named();
    request.ifr_data = reinterpret_cast<char*>(&info);
    return ask(SIOCETHTOOL, request) ? info.driver : "";
  }
  /// Whether a feature is on; nothing where the device does not say.
  [[nodiscard]] std::optional<bool> has(__u32 ethtool_command) const {
    ethtool_value value{.cmd = ethtool_command, .data = 0};
    ifreq request = named();
    request.ifr_data = reinterpret_cast<char*>(&value);
    return ask(SIOCETHTOOL, request) ? std::optional{value.data != 0} : std::nullopt;
  }

 private:
  [[nodiscard]] ifreq named() const {
    ifreq request{};
    std::copy(name_.begin(), name_.end(), request.ifr_name);
    return request;
  }
  bool ask(unsigned long command, ifreq& request) const {
    return ::ioctl(socket_.get(), command, &request) == 0;
  }

  UniqueFd socket_;
  std::array<char, IF_NAMESIZE> name_{};
};

/// What makes the kernel copy before, or while, a packet passes the device; or nothing.
std::string why_it_copies(const NetDevice& device) {
  if (device.is_loopback()) {
    return "the destination is this machine: what a socket here receives is copied";
  }
  const std::string driver = device.driver();
  if (driver == "veth") {
    return "it ends in another network namespace of this machine: what a socket there receives is "
           "copied (a packet that is forwarded on to a network card is not)";
  }
  if (driver == "tun") {
    return "a program reads its packets, and is given copies";
  }
  if (device.has(ETHTOOL_GSG) == std::optional{false}) {
    return "it cannot gather a packet from several places (no scatter-gather)";
  }
  if (device.has(ETHTOOL_GTXCSUM) == std::optional{false}) {
    return "the CPU must read every byte for the checksum (no checksum offload)";
  }
  return {};
}

Route find_route(const Address& address) {
  const NetDevice device{ask_for_device(address)};
  Route route{.address = address.text(),
              .device = device.name(),
              .driver = device.driver(),
              .mtu = device.mtu(),
              .local = device.is_loopback()};
  route.reason = why_it_copies(device);
  route.copies = !route.reason.empty();
  if (!route.copies) {
    const unsigned headers = address.family == AF_INET6 ? 48 : 28;
    route.reason = fmt::format(
        "it gathers packets from where they lie and computes checksums; only datagrams of more "
        "than {} bytes, which must be cut up, are copied",
        route.mtu - headers);
  }
  return route;
}

}  // namespace

Route find_route(const std::string& host) {
  return find_route(resolve(host));
}

Route find_route(int socket) {
  return find_route(peer_of(socket));
}

}  // namespace dmawire
