// SPDX-License-Identifier: MIT
#include <dmawire/cpu_access.hpp>

#include <dmawire/uapi.h>
#include <linux/dma-buf.h>

#include <algorithm>
#include <cerrno>

#include <dmawire/buffer.hpp>
#include <dmawire/device.hpp>
#include <dmawire/frame_pool.hpp>

#include "sys.hpp"

namespace dmawire {
namespace {

using Clock = std::chrono::steady_clock;

static_assert(DMAWIRE_SYNC_READ == DMA_BUF_SYNC_READ && DMAWIRE_SYNC_WRITE == DMA_BUF_SYNC_WRITE &&
              DMAWIRE_SYNC_END == DMA_BUF_SYNC_END && DMA_BUF_SYNC_START == 0);

std::uint32_t sync_flags(CpuAccess::Intent intent) {
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

std::error_code last_error() noexcept {
  return {errno, std::system_category()};
}

/// A read waits for the fences of writers, a write for all.
std::error_code wait_for_devices(int fd, std::uint32_t flags, Clock::time_point deadline) noexcept {
  const short events = (flags & DMA_BUF_SYNC_WRITE) != 0 ? POLLOUT : POLLIN;
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  const int ready =
      sys().poll(&entry, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30)));
  if (ready < 0) {
    return last_error();
  }
  return ready == 0 ? std::make_error_code(std::errc::timed_out) : std::error_code{};
}

}  // namespace

CpuAccess::CpuAccess(const Buffer& buffer, Intent intent,
                     std::chrono::milliseconds patience) noexcept
    : flags_(sync_flags(intent)) {
  if (buffer.kind() != Buffer::Kind::dma_buf) {
    return;
  }
  const Clock::time_point deadline = Clock::now() + patience;
  fd_ = buffer.fd();
  do {
    error_ = wait_for_devices(fd_, flags_, deadline);
    if (!error_) {
      error_ = synchronize(flags_);
    }
    // The kernel may ask for the call to be made again.
  } while (error_.value() == EAGAIN && Clock::now() < deadline);
  if (error_) {
    fd_ = -1;
  }
}

CpuAccess::CpuAccess(const Device& device, const Frame& frame, Intent intent) noexcept
    : device_(device.fd()),
      fd_(frame.buffer().fd()),
      flags_(sync_flags(intent)),
      offset_(frame.offset()),
      length_(frame.bytes().size()) {
  error_ = synchronize(flags_);
  if (error_) {
    fd_ = -1;
  }
}

/// The end waits for no fence.
CpuAccess::~CpuAccess() {
  if (fd_ >= 0) {
    int code;
    do {
      code = synchronize(DMA_BUF_SYNC_END | flags_).value();
    } while (code == EINTR || code == EAGAIN);
  }
}

std::error_code CpuAccess::synchronize(std::uint32_t flags) const noexcept {
  if (device_ >= 0) {
    dmawire_sync request{.size = sizeof(request),
                         .flags = flags,
                         .fd = fd_,
                         .reserved = 0,
                         .offset = offset_,
                         .length = length_};
    return sys().ioctl(device_, DMAWIRE_IOC_SYNC, &request) < 0 ? last_error() : std::error_code{};
  }
  dma_buf_sync request{.flags = flags};
  return sys().ioctl(fd_, DMA_BUF_IOCTL_SYNC, &request) < 0 ? last_error() : std::error_code{};
}

}  // namespace dmawire
