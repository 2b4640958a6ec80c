// SPDX-License-Identifier: MIT
#include <dmawire/cpu_access.hpp>

#include <linux/dma-buf.h>

#include <cerrno>

#include <dmawire/buffer.hpp>

#include "sys.hpp"

namespace dmawire {
namespace {

unsigned long sync_flags(CpuAccess::Intent intent) {
  switch (intent) {
    case CpuAccess::Intent::read:
      return DMA_BUF_SYNC_READ;
    case CpuAccess::Intent::write:
      return DMA_BUF_SYNC_WRITE;
    case CpuAccess::Intent::read_write:
      break;
  }
  return DMA_BUF_SYNC_RW;
}

/// The kernel may ask for the call to be made again (EINTR, EAGAIN).
std::error_code synchronize(int fd, unsigned long flags) noexcept {
  dma_buf_sync request{.flags = flags};
  while (sys().ioctl(fd, DMA_BUF_IOCTL_SYNC, &request) < 0) {
    if (errno != EINTR && errno != EAGAIN) {
      return {errno, std::system_category()};
    }
  }
  return {};
}

}  // namespace

CpuAccess::CpuAccess(const Buffer& buffer, Intent intent) noexcept {
  if (buffer.kind() != Buffer::Kind::dma_buf) {
    return;
  }
  flags_ = sync_flags(intent);
  error_ = synchronize(buffer.fd(), DMA_BUF_SYNC_START | flags_);
  if (!error_) {
    fd_ = buffer.fd();
  }
}

CpuAccess::~CpuAccess() {
  if (fd_ >= 0) {
    synchronize(fd_, DMA_BUF_SYNC_END | flags_);
  }
}

}  // namespace dmawire
