// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>

#include <dmawire/frame_pool.hpp>

namespace dmawire {

class RingHost;
class Sender;

/// Writes frames to a file past the page cache (O_DIRECT). With a sender it does so from the memory
/// they are sent from and on the same ring: as fixed buffers where the sender's path has registered
/// them.
///
/// Frames stand in the file in the order given, each at the next multiple of 4096 bytes. A frame
/// handed to write() is held until it is written.
///
/// Not thread-safe. The first error is final.
class Recorder {
 public:
  /// Makes the file, or empties it. Pool and sender must outlive it. Throws Error, of the kind
  /// `impossible` if the file system has no O_DIRECT or the sender no ring.
  Recorder(const std::string& path, FramePool& pool, Sender& sender);
  /// On a ring of its own.
  Recorder(const std::string& path, FramePool& pool);
  /// Waits for the writes in flight.
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// Queues the first `length` bytes of a frame that begins on a page. Never waits; the ring's next
  /// system call starts it.
  std::error_code write(Frame frame, std::size_t length) noexcept;
  /// Waits until a frame is written, or a ReadWatch on its ring or a signal ends the wait. With a
  /// sender it is the sender that waits, for both.
  std::error_code wait() noexcept;
  /// Waits until everything is written, and ends the file with the last byte of the last frame.
  std::error_code finish() noexcept;

  /// Of frames that are written.
  [[nodiscard]] std::uint64_t bytes() const noexcept;
  [[nodiscard]] std::error_code failure() const noexcept;

  /// The library's own: the ring for others to take part in.
  [[nodiscard]] RingHost& ring_host() noexcept;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace dmawire
