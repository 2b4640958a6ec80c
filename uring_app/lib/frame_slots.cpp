// SPDX-License-Identifier: MIT
#include "frame_slots.hpp"

#include <unistd.h>

#include <algorithm>

#include <dmawire/error.hpp>

namespace dmawire {
namespace {

/// What the kernel lets one ring register.
constexpr std::uint32_t max_slots = 16'384;

}  // namespace

FrameSlots FrameSlots::of_mappings(const FramePool& pool) {
  FrameSlots slots;
  slots.slots_.reserve(pool.size());
  slots.frames_.resize(pool.buffers().size(), {0, 0});
  for (std::uint32_t frame = 0; frame < pool.size(); ++frame) {
    const std::uint32_t buffer = pool.place(frame).buffer;
    slots.slots_.push_back(buffer);
    if (slots.frames_[buffer].count++ == 0) {
      slots.frames_[buffer].first = frame;
    }
  }
  return slots;
}

FrameSlots FrameSlots::of_dma_bufs(const FramePool& pool, std::uint32_t max_frames) {
  for (const Buffer& buffer : pool.buffers()) {
    if (buffer.kind() != Buffer::Kind::dma_buf) {
      throw Error(0, "the memory is no dma-buf", "direct sends from dmawire's buffers",
                  Error::Kind::impossible);
    }
  }
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  // The last slot of a buffer may be short, so each buffer may need one more.
  const auto buffers = static_cast<std::uint32_t>(pool.buffers().size());
  const std::uint32_t to_share = max_slots - std::min(buffers, max_slots - 1);
  const std::uint32_t most = pool.size() <= max_slots
                                 ? max_frames
                                 : std::max(max_frames, (pool.size() + to_share - 1) / to_share);
  FrameSlots slots;
  slots.slots_.reserve(pool.size());
  for (std::uint32_t first = 0; first < pool.size();) {
    const FramePool::Place place = pool.place(first);
    const auto end_within = [&](std::uint32_t frames) {
      std::uint32_t end = first;
      while (end < pool.size() && end - first < frames && pool.place(end).buffer == place.buffer) {
        ++end;
      }
      return end;
    };
    const std::uint32_t next = end_within(most);
    const std::uint32_t end = end_within(2 * most - 1);
    const std::uint64_t begins = place.offset / page * page;
    const std::uint64_t ends = pool.place(end - 1).offset + pool.frame_length();
    slots.ranges_.push_back(
        {pool.buffers()[place.buffer].fd(), begins, (ends + page - 1) / page * page - begins});
    slots.origins_.push_back(
        reinterpret_cast<std::uintptr_t>(pool.mappings()[place.buffer].bytes().data()) + begins);
    slots.frames_.push_back({first, end - first});
    slots.slots_.resize(next, static_cast<std::uint32_t>(slots.ranges_.size() - 1));
    first = next;
  }
  return slots;
}

}  // namespace dmawire
