// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <deque>
#include <dmawire/exporters.hpp>
#include <dmawire/frame_pool.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "plan.hpp"

namespace dmawire::commands::bench {

/// Buffers of the memory that a case says. Throws Error, of the kind `impossible` if there is none.
[[nodiscard]] std::vector<Buffer> new_buffers(const Case& what, std::size_t count,
                                              std::size_t length);

/// Buffers of `what.size` bytes together, as long as make_pool() makes them. Throws Error likewise.
[[nodiscard]] std::vector<Buffer> new_amount(const Case& what);
/// Throws Error, of the kind `impossible`, if `what.size` bytes would leave the machine too little.
void check_available(const Case& what);

/// The memory that is sent from: pools whose frames all hold a pattern. Cases that differ in
/// nothing that matters share a pool, and those used last are kept.
class Memory {
 public:
  /// Valid until the next call. Throws Error.
  [[nodiscard]] FramePool& pool(const Case& what);

 private:
  [[nodiscard]] std::unique_ptr<FramePool> make_or_make_room(const Case& what);

  struct Kept {
    Exporter source;
    Layout layout;
    Backing backing;
    std::uint64_t size;
    std::uint32_t frames;
    std::optional<std::uint64_t> offset;
    std::unique_ptr<FramePool> pool;

    [[nodiscard]] bool fits(const Case& what) const noexcept {
      return source == what.source && layout == what.layout && backing == what.backing &&
             size == what.size && frames == what.frames && offset == what.offset;
    }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return size * frames; }
  };
  std::deque<Kept> kept_;  ///< used last comes last
};

}  // namespace dmawire::commands::bench
