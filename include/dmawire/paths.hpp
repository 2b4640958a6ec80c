// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <dmawire/frame_pool.hpp>
#include <dmawire/sender.hpp>

namespace dmawire {

/// Whether a path works from this pool's memory on this kernel, found out by trying it.
struct PathReport {
  Path path;
  bool available;
  std::string reason;  ///< why it is not available, or a description
};

/// Every path, best first.
[[nodiscard]] std::vector<PathReport> probe_paths(FramePool& pool);

/// A sender and how it was chosen.
struct ChosenSender {
  std::unique_ptr<Sender> sender;
  Path path;
  std::string reason;
};

/// The best path that works, and why no better one does. If it may copy and every socket's peer is
/// in this network namespace, where the kernel copies in any case, that is a plain copy. Throws
/// Error if no path works.
[[nodiscard]] ChosenSender choose_sender(std::span<const int> sockets, FramePool& pool,
                                         const Sender::Options& options);

}  // namespace dmawire
