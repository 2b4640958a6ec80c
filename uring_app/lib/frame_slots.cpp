// SPDX-License-Identifier: MIT
#include "frame_slots.hpp"

#include <unistd.h>

#include <algorithm>

#include <dmawire/error.hpp>

namespace dmawire {
namespace {

/// What the kernel lets one ring register.
constexpr std::uint32_t most_slots = 16'384;

}  // namespace

FrameSlots FrameSlots::of_mappings(const FramePool& pool) {
  FrameSlots slots;
  slots.slots_.reserve(pool.size());
  for (std::uint32_t frame = 0; frame < pool.size(); ++frame) {
    slots.slots_.push_back(pool.place(frame).buffer);
  }
  return slots;
}

FrameSlots FrameSlots::of_dma_bufs(const FramePool& pool, std::uint32_t most_frames) {
  for (const Buffer& buffer : pool.buffers()) {
    if (buffer.kind() != Buffer::Kind::dma_buf) {
      throw Error(0, "the memory is no dma-buf", "direct sends from dmawire's buffers",
                  Error::Kind::impossible);
    }
  }
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  // The last slot of a buffer may be short, so each buffer may need one more.
  const auto buffers = static_cast<std::uint32_t>(pool.buffers().size());
  const std::uint32_t to_share = most_slots - std::min(buffers, most_slots - 1);
  const std::uint32_t most = pool.size() <= most_slots
                                 ? most_frames
                                 : std::max(most_frames, (pool.size() + to_share - 1) / to_share);
  FrameSlots slots;
  slots.slots_.reserve(pool.size());
  std::uint32_t first = 0;  // frame of the slot
  for (std::uint32_t frame = 0; frame < pool.size(); ++frame) {
    const FramePool::Place place = pool.place(frame);
    if (frame == 0 || place.buffer != pool.place(first).buffer || frame - first == most) {
      first = frame;
      const std::uint64_t offset = place.offset / page * page;
      slots.ranges_.push_back({pool.buffers()[place.buffer].fd(), offset, 0});
      slots.origins_.push_back(
          reinterpret_cast<std::uintptr_t>(pool.mappings()[place.buffer].bytes().data()) + offset);
    }
    DmaBufRange& range = slots.ranges_.back();
    const std::uint64_t end = place.offset + pool.frame_length();
    range.length = (end + page - 1) / page * page - range.offset;
    slots.slots_.push_back(static_cast<std::uint32_t>(slots.ranges_.size() - 1));
  }
  return slots;
}

}  // namespace dmawire
