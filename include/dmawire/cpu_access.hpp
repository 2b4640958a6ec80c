// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <system_error>

namespace dmawire {

class Buffer;
class Device;
class Frame;

/// Brackets access by the CPU to memory that devices share (DMA_BUF_IOCTL_SYNC, or
/// DMAWIRE_IOC_SYNC).
///
/// During its lifetime the CPU may access the buffer's mappings, or the frame; its destructor syncs
/// caches for the devices. For memory that is not a dma-buf it does nothing. Never throws: it is on
/// the data path. If error() is set there is no access: the memory must not be accessed.
class CpuAccess {
 public:
  enum class Intent { read, write, read_write };
  /// Longer than the work of any device takes.
  static constexpr std::chrono::milliseconds usual_patience{10'000};

  /// To a whole buffer, of any exporter. Waits until devices are done with it, as the fences of the
  /// dma-buf tell, but no longer than `patience`: error() is ETIMEDOUT then, and EINTR if a signal
  /// was handled meanwhile. A fence may never signal, and any process with a descriptor of the
  /// dma-buf may add one (DMA_BUF_IOCTL_IMPORT_SYNC_FILE): a buffer that timed out is best used no
  /// more. (A fence that is added between the end of this wait and the system call behind it is
  /// waited for by the kernel, until it signals or a signal is handled.)
  CpuAccess(const Buffer& buffer, Intent intent,
            std::chrono::milliseconds patience = usual_patience) noexcept;
  /// To a frame in memory of dmawire's, created on any of its devices. Waits for no fence, since
  /// other processes may have added them: the caller knows that no device writes to the frame, or,
  /// before a write, reads it. `device` must outlive it.
  CpuAccess(const Device& device, const Frame& frame, Intent intent) noexcept;
  CpuAccess(const CpuAccess&) = delete;
  CpuAccess& operator=(const CpuAccess&) = delete;
  ~CpuAccess();

  /// Why there is no access.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

 private:
  [[nodiscard]] std::error_code synchronize(std::uint32_t flags) const noexcept;

  int device_ = -1;  ///< that syncs a part; -1: all of it
  int fd_ = -1;      ///< of the dma-buf, if there is access
  std::uint32_t flags_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t length_ = 0;
  std::error_code error_;
};

}  // namespace dmawire
