// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/share.h>

#include <cstdint>
#include <memory>
#include <string>

#include <dmawire/capture.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// Counters of an owner of shared frames.
struct ShareStatistics {
  std::uint64_t clients = 0;    ///< that were introduced to the buffers
  std::uint64_t refused = 0;    ///< that came when there was no room, or spoke another version
  std::uint64_t dropped = 0;    ///< that broke a rule of the protocol, or were late
  std::uint64_t published = 0;  ///< frames
  std::uint64_t bytes = 0;      ///< of these
  std::uint64_t unseen = 0;     ///< of these: lent to no client
  std::uint64_t lent = 0;       ///< frames, counted for each client
  std::uint64_t returned = 0;   ///< of these: the client said that it is done
  std::uint64_t reclaimed = 0;  ///< of these: taken back from one that has gone
  std::uint64_t skipped = 0;    ///< not lent to a client that held as many as it may
};

/// Lends the frames of a pool to other processes: the owner's end of share.h.
///
/// Every client is lent every frame that is published while it is there. A frame is back in its
/// pool when no client holds it any more: each client has returned it, or has closed its
/// connection. A client that holds its share of the pool is lent no more until it returns some; the
/// pool is divided so that the owner keeps as many frames as one client, so no client, however
/// slow, stops the owner or the others. Clients that are silent, do not read or never end are held
/// to the deadlines of share.h: a timer that is part of fd() sees to it.
///
///     ShareServer server{"/run/frames", pool, 8};
///     for (;;) {
///       while (auto captured = capture.next()) {
///         server.publish(std::move(*captured));
///       }
///       server.serve();
///       ... wait until there are frames, or server.fd() can be read ...
///     }
///
/// Not thread-safe. After construction nothing throws or waits, independent of the clients.
class ShareServer {
 public:
  /// Connections that may be there without having said hello. One more, and the oldest goes: they
  /// take no client's place.
  static constexpr std::uint32_t max_newcomers = 16;

  /// Listens at `path` in the file system; processes that may write to that file can connect. A
  /// socket left there by a killed owner is replaced. The pool must outlive the server. Throws
  /// Error: also if there are not more frames than clients, or more of anything than share.h
  /// allows.
  ShareServer(const std::string& path, FramePool& pool, std::uint32_t max_clients);
  /// For connections that are made otherwise, see add().
  ShareServer(FramePool& pool, std::uint32_t max_clients);
  /// Clients that are still there see the end of the connection.
  ~ShareServer();
  ShareServer(const ShareServer&) = delete;
  ShareServer& operator=(const ShareServer&) = delete;

  /// Takes the owner's end of a SOCK_SEQPACKET connection to a client.
  void add(UniqueFd socket) noexcept;

  /// Lends the first `length` bytes of a frame to all clients that have room; serve() announces the
  /// frame to them.
  void publish(CapturedFrame frame) noexcept;
  /// Whether a client is there that could be lent a frame.
  [[nodiscard]] bool wanted() const noexcept;
  /// Accepts connections, receives messages of clients and sends the messages due. Bounded work per
  /// call: at most 16 connections, and 64 messages of each of 32 clients.
  void serve() noexcept;
  /// Can be read (poll, epoll, io_uring) when serve() has something to do, or more of it.
  [[nodiscard]] int fd() const noexcept;

  /// Ends publishing and refuses new clients: serve() sends END to the clients, after the frames
  /// that are still due to them. DMAWIRE_SHARE_END_SECONDS later serve() drops all remaining
  /// clients.
  void end(dmawire_share_reason reason) noexcept;

  /// Clients that are there and have said hello.
  [[nodiscard]] std::uint32_t clients() const noexcept;
  /// Frames they hold, counted for each.
  [[nodiscard]] std::uint64_t held() const noexcept;
  /// Whether all that said hello know of the end and hold nothing. With serve() it comes about
  /// within DMAWIRE_SHARE_END_SECONDS of end().
  [[nodiscard]] bool all_released() const noexcept;
  [[nodiscard]] const ShareStatistics& statistics() const noexcept;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace dmawire
