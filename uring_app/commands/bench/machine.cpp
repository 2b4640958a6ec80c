// SPDX-License-Identifier: MIT
#include "machine.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <dmawire/error.hpp>
#include <fstream>
#include <memory>
#include <optional>

#include "proc.hpp"

namespace dmawire::commands::bench {
namespace {

double seconds(clockid_t clock) noexcept {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

/// What the CPUs did not work, all together: idle, waiting for a disk, or taken away by a host.
/// The kernel measures idle time; of busy time it only takes samples.
double idle_seconds() {
  std::ifstream file{"/proc/stat"};
  const std::optional<double> ticks = parse_idle_ticks(file);
  if (!ticks) {
    throw Error(0, "reading /proc/stat", "is /proc mounted?", Error::Kind::impossible);
  }
  return *ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

using Addresses = std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)>;

Addresses addresses() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) < 0) {
    throw Error(errno, "listing the network addresses");
  }
  return {list, &::freeifaddrs};
}

bool same_address(const sockaddr& left, const sockaddr_storage& right) {
  if (left.sa_family != right.ss_family) {
    return false;
  }
  if (left.sa_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(left).sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in&>(right).sin_addr.s_addr;
  }
  return left.sa_family == AF_INET6 &&
         std::memcmp(&reinterpret_cast<const sockaddr_in6&>(left).sin6_addr,
                     &reinterpret_cast<const sockaddr_in6&>(right).sin6_addr,
                     sizeof(in6_addr)) == 0;
}

}  // namespace

Moment Moment::now() {
  const double wall = seconds(CLOCK_MONOTONIC);
  const auto cpus = static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN));
  return {.wall = wall,
          .busy = cpus * wall - idle_seconds(),
          .thread = seconds(CLOCK_THREAD_CPUTIME_ID)};
}

double clock_seconds() noexcept {
  return seconds(CLOCK_MONOTONIC);
}

std::string clock_name() {
  std::ifstream file{"/etc/dmawire/clock"};
  std::string name;
  return file >> name ? name : "real";
}

std::string kernel_release() {
  utsname names{};
  ::uname(&names);
  return names.release;
}

std::string device_of(int socket) {
  sockaddr_storage own{};
  sockaddr_storage peer{};
  socklen_t own_size = sizeof(own);
  socklen_t peer_size = sizeof(peer);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) < 0 ||
      ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_size) < 0) {
    return "unknown";
  }
  const Addresses list = addresses();
  std::string device = "unknown";
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr != nullptr && same_address(*entry->ifa_addr, peer)) {
      return "lo";  // what goes to an address of our own never reaches the device that has it
    }
    if (entry->ifa_addr != nullptr && same_address(*entry->ifa_addr, own)) {
      device = entry->ifa_name;
    }
  }
  return device;
}

std::string own_address() {
  const Addresses list = addresses();
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET ||
        (entry->ifa_flags & IFF_LOOPBACK) != 0 || (entry->ifa_flags & IFF_UP) == 0) {
      continue;
    }
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, text,
                sizeof(text));
    return text;
  }
  return {};
}

}  // namespace dmawire::commands::bench
