// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>

namespace dmawire {

class RingHost;

/// Ends a wait on a ring when a descriptor becomes readable, so that one wait covers the device,
/// the network, the disk and a socket.
///
///     ReadWatch watch{capture.ring_host(), socket};
///     for (;;) {
///       watch.arm();
///       capture.wait();
///       ... capture.next(), or recv() from the socket ...
///     }
///
/// At most four to a ring, which must outlive them. Not thread-safe.
class ReadWatch {
 public:
  /// Requests that one has on its ring at a time.
  static constexpr std::uint32_t max_requests = 2;

  /// Throws Error if too many take part in the ring.
  ReadWatch(RingHost& host, int fd);
  ~ReadWatch();
  ReadWatch(const ReadWatch&) = delete;
  ReadWatch& operator=(const ReadWatch&) = delete;

  /// Takes effect with the next wait, until it has ended one. No cost if it is armed already.
  void arm() noexcept;
  /// False once the descriptor was readable or has failed, until it is armed again.
  [[nodiscard]] bool armed() const noexcept;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace dmawire
