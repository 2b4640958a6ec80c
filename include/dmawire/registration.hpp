// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/buffer.hpp>
#include <dmawire/sender.hpp>
#include <memory>
#include <span>

namespace dmawire {

/// Buffers in the buffer table of an io_uring of their own, ready to be sent from: the setup of a
/// path before its first send, and nothing else. It exists for benchmarks; a sender does the same
/// for itself.
class Registration {
 public:
  /// `direct`: dmawire's dma-bufs go into the table as they are, with nothing mapped. `fixed`: each
  /// buffer is mapped and its pages pinned. Other paths register nothing. Throws Error.
  Registration(Path path, std::span<const Buffer> buffers);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

 private:
  class Table;
  std::unique_ptr<Table> table_;
};

}  // namespace dmawire
