// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>

namespace dmawire::test {

/// What is held that somebody could have forgotten to give back.
struct Holdings {
  std::uint64_t buffers = 0;
  std::uint64_t bytes = 0;
  std::size_t descriptors = 0;  ///< of this process
  std::string references;       ///< on the module

  static Holdings now();
  /// The holdings as soon as they are these, or what they still are after a minute: rings are
  /// taken down, and files of other processes closed, in the background.
  [[nodiscard]] Holdings settled() const;

  bool operator==(const Holdings&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Holdings& holdings);
};

/// How many descriptors this process has.
std::size_t open_descriptors();

}  // namespace dmawire::test
