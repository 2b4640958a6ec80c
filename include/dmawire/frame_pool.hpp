// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <dmawire/buffer.hpp>
#include <dmawire/mapping.hpp>

namespace dmawire {

class FrameLedger;
class FramePool;

/// The right to one frame of a pool: only its holder may access the memory.
///
/// Passing it to a sender passes the memory to the network; the frame returns to the pool after the
/// notification that the kernel no longer reads it. Move-only; the destructor returns the frame.
class Frame {
 public:
  Frame(Frame&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), index_(other.index_) {}
  Frame& operator=(Frame&& other) noexcept {
    if (this != &other) {
      give_back();
      pool_ = std::exchange(other.pool_, nullptr);
      index_ = other.index_;
    }
    return *this;
  }
  ~Frame() { give_back(); }

  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept;
  /// The buffer that the frame is a part of.
  [[nodiscard]] const Buffer& buffer() const noexcept;
  /// Bytes from the beginning of the buffer to that of the frame.
  [[nodiscard]] std::uint32_t offset() const noexcept;

  /// A second right to the same frame, to read it, for another party; each may hold it once. The
  /// frame is back in its pool when all are.
  [[nodiscard]] Frame share() const noexcept;

 private:
  friend class FrameLedger;
  friend class FramePool;
  Frame(FramePool* pool, std::uint32_t index) noexcept : pool_(pool), index_(index) {}
  void give_back() noexcept;
  /// Leaves it to the caller to put the frame back into its pool.
  [[nodiscard]] std::uint32_t release() noexcept {
    pool_ = nullptr;
    return index_;
  }

  FramePool* pool_;
  std::uint32_t index_;
};

/// Frames of one length, cut from mapped buffers. Frames are handed out in the order in which they
/// came back, so that neighbours in memory tend to be sent together. Not thread-safe; must outlive
/// its frames.
class FramePool {
 public:
  /// Where a frame is: in which buffer, and how many bytes into it.
  struct Place {
    std::uint32_t buffer;
    std::uint32_t offset;
  };

  /// Maps every buffer and cuts `frames` frames from them, the first buffer's first. Throws Error,
  /// also if the buffers are too short.
  FramePool(std::vector<Buffer> buffers, std::size_t frame_length, std::uint32_t frames);
  /// The same with `stride` bytes from the beginning of a frame to that of the next.
  FramePool(std::vector<Buffer> buffers, std::size_t frame_length, std::uint32_t frames,
            std::size_t stride);
  /// One frame in each buffer, `offset` bytes into it. Throws Error.
  [[nodiscard]] static FramePool one_in_each(std::vector<Buffer> buffers, std::size_t frame_length,
                                             std::size_t offset);
  /// Frames at given places; the frames of a buffer are consecutive. Throws Error.
  [[nodiscard]] static FramePool at(std::vector<Place> places, std::vector<Buffer> buffers,
                                    std::size_t frame_length, std::size_t stride);
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;

  /// Bytes from the beginning of a frame to that of the next, unless stated otherwise: frames
  /// share no cache line and, where that costs less than a sixteenth of the memory, no page. So
  /// they have as few fragments as can be when they are sent.
  [[nodiscard]] static constexpr std::size_t stride(std::size_t frame_length) noexcept {
    constexpr std::size_t cache_line = 64;
    constexpr std::size_t page = 4096;
    const std::size_t pages = (frame_length + page - 1) / page * page;
    return pages - frame_length <= frame_length / 16
               ? pages
               : (frame_length + cache_line - 1) / cache_line * cache_line;
  }

  /// A free frame, or nothing if all are held.
  [[nodiscard]] std::optional<Frame> take() noexcept {
    if (available_ == 0) {
      return std::nullopt;
    }
    const std::uint32_t index = free_[next_];
    next_ = next_ + 1 == size() ? 0 : next_ + 1;
    --available_;
    holders_[index] = 1;
    return Frame{this, index};
  }

  /// Frames in all, and free frames.
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint32_t available() const noexcept { return available_; }
  [[nodiscard]] std::size_t frame_length() const noexcept { return frame_length_; }
  [[nodiscard]] std::size_t stride() const noexcept { return stride_; }

  [[nodiscard]] Place place(std::uint32_t index) const noexcept { return places_[index]; }
  [[nodiscard]] std::span<std::byte> bytes(std::uint32_t index) const noexcept {
    return {starts_[index], frame_length_};
  }
  [[nodiscard]] std::span<const Buffer> buffers() const noexcept { return buffers_; }
  [[nodiscard]] std::span<const Mapping> mappings() const noexcept { return mappings_; }

 private:
  friend class Frame;
  friend class FrameLedger;

  FramePool(std::vector<Place> places, std::vector<Buffer> buffers, std::size_t frame_length,
            std::size_t stride);
  void put(std::uint32_t index) noexcept {
    if (--holders_[index] > 0) {
      return;
    }
    const std::uint32_t end = next_ + available_++;
    free_[end < size_ ? end : end - size_] = index;
  }

  std::vector<Buffer> buffers_;
  std::vector<Mapping> mappings_;
  std::vector<Place> places_;
  std::vector<std::byte*> starts_;   ///< of the same frames
  std::vector<std::uint32_t> free_;  ///< a ring of indexes
  std::vector<std::uint32_t> holders_;
  std::uint32_t size_ = 0;
  std::uint32_t next_ = 0;  ///< where in it the next frame to hand out is
  std::uint32_t available_ = 0;
  std::size_t frame_length_;
  std::size_t stride_;
};

inline void Frame::give_back() noexcept {
  if (pool_ != nullptr) {
    pool_->put(index_);
  }
}

inline Frame Frame::share() const noexcept {
  ++pool_->holders_[index_];
  return Frame{pool_, index_};
}

inline std::uint32_t Frame::offset() const noexcept {
  return pool_->place(index_).offset;
}

inline std::span<std::byte> Frame::bytes() const noexcept {
  return pool_->bytes(index_);
}

}  // namespace dmawire
