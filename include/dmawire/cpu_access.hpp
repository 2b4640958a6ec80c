// SPDX-License-Identifier: MIT
#pragma once

#include <system_error>

namespace dmawire {

class Buffer;

/// Brackets access by the CPU to a buffer that devices share (DMA_BUF_IOCTL_SYNC).
///
/// While it lives the CPU may touch the buffer's mappings; when it ends, caches are as devices need
/// them. For memory that is not a dma-buf it does nothing. Never throws: it stands on the data
/// path.
class CpuAccess {
 public:
  enum class Intent { read, write, read_write };

  CpuAccess(const Buffer& buffer, Intent intent) noexcept;
  CpuAccess(const CpuAccess&) = delete;
  CpuAccess& operator=(const CpuAccess&) = delete;
  ~CpuAccess();

  /// What the kernel answered to the request, if it refused.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

 private:
  int fd_ = -1;
  unsigned long flags_ = 0;
  std::error_code error_;
};

}  // namespace dmawire
