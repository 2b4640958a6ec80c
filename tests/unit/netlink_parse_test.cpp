// SPDX-License-Identifier: MIT
#include "netlink_parse.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace dmawire {
namespace {

using Bytes = std::vector<std::byte>;

template <typename T>
void append(Bytes& to, const T& value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  to.insert(to.end(), bytes, bytes + sizeof(value));
}

template <typename T>
Bytes bytes_of(const T& value) {
  Bytes bytes;
  append(bytes, value);
  return bytes;
}

Bytes packet(std::uint16_t type, const Bytes& payload) {
  Bytes bytes = bytes_of(nlmsghdr{.nlmsg_len = static_cast<__u32>(NLMSG_HDRLEN + payload.size()),
                                  .nlmsg_type = type,
                                  .nlmsg_flags = 0,
                                  .nlmsg_seq = 0,
                                  .nlmsg_pid = 0});
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

void append_attribute(Bytes& to, std::uint16_t type, const Bytes& value) {
  append(to, rtattr{.rta_len = static_cast<unsigned short>(RTA_LENGTH(value.size())),
                    .rta_type = type});
  to.insert(to.end(), value.begin(), value.end());
  to.resize((to.size() + RTA_ALIGNTO - 1) / RTA_ALIGNTO * RTA_ALIGNTO);
}

Bytes route_with(std::uint16_t type, const Bytes& value) {
  Bytes payload = bytes_of(rtmsg{});
  append_attribute(payload, RTA_PREFSRC, Bytes(3));  // one that has to be skipped, and padding
  append_attribute(payload, type, value);
  return packet(RTM_NEWROUTE, payload);
}

TEST(RouteReply, NamesTheDevice) {
  const auto reply = parse_route_reply(route_with(RTA_OIF, bytes_of(7U)));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, 0);
  EXPECT_EQ(reply->device, 7U);
}

TEST(RouteReply, IsReadFromMemoryThatIsNotAligned) {
  Bytes bytes = route_with(RTA_OIF, bytes_of(7U));
  bytes.insert(bytes.begin(), std::byte{0});
  EXPECT_EQ(parse_route_reply(std::span{bytes}.subspan(1))->device, 7U);
}

TEST(RouteReply, OfARouteWithoutDeviceNamesNone) {
  const auto reply = parse_route_reply(route_with(RTA_GATEWAY, bytes_of(7U)));
  ASSERT_TRUE(reply);
  EXPECT_FALSE(reply->device);
}

TEST(RouteReply, WithADeviceThatIsTooShortNamesNone) {
  EXPECT_FALSE(parse_route_reply(route_with(RTA_OIF, Bytes(3, std::byte{1})))->device);
  EXPECT_FALSE(parse_route_reply(route_with(RTA_OIF, {}))->device);
}

TEST(RouteReply, WithAnAttributeThatEndsBehindItNamesNone) {
  Bytes payload = bytes_of(rtmsg{});
  append(payload, rtattr{.rta_len = 64, .rta_type = RTA_OIF});
  append(payload, 7U);
  EXPECT_FALSE(parse_route_reply(packet(RTM_NEWROUTE, payload))->device);
}

TEST(RouteReply, WithAnAttributeOfNoLengthEnds) {
  Bytes payload = bytes_of(rtmsg{});
  append(payload, rtattr{.rta_len = 0, .rta_type = RTA_DST});
  EXPECT_FALSE(parse_route_reply(packet(RTM_NEWROUTE, payload))->device);
}

TEST(RouteReply, ShorterThanARouteIsNone) {
  EXPECT_FALSE(parse_route_reply(packet(RTM_NEWROUTE, Bytes(sizeof(rtmsg) - 1))));
  EXPECT_FALSE(parse_route_reply(packet(RTM_NEWROUTE, {})));
}

TEST(RouteReply, OfAnotherKindIsNone) {
  EXPECT_FALSE(parse_route_reply(packet(RTM_NEWLINK, Bytes(64))));
}

TEST(RouteReply, SaysWhyItWasRefused) {
  const auto reply =
      parse_route_reply(packet(NLMSG_ERROR, bytes_of(nlmsgerr{.error = -ENETUNREACH, .msg = {}})));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, ENETUNREACH);
  EXPECT_FALSE(reply->device);
}

TEST(RouteReply, RefusedWithoutAReasonIsNone) {
  EXPECT_FALSE(parse_route_reply(packet(NLMSG_ERROR, bytes_of(-ENETUNREACH))));
  EXPECT_FALSE(parse_route_reply(packet(NLMSG_ERROR, bytes_of(nlmsgerr{.error = 0, .msg = {}}))));
  EXPECT_FALSE(
      parse_route_reply(packet(NLMSG_ERROR, bytes_of(nlmsgerr{.error = INT32_MIN, .msg = {}}))));
}

TEST(RouteReply, ThatIsCutOffIsNone) {
  const Bytes whole = route_with(RTA_OIF, bytes_of(7U));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    // On the heap by itself, so that a sanitizer detects reads beyond the end.
    EXPECT_FALSE(parse_route_reply(
        Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length))))
        << length;
  }
}

TEST(CpuList, HasRangesAndSingleOnes) {
  EXPECT_EQ(parse_cpu_list("0\n"), std::vector<int>({0}));
  EXPECT_EQ(parse_cpu_list("0-2,5,8-9\n"), std::vector<int>({0, 1, 2, 5, 8, 9}));
}

TEST(CpuList, ThatIsNoneIsRefused) {
  for (const char* text : {"", "\n", "x", "0-", "-1", "0,", "0 1", "3-1", "0-2147483647",
                           "4294967296", "0-3,2", "0-1-2"}) {
    EXPECT_FALSE(parse_cpu_list(text)) << text;
  }
}

}  // namespace
}  // namespace dmawire
