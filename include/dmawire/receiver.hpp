// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <system_error>

namespace dmawire {

/// Reads a stream socket to its end: a multishot receive into buffers provided to the ring
/// (Linux 6.0). Not thread-safe. The socket must outlive it.
class Receiver {
 public:
  /// Throws Error, of the kind `impossible` where the kernel lacks io_uring or provided buffers.
  explicit Receiver(int socket);
  ~Receiver();
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  struct Received {
    std::error_code error;
    std::span<const std::byte> bytes;  ///< empty without an error: the peer ended the stream
  };
  /// The next bytes, in order; waits for them. They are valid until the next call.
  [[nodiscard]] Received next() noexcept;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace dmawire
