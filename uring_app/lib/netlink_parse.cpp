// SPDX-License-Identifier: MIT
#include "netlink_parse.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <system_error>

namespace dmawire {
namespace {

/// What stands at the beginning of `bytes`, if all of it is there; they need not be aligned.
template <typename T>
std::optional<T> read_front(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(T)) {
    return {};
  }
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// `bytes` without its first `count`, or without any if there are not as many.
std::span<const std::byte> skip(std::span<const std::byte> bytes, std::size_t count) {
  return bytes.subspan(std::min(count, bytes.size()));
}

std::optional<unsigned> find_device(std::span<const std::byte> attributes) {
  while (const auto attribute = read_front<rtattr>(attributes)) {
    const std::size_t length = attribute->rta_len;
    if (length < sizeof(rtattr) || length > attributes.size()) {
      return {};
    }
    if (attribute->rta_type == RTA_OIF) {
      return read_front<unsigned>(skip(attributes.first(length), RTA_LENGTH(0)));
    }
    attributes = skip(attributes, RTA_ALIGN(length));
  }
  return {};
}

/// A CPU's number, which `text` is all of.
std::optional<int> parse_cpu(std::string_view text) {
  constexpr int more_than_kernels_have = 65'536;
  int cpu = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, cpu);
  const bool good = error == std::errc{} && stop == end && cpu >= 0 && cpu < more_than_kernels_have;
  return good ? std::optional{cpu} : std::nullopt;
}

/// Appends "3" or "0-3".
bool append_range(std::vector<int>& cpus, std::string_view range) {
  const std::size_t dash = range.find('-');
  const std::optional<int> first = parse_cpu(range.substr(0, dash));
  const std::optional<int> last =
      dash == std::string_view::npos ? first : parse_cpu(range.substr(dash + 1));
  // In order: so a list of any length is of no more CPUs than there can be.
  if (!first || !last || *first > *last || (!cpus.empty() && *first <= cpus.back())) {
    return false;
  }
  for (int cpu = *first; cpu <= *last; ++cpu) {
    cpus.push_back(cpu);
  }
  return true;
}

}  // namespace

std::optional<RouteReply> parse_route_reply(std::span<const std::byte> packet) {
  const auto header = read_front<nlmsghdr>(packet);
  if (!header || header->nlmsg_len < NLMSG_HDRLEN || header->nlmsg_len > packet.size()) {
    return {};
  }
  const auto payload = packet.first(header->nlmsg_len).subspan(NLMSG_HDRLEN);
  if (header->nlmsg_type == NLMSG_ERROR) {
    const auto refused = read_front<nlmsgerr>(payload);
    // The least of all numbers has no counterpart.
    return refused && refused->error < 0 && refused->error >= -4095
               ? std::optional{RouteReply{.error = -refused->error, .device = {}}}
               : std::nullopt;
  }
  if (header->nlmsg_type != RTM_NEWROUTE || payload.size() < sizeof(rtmsg)) {
    return {};
  }
  return RouteReply{.error = 0, .device = find_device(skip(payload, NLMSG_ALIGN(sizeof(rtmsg))))};
}

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  if (text.ends_with('\n')) {
    text.remove_suffix(1);
  }
  for (;;) {
    const std::size_t comma = text.find(',');
    if (!append_range(cpus, text.substr(0, comma))) {
      return {};
    }
    if (comma == std::string_view::npos) {
      return cpus;
    }
    text.remove_prefix(comma + 1);
  }
}

}  // namespace dmawire
