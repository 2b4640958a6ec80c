// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>

#include <dmawire/buffer.hpp>
#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// An open V4L2 node that captures: a camera, a frame grabber. It fills dma-bufs of others
/// (V4L2_MEMORY_DMABUF), one for each frame.
///
/// Both of V4L2's interfaces are spoken, the single- and the multi-planar one; of the latter's
/// formats only ones whose planes lie in one piece of memory (NV12, not NM12).
class VideoDevice {
 public:
  /// Throws Error, of the kind `impossible` if the node does not capture video.
  explicit VideoDevice(std::string node);

  /// How frames look.
  struct Format {
    std::string fourcc;    ///< of the pixels, as V4L2 names them: "YUYV"
    std::uint32_t width;   ///< pixels
    std::uint32_t height;  ///< pixels
    std::size_t length;    ///< most bytes of a frame; 0 if its planes lie in several buffers
  };
  [[nodiscard]] const Format& format() const noexcept { return format_; }
  /// Asks for a format and a size; empty and 0 keep the present values. Throws Error, of the kind
  /// `impossible` if the device has something else only, and names it.
  void set_format(const std::string& fourcc, std::uint32_t width, std::uint32_t height);
  /// Asks for so many frames a second; the device picks the nearest rate that it has. Throws Error,
  /// of the kind `impossible` if its rate cannot be set.
  void set_rate(std::uint32_t rate) const;

  /// Asks the device to take `count` buffers; returns how many it takes, which may be more or less.
  /// Throws Error, of the kind `impossible` if it cannot import dma-bufs.
  [[nodiscard]] std::uint32_t request_buffers(std::uint32_t count) const;
  /// Has the device release its buffers; it must not be running.
  void release_buffers() const noexcept;

  /// Queues `buffer` to the device as number `index`. The device keeps it mapped as long as that
  /// number stays the same buffer.
  [[nodiscard]] std::error_code queue(std::uint32_t index, const Buffer& buffer) const noexcept;
  /// A buffer that the device has filled.
  struct Filled {
    std::uint32_t index;
    std::size_t offset;                  ///< where in it the frame begins
    std::size_t length;                  ///< bytes from there
    std::uint32_t sequence;              ///< frames since the start, including lost ones
    std::chrono::nanoseconds timestamp;  ///< CLOCK_MONOTONIC
    bool damaged;                        ///< the device says that the data is not right
  };
  /// Dequeues the buffer that was filled first. EAGAIN: no buffer is filled.
  [[nodiscard]] std::error_code dequeue(Filled& filled) const noexcept;
  [[nodiscard]] std::error_code start() const noexcept;
  /// Stops the device and returns all buffers; filled buffers that are not dequeued are dropped. A
  /// signal handler may call it.
  std::error_code stop() const noexcept;

  /// Readable when a buffer can be dequeued.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] const std::string& node() const noexcept { return node_; }

 private:
  [[nodiscard]] std::string offered_formats() const;
  void take_format(const void* answer);

  std::string node_;
  UniqueFd fd_;
  bool planes_ = false;  ///< it speaks the multi-planar interface
  Format format_{};
};

}  // namespace dmawire
