// SPDX-License-Identifier: MIT
#include <dmawire/stream.hpp>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <dmawire/error.hpp>
#include <stdexcept>
#include <string>

#include "loopback.hpp"

namespace dmawire::test {
namespace {

TEST(Endpoint, ParsesHostAndPort) {
  const Endpoint endpoint = Endpoint::parse("example:9000");
  EXPECT_EQ(endpoint.host, "example");
  EXPECT_EQ(endpoint.port, "9000");
  EXPECT_EQ(endpoint.text(), "example:9000");
}

TEST(Endpoint, ParsesIpv6InBrackets) {
  const Endpoint endpoint = Endpoint::parse("[2001:db8::1]:9000");
  EXPECT_EQ(endpoint.host, "2001:db8::1");
  EXPECT_EQ(endpoint.text(), "[2001:db8::1]:9000");
}

TEST(Endpoint, TakesAPortAloneWhereTheHostIsOptional) {
  EXPECT_EQ(Endpoint::parse("9000", true).host, "");
  EXPECT_EQ(Endpoint::parse(":9000", true).port, "9000");
  EXPECT_THROW((void)Endpoint::parse("9000"), std::invalid_argument);
}

TEST(Endpoint, RefusesWhatIsNoEndpoint) {
  for (const char* text : {"", "host", "host:", "host:x", "host:70000", "host:-1", "::1:9000"}) {
    EXPECT_THROW((void)Endpoint::parse(text), std::invalid_argument) << text;
  }
}

TEST(Stream, ConnectsOverBothVersionsOfIp) {
  for (const char* host : {"127.0.0.1", "::1"}) {
    const Loopback connection{host};
    EXPECT_EQ(::write(connection.near.get(), "x", 1), 1);
    char byte = 0;
    EXPECT_EQ(::read(connection.far.get(), &byte, 1), 1);
    EXPECT_EQ(byte, 'x');
  }
}

TEST(Stream, ListensForBothVersionsOfIpWhereNoHostIsGiven) {
  const UniqueFd listener = listen_stream({"", "0"});
  const std::string port = std::to_string(local_port(listener.get()));
  EXPECT_NO_THROW(connect_stream({"127.0.0.1", port}));
  EXPECT_NO_THROW(connect_stream({"::1", port}));
}

int code_of(void (*action)()) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return 0;
}

TEST(Stream, SaysThatNothingListens) {
  EXPECT_EQ(code_of([] {
              std::string port;
              {
                const UniqueFd listener = listen_stream({"127.0.0.1", "0"});
                port = std::to_string(local_port(listener.get()));
              }
              (void)connect_stream({"127.0.0.1", port});
            }),
            ECONNREFUSED);
}

TEST(Stream, SaysThatAPortIsTaken) {
  EXPECT_EQ(code_of([] {
              const UniqueFd listener = listen_stream({"127.0.0.1", "0"});
              (void)listen_stream({"127.0.0.1", std::to_string(local_port(listener.get()))});
            }),
            EADDRINUSE);
}

TEST(Stream, ResetsItsConnectionWhenItIsClosedBeforeItsEnd) {
  const UniqueFd listener = listen_stream({"127.0.0.1", "0"});
  UniqueFd near = connect_stream({"127.0.0.1", std::to_string(local_port(listener.get()))});
  const UniqueFd far = accept_stream(listener.get());
  ASSERT_EQ(::write(near.get(), "hello", 5), 5);
  near.reset();
  char text[8];
  EXPECT_EQ(::read(far.get(), text, sizeof(text)), 5);
  EXPECT_EQ(::read(far.get(), text, sizeof(text)), -1) << "it looks complete";
  EXPECT_EQ(errno, ECONNRESET);
}

TEST(Stream, EndsInOrderWhenItIsClosedAfterFinish) {
  const UniqueFd listener = listen_stream({"127.0.0.1", "0"});
  UniqueFd near = connect_stream({"127.0.0.1", std::to_string(local_port(listener.get()))});
  const UniqueFd far = accept_stream(listener.get());
  ASSERT_EQ(::write(near.get(), "hello", 5), 5);
  EXPECT_FALSE(finish_stream(near.get()));
  near.reset();
  EXPECT_EQ(::write(far.get(), "answer", 6), 6) << "the connection is half open";
  char text[8];
  EXPECT_EQ(::read(far.get(), text, sizeof(text)), 5);
  EXPECT_EQ(::read(far.get(), text, sizeof(text)), 0);
}

TEST(Stream, LeavesAnotherLingerTimeAlone) {
  const Loopback connection;
  const linger ten_seconds{.l_onoff = 1, .l_linger = 10};
  ASSERT_EQ(
      ::setsockopt(connection.near.get(), SOL_SOCKET, SO_LINGER, &ten_seconds, sizeof(ten_seconds)),
      0);
  EXPECT_FALSE(finish_stream(connection.near.get()));
  linger now{};
  socklen_t size = sizeof(now);
  ASSERT_EQ(::getsockopt(connection.near.get(), SOL_SOCKET, SO_LINGER, &now, &size), 0);
  EXPECT_EQ(now.l_linger, 10);
}

TEST(Stream, FinishReturnsOnceEverythingIsAcknowledged) {
  const Loopback connection;
  ASSERT_EQ(::write(connection.near.get(), "hello", 5), 5);
  EXPECT_FALSE(finish_stream(connection.near.get()));
  char text[8];
  EXPECT_EQ(::read(connection.far.get(), text, sizeof(text)), 5);
  EXPECT_EQ(::read(connection.far.get(), text, sizeof(text)), 0);
}

TEST(Stream, FinishTellsThatThePeerBrokeOff) {
  Loopback connection;
  ASSERT_EQ(::write(connection.near.get(), "hello", 5), 5);
  connection.far.reset();  // with data unread: a reset
  EXPECT_TRUE(finish_stream(connection.near.get()));
}

}  // namespace
}  // namespace dmawire::test
