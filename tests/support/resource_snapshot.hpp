// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>

namespace dmawire::test {

/// Counts of resources that a leak would leave behind.
struct ResourceSnapshot {
  std::uint64_t buffers = 0;
  std::uint64_t bytes = 0;
  std::size_t descriptors = 0;  ///< of this process
  std::string references;       ///< on the module

  static ResourceSnapshot now();
  /// The snapshot as soon as it equals this one, or as it is after a minute: rings are taken down,
  /// and files of other processes closed, in the background.
  [[nodiscard]] ResourceSnapshot settled() const;

  bool operator==(const ResourceSnapshot&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const ResourceSnapshot& resource_snapshot);
};

/// How many descriptors this process has.
std::size_t open_descriptors();

}  // namespace dmawire::test
