// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/frame_pool.hpp>

#include <cstdint>
#include <vector>

#include "ring.hpp"

namespace dmawire {

/// In which slot of a ring's table of fixed buffers each frame of a pool is, and where in it.
class FrameSlots {
 public:
  /// A slot for each buffer, addressed as its mapping is.
  [[nodiscard]] static FrameSlots of_mappings(const FramePool& pool);
  /// Slots for requests of up to `max_frames` neighbours, addressed from 0. The kernel finds an
  /// offset in such a slot by walking its pieces, so slots are short: one begins every
  /// `max_frames` frames (or more, where the table is too short for that) and overlaps the next as
  /// far as a request that begins in it may reach. Throws Error if a buffer is no dma-buf.
  [[nodiscard]] static FrameSlots of_dma_bufs(const FramePool& pool, std::uint32_t max_frames);

  /// The slot for a request that begins with a frame.
  [[nodiscard]] std::uint32_t of(std::uint32_t frame) const noexcept { return slots_[frame]; }
  [[nodiscard]] bool holds(std::uint32_t slot, std::uint32_t frame) const noexcept {
    return frame - frames_[slot].first < frames_[slot].count;
  }
  /// The address in our memory that the slot counts as 0.
  [[nodiscard]] std::uintptr_t origin(std::uint32_t slot) const noexcept {
    return origins_.empty() ? 0 : origins_[slot];
  }
  /// What to register, slot by slot. Nothing for mappings.
  [[nodiscard]] const std::vector<DmaBufRange>& ranges() const noexcept { return ranges_; }

 private:
  FrameSlots() = default;

  struct Frames {
    std::uint32_t first;
    std::uint32_t count;
  };
  std::vector<std::uint32_t> slots_;  ///< by frame
  std::vector<Frames> frames_;        ///< by slot
  std::vector<std::uintptr_t> origins_;
  std::vector<DmaBufRange> ranges_;
};

}  // namespace dmawire
