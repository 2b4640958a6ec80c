// SPDX-License-Identifier: MIT
#include <dmawire/frame_pool.hpp>

#include <fmt/format.h>

#include <limits>
#include <utility>

#include <dmawire/error.hpp>

namespace dmawire {

const Buffer& Frame::buffer() const noexcept {
  return pool_->buffers_[pool_->place(index_).buffer];
}

FramePool::FramePool(std::vector<Buffer> buffers, std::size_t frame_length, std::uint32_t frames)
    : buffers_(std::move(buffers)), frame_length_(frame_length) {
  mappings_.reserve(buffers_.size());
  places_.reserve(frames);
  starts_.reserve(frames);
  for (std::uint32_t buffer = 0; buffer < buffers_.size(); ++buffer) {
    const std::size_t length = buffers_[buffer].length();
    if (length > std::numeric_limits<std::uint32_t>::max()) {
      throw Error(0, "a buffer to cut frames from is 4 GiB or longer");
    }
    mappings_.emplace_back(buffers_[buffer].fd(), length);
    for (std::size_t offset = 0; offset + frame_length <= length && size_ < frames;
         offset += stride(frame_length)) {
      ++size_;
      places_.push_back({buffer, static_cast<std::uint32_t>(offset)});
      starts_.push_back(mappings_.back().bytes().data() + offset);
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

}  // namespace dmawire
