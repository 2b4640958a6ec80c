// SPDX-License-Identifier: MIT
#include <dmawire/frame_pool.hpp>

#include <fmt/format.h>

#include <limits>
#include <utility>

#include <dmawire/error.hpp>

namespace dmawire {
namespace {

/// Places for `frames` frames, the first buffer's first.
std::vector<FramePool::Place> cut(const std::vector<Buffer>& buffers, std::size_t frame_length,
                                  std::uint32_t frames, std::size_t stride) {
  std::vector<FramePool::Place> places;
  places.reserve(frames);
  for (std::uint32_t buffer = 0; buffer < buffers.size(); ++buffer) {
    for (std::size_t offset = 0;
         offset + frame_length <= buffers[buffer].length() && places.size() < frames;
         offset += stride) {
      places.push_back({buffer, static_cast<std::uint32_t>(offset)});
    }
  }
  if (frames == 0 || places.size() < frames) {
    throw Error(
        0, fmt::format("the buffers have room for {} frames, not for {}", places.size(), frames));
  }
  return places;
}

}  // namespace

const Buffer& Frame::buffer() const noexcept {
  return pool_->buffers_[pool_->place(index_).buffer];
}

FramePool::FramePool(std::vector<Buffer> buffers, std::size_t frame_length, std::uint32_t frames)
    : FramePool{std::move(buffers), frame_length, frames, stride(frame_length)} {}

FramePool::FramePool(std::vector<Buffer> buffers, std::size_t frame_length, std::uint32_t frames,
                     std::size_t stride)
    : FramePool{cut(buffers, frame_length, frames, stride), std::move(buffers), frame_length,
                stride} {}

FramePool FramePool::one_in_each(std::vector<Buffer> buffers, std::size_t frame_length,
                                 std::size_t offset) {
  std::vector<Place> places;
  for (const Buffer& buffer : buffers) {
    if (buffer.length() < frame_length || buffer.length() - frame_length < offset) {
      throw Error(0, fmt::format("a buffer of {} bytes has no room for a frame at {}",
                                 buffer.length(), offset));
    }
    places.push_back(
        {static_cast<std::uint32_t>(places.size()), static_cast<std::uint32_t>(offset)});
  }
  return {std::move(places), std::move(buffers), frame_length, stride(frame_length)};
}

FramePool FramePool::at(std::vector<Place> places, std::vector<Buffer> buffers,
                        std::size_t frame_length, std::size_t stride) {
  for (const Place place : places) {
    const std::size_t length = buffers.at(place.buffer).length();
    if (length < frame_length || length - frame_length < place.offset) {
      throw Error(0, fmt::format("a buffer of {} bytes has no room for a frame of {} at {}", length,
                                 frame_length, place.offset));
    }
  }
  return {std::move(places), std::move(buffers), frame_length, stride};
}

FramePool::FramePool(std::vector<Place> places, std::vector<Buffer> buffers,
                     std::size_t frame_length, std::size_t stride)
    : buffers_(std::move(buffers)),
      places_(std::move(places)),
      holders_(places_.size()),
      size_(static_cast<std::uint32_t>(places_.size())),
      available_(size_),
      frame_length_(frame_length),
      stride_(stride) {
  mappings_.reserve(buffers_.size());
  for (const Buffer& buffer : buffers_) {
    if (buffer.length() > std::numeric_limits<std::uint32_t>::max()) {
      throw Error(0, "a buffer to cut frames from is 4 GiB or longer");
    }
    mappings_.push_back(buffer.map());
  }
  starts_.reserve(size_);
  free_.reserve(size_);
  for (std::uint32_t index = 0; index < size_; ++index) {
    starts_.push_back(mappings_[places_[index].buffer].bytes().data() + places_[index].offset);
    free_.push_back(index);
  }
}

}  // namespace dmawire
