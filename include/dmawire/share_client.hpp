// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/share.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <dmawire/frame_pool.hpp>
#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// A frame that its owner has lent.
struct LentFrame {
  Frame frame;
  std::size_t length;                  ///< bytes that are in it
  std::uint64_t sequence;              ///< the frame's number since its owner began
  std::chrono::nanoseconds timestamp;  ///< when it was complete, CLOCK_MONOTONIC
  std::uint32_t lost;                  ///< frames that the owner's device had no room for before it
  std::uint32_t skipped;  ///< frames that we were not lent before it, because we held too many
};

/// Counters of a client.
struct ShareClientStatistics {
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;  ///< of these
  std::uint64_t lost = 0;
  std::uint64_t skipped = 0;
};

/// Is lent frames by another process: the client's end of share.h.
///
/// The frames belong to a pool of its own, over the memory of the owner, and can be sent and
/// recorded like any others. One that returns to this pool is not free: it goes back to its owner
/// with the next give_back().
///
///     ShareClient client{"/run/frames"};
///     while (!client.wait()) {
///       while (auto lent = client.next()) {
///         look_at(lent->frame.bytes().first(lent->length));
///       }
///     }
///
/// Not thread-safe. After construction nothing throws. Errors: ENODATA (the owner has ended it, see
/// reason()), ECONNRESET (the owner is gone without END), EPROTO (it broke a rule).
class ShareClient {
 public:
  struct Options {
    /// Most frames to hold at a time; 0: as many as the owner allows.
    std::uint32_t hold = 0;
    /// Take memfds that cannot shrink too: memory that no device can write to, for tests.
    bool memfds = false;
  };

  /// Waits some seconds for the owner to hand everything over. Throws Error: also if a descriptor
  /// is no dma-buf, or shorter than the owner says.
  explicit ShareClient(const std::string& path) : ShareClient(path, Options{}) {}
  ShareClient(const std::string& path, const Options& options);
  /// Over a connection that was made otherwise; `name` is its name in errors.
  ShareClient(UniqueFd socket, const std::string& name, const Options& options);
  /// Returns all frames. Senders and recorders from the pool must be gone.
  ~ShareClient();
  ShareClient(const ShareClient&) = delete;
  ShareClient& operator=(const ShareClient&) = delete;

  /// The next frame, in order, if one has come. Never waits.
  [[nodiscard]] std::optional<LentFrame> next() noexcept;
  /// Tells the owner of the frames that are back in the pool. Never waits: if the
  /// socket has no room, the next call sends the rest.
  std::error_code give_back() noexcept;
  /// Gives back, then waits until next() has a frame; a signal ends the wait too.
  [[nodiscard]] std::error_code wait() noexcept;
  /// Can be read (poll, io_uring) when next() may have a frame, or something has ended.
  [[nodiscard]] int fd() const noexcept;

  /// The error that ended the connection, once next() has returned all frames.
  [[nodiscard]] std::error_code failure() const noexcept;
  /// With ENODATA: the owner's reason.
  [[nodiscard]] dmawire_share_reason reason() const noexcept;

  /// A buffer that the owner lends frames of.
  struct SharedBuffer {
    std::string exporter;  ///< "dmawire", or the name of another; empty: not known
    bool foreign;          ///< not a dma-buf of dmawire
  };
  [[nodiscard]] FramePool& pool() noexcept;
  [[nodiscard]] std::span<const SharedBuffer> buffers() const noexcept;
  /// Most frames that the owner lends us at a time.
  [[nodiscard]] std::uint32_t hold() const noexcept;
  [[nodiscard]] const ShareClientStatistics& statistics() const noexcept;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

/// An owner's reason, in words.
[[nodiscard]] std::string_view describe(dmawire_share_reason reason) noexcept;

}  // namespace dmawire
