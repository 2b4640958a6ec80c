// SPDX-License-Identifier: MIT
#include <dmawire/frame_pool.hpp>

#include <fmt/format.h>

#include <limits>
#include <utility>

#include <dmawire/error.hpp>

namespace dmawire {

Frame::Frame(Frame&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), index_(other.index_) {}

Frame& Frame::operator=(Frame&& other) noexcept {
  if (this != &other) {
    give_back();
    pool_ = std::exchange(other.pool_, nullptr);
    index_ = other.index_;
  }
  return *this;
}

Frame::~Frame() {
  give_back();
}

void Frame::give_back() noexcept {
  if (pool_) {
    const std::uint32_t end = pool_->next_ + pool_->available_++;
    pool_->free_[end % pool_->size()] = index_;
  }
}

std::span<std::byte> Frame::bytes() const noexcept {
  return pool_->bytes(index_);
}

const Buffer& Frame::buffer() const noexcept {
  return pool_->buffers_[pool_->place(index_).buffer];
}

FramePool::FramePool(std::vector<Buffer> buffers, std::size_t frame_length, std::uint32_t frames)
    : buffers_(std::move(buffers)), frame_length_(frame_length) {
  mappings_.reserve(buffers_.size());
  places_.reserve(frames);
  for (std::uint32_t buffer = 0; buffer < buffers_.size(); ++buffer) {
    const std::size_t length = buffers_[buffer].length();
    if (length > std::numeric_limits<std::uint32_t>::max()) {
      throw Error(0, "a buffer to cut frames from is 4 GiB or longer");
    }
    mappings_.emplace_back(buffers_[buffer].fd(), length);
    for (std::size_t offset = 0; offset + frame_length <= length && size() < frames;
         offset += stride(frame_length)) {
      places_.push_back({buffer, static_cast<std::uint32_t>(offset)});
    }
  }
  if (frames == 0 || size() < frames) {
    throw Error(0, fmt::format("the buffers have room for {} frames, not for {}", size(), frames));
  }
  free_.resize(frames);
  for (std::uint32_t index = 0; index < frames; ++index) {
    free_[index] = index;
  }
  available_ = frames;
}

std::optional<Frame> FramePool::take() noexcept {
  if (available_ == 0) {
    return std::nullopt;
  }
  const std::uint32_t index = free_[next_];
  next_ = next_ + 1 == size() ? 0 : next_ + 1;
  --available_;
  return Frame{this, index};
}

}  // namespace dmawire
