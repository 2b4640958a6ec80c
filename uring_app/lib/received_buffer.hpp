// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include <dmawire/buffer.hpp>
#include <dmawire/unique_fd.hpp>

namespace dmawire {

class Device;

/// A buffer whose descriptor another process handed us.
struct ReceivedBuffer {
  Buffer buffer;
  std::string exporter;  ///< by the kernel's name for it
  bool foreign;          ///< not dmawire's
};

/// Finds out what a descriptor is; whoever sent it is not asked. Of another exporter's memory,
/// which may be anything, nothing is pinned for long. Throws Error if it is no dma-buf (nor, with
/// `memfds`, a memfd that cannot shrink), is shorter than `length`, or cannot be mapped.
///
/// @param device  knows dmawire's own; may be null
[[nodiscard]] ReceivedBuffer take_handed(UniqueFd fd, std::uint64_t length, const Device* device,
                                         bool memfds);

}  // namespace dmawire
