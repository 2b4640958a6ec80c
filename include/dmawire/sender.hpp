// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <dmawire/frame_pool.hpp>

namespace dmawire {

class FrameObserver;
class RingHost;

/// How bytes get from a buffer to a socket.
enum class Path {
  direct,  ///< IORING_OP_SEND_ZC from a dma-buf in the ring's table: no mapping is read, nothing is
           ///< pinned (dmawire's buffers, Linux 7.3)
  fixed,   ///< IORING_OP_SEND_ZC from a buffer registered with the ring (Linux 6.0)
  plain,   ///< IORING_OP_SEND_ZC from an address (Linux 6.0)
  msg,     ///< sendmsg(MSG_ZEROCOPY) and the socket's error queue (Linux 4.14)
  copy,    ///< IORING_OP_SEND: the kernel copies
};

[[nodiscard]] std::string_view name(Path path) noexcept;

/// Counters of a sender.
struct SenderStatistics {
  std::uint64_t bytes = 0;          ///< accepted by the sockets
  std::uint64_t frames = 0;         ///< accepted completely
  std::uint64_t sends = 0;          ///< send requests that the kernel completed
  std::uint64_t copying_sends = 0;  ///< of these: asked for as a copy, see Options::may_copy
  std::uint64_t retries = 0;        ///< requests that found no memory and were made again
  std::uint64_t notifications = 0;  ///< zero-copy requests whose memory the kernel has released
  std::uint64_t zero_copied = 0;    ///< of these: it said that it copied nothing
  std::uint64_t copied = 0;         ///< of these: it said that it copied
  std::uint64_t merged = 0;         ///< of these: merged into an earlier notification (see below)
  std::uint64_t system_calls = 0;   ///< made by the sender
  bool usage_reported = false;      ///< whether the kernel tells the three above (Linux 6.2)
};

/// Sends frames over connected sockets: over TCP in order; over UDP each frame as one datagram, in
/// order as long as the socket's buffer has room for the frames in flight.
///
/// A frame passed to send() belongs to the network until the kernel has released it; then it
/// returns to its pool by itself. Consecutive frames of a connection that are near each other in
/// one buffer go out as one request, with one notification; a frame never waits for others to be
/// gathered.
///
/// Not thread-safe. No function throws: this is the data path. The first error of a connection is
/// final for it: its frames return to the pool and send() on it returns that error. wait(),
/// progress() and finish() return the first error of any connection.
///
/// Errors: those of the socket (EPIPE, ECONNRESET, EMSGSIZE, ...). ENOBUFS and ENOMEM are no errors
/// while requests are in flight: their completion frees memory, and the send is retried.
///
/// On `merged`: when the kernel adds a send to the packet of the send before it, one notification
/// covers both, and the second send is always flagged "copied". This flag is counted as
/// merged if it arrives in one run behind a notification of an earlier send that was not flagged.
class Sender {
 public:
  /// Most frames that one request gathers.
  static constexpr std::uint32_t max_gathered = 64;

  struct Options {
    /// The window: max frames passed to the kernel and not yet released, at any batch size.
    /// Connections share it equally; each has at least one.
    std::uint32_t depth = 64;
    /// Frames that come together before they are started, while the network has enough to do.
    std::uint32_t batch = 32;
    /// Most frames of a request, 1 to max_gathered, and never more than a quarter of the window; 1
    /// sends each frame by itself.
    std::uint32_t gather = max_gathered;
    /// Have a thread of the kernel take the requests (IORING_SETUP_SQPOLL): no system calls, and a
    /// CPU of its own.
    bool sq_poll = false;
    /// Where the network copies anyway, or copying is cheaper, send by copying.
    bool may_copy = false;
    /// The CPU has just written the frames, so that short ones are cheaper to copy than to pin down
    /// (for may_copy).
    bool cached_data = false;
    /// Requests that others (Capture, Recorder) may have on the sender's ring at a time: it is made
    /// as much larger.
    std::uint32_t client_requests = 0;
    /// Notified when frames leave and when they come back. Must outlive the sender.
    FrameObserver* observer = nullptr;
  };

  virtual ~Sender() = default;

  /// Queues the first `length` bytes of a frame (1 to its size) for a connection, counted in the
  /// order they were given. Starts queued frames whenever another batch is complete; a caller
  /// without a further frame calls progress(). Never waits.
  [[nodiscard]] virtual std::error_code send_to(std::uint32_t connection, Frame frame,
                                                std::size_t length) noexcept = 0;
  /// The same for the first connection.
  [[nodiscard]] std::error_code send(Frame frame, std::size_t length) noexcept {
    return send_to(0, std::move(frame), length);
  }
  /// Waits until at least one frame came back to the pool. Only with frames in flight or queued. If
  /// others have requests on the sender's ring it returns also when some of them are done, or on a
  /// signal.
  [[nodiscard]] virtual std::error_code wait() noexcept = 0;
  /// Handles completions and starts sends that can start, without waiting.
  [[nodiscard]] virtual std::error_code progress() noexcept = 0;
  /// Waits until everything is sent and every frame is back in the pool.
  [[nodiscard]] virtual std::error_code finish() noexcept = 0;

  /// Whether progress() is needed: frames are queued or not completely sent.
  [[nodiscard]] virtual bool busy() const noexcept = 0;
  /// A descriptor and poll(2) events that tell when progress() would get somewhere.
  struct Wakeup {
    int fd;
    short events;
  };
  [[nodiscard]] virtual Wakeup wakeup() const noexcept = 0;

  [[nodiscard]] const SenderStatistics& statistics() const noexcept { return statistics_; }

  /// The library's own: the ring for others to take part in, if the path has one.
  [[nodiscard]] virtual RingHost* ring_host() noexcept { return nullptr; }

 protected:
  SenderStatistics statistics_;
};

/// A sender for one path over connected sockets, which it does not own; they and the pool must
/// outlive it. For streams, see set_abortive_close(): without it, the peer of a process that is
/// killed decides how long its memory stays. Throws Error, of the kind `impossible` where kernel,
/// memory or limits do not allow the path; so it is with `msg` and more than one connection.
[[nodiscard]] std::unique_ptr<Sender> make_sender(Path path, std::span<const int> sockets,
                                                  FramePool& pool, const Sender::Options& options);

}  // namespace dmawire
