// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <dmawire/buffer.hpp>
#include <dmawire/mapping.hpp>

namespace dmawire {

class FramePool;

/// The right to one frame of a pool: whoever holds it may touch the memory, nobody else.
///
/// Giving it to a sender gives the memory to the network; it comes back to the pool when the kernel
/// has said that it no longer reads it. Move-only; going out of scope returns the frame.
class Frame {
 public:
  Frame(Frame&& other) noexcept;
  Frame& operator=(Frame&& other) noexcept;
  ~Frame();

  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept;
  /// The buffer that the frame is a part of.
  [[nodiscard]] const Buffer& buffer() const noexcept;

 private:
  friend class FramePool;
  Frame(FramePool* pool, std::uint32_t index) noexcept : pool_(pool), index_(index) {}
  void give_back() noexcept;

  FramePool* pool_;
  std::uint32_t index_;
};

/// Frames of one length, cut from mapped buffers. Frames are handed out in the order in which they
/// came back, so that neighbours in memory tend to be sent together. Not thread-safe; must outlive
/// its frames.
class FramePool {
 public:
  /// Maps every buffer and cuts `frames` frames from them, the first buffer's first. Throws Error,
  /// also if the buffers are too short.
  FramePool(std::vector<Buffer> buffers, std::size_t frame_length, std::uint32_t frames);
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;

  /// Bytes from the beginning of a frame to that of the next: frames share no cache line.
  [[nodiscard]] static constexpr std::size_t stride(std::size_t frame_length) noexcept {
    constexpr std::size_t cache_line = 64;
    return (frame_length + cache_line - 1) / cache_line * cache_line;
  }

  /// A frame that nobody holds, or nothing if all are held.
  [[nodiscard]] std::optional<Frame> take() noexcept;

  /// Frames in all, and frames that nobody holds.
  [[nodiscard]] std::uint32_t size() const noexcept {
    return static_cast<std::uint32_t>(places_.size());
  }
  [[nodiscard]] std::uint32_t available() const noexcept { return available_; }
  [[nodiscard]] std::size_t frame_length() const noexcept { return frame_length_; }

  /// Where a frame is: in which buffer, and how many bytes into it.
  struct Place {
    std::uint32_t buffer;
    std::uint32_t offset;
  };
  [[nodiscard]] Place place(std::uint32_t index) const noexcept { return places_[index]; }
  [[nodiscard]] std::span<std::byte> bytes(std::uint32_t index) const noexcept {
    const Place where = places_[index];
    return mappings_[where.buffer].bytes().subspan(where.offset, frame_length_);
  }
  [[nodiscard]] std::span<const Buffer> buffers() const noexcept { return buffers_; }
  [[nodiscard]] std::span<const Mapping> mappings() const noexcept { return mappings_; }

 private:
  friend class Frame;

  std::vector<Buffer> buffers_;
  std::vector<Mapping> mappings_;
  std::vector<Place> places_;
  std::vector<std::uint32_t> free_;  ///< a ring of indexes
  std::uint32_t next_ = 0;           ///< where in it the next frame to hand out is
  std::uint32_t available_ = 0;
  std::size_t frame_length_;
};

}  // namespace dmawire
