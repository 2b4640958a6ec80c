// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include <dmawire/buffer.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/share_client.hpp>
#include <dmawire/share_server.hpp>
#include <dmawire/unique_fd.hpp>

/// Frames lent by this process, for tests that play owner and client.
namespace dmawire::test {

/// Two ends of a connection as share.h wants it.
struct PacketPair {
  PacketPair() {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    owner.reset(ends[0]);
    client.reset(ends[1]);
  }
  UniqueFd owner;
  UniqueFd client;
};

/// Memory that needs no module; clients accept it only with an option.
inline FramePool sealed_pool(std::uint32_t frames, std::size_t length) {
  constexpr std::uint32_t in_each = 8;
  std::vector<Buffer> buffers;
  for (std::uint32_t room = 0; room < frames; room += in_each) {
    buffers.push_back(Buffer::memfd(in_each * FramePool::stride(length)));
    EXPECT_EQ(::fcntl(buffers.back().fd(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  }
  return {std::move(buffers), length, frames};
}

/// Fills the next free frame with its number and lends it.
inline void publish(ShareServer& server, FramePool& pool, std::uint64_t sequence) {
  auto frame = pool.take();
  ASSERT_TRUE(frame) << "no frame came home";
  const std::size_t length = frame->bytes().size();
  std::fill(frame->bytes().begin(), frame->bytes().end(), static_cast<std::byte>(sequence));
  server.publish({.frame = std::move(*frame),
                  .length = length,
                  .sequence = sequence,
                  .timestamp = std::chrono::nanoseconds{sequence + 1},
                  .lost = 0});
}

/// Waits for an answer while the owner serves.
template <typename Action>
auto while_served(ShareServer& server, Action action) {
  auto result = std::async(std::launch::async, action);
  while (result.wait_for(std::chrono::milliseconds{1}) != std::future_status::ready) {
    server.serve();
  }
  return result.get();
}

/// A client of this process.
inline std::unique_ptr<ShareClient> join(ShareServer& server,
                                         const ShareClient::Options& options = {.memfds = true}) {
  PacketPair pair;
  server.add(std::move(pair.owner));
  return while_served(server, [&] {
    return std::make_unique<ShareClient>(std::move(pair.client), "the test", options);
  });
}

}  // namespace dmawire::test
