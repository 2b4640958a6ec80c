// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <xf86drm.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <dmawire/unique_fd.hpp>
#include "guest.hpp"

namespace dmawire::test {

/// The kernel's virtual GEM driver: a device that any dma-buf can be attached to. Invalid if the
/// kernel lacks it.
inline UniqueFd open_vgem() {
  if (!load_kernel_module("vgem"))
    return {};
  for (int i = 0; i < 8; ++i) {
    UniqueFd card(open(("/dev/dri/card" + std::to_string(i)).c_str(), O_RDWR | O_CLOEXEC));
    if (!card.valid())
      continue;
    std::unique_ptr<drmVersion, decltype(&drmFreeVersion)> version(drmGetVersion(card.get()),
                                                                   &drmFreeVersion);
    if (version && std::string(version->name) == "vgem")
      return card;
  }
  return {};
}

/// A fence of vgem's on an attached dma-buf: it stands for work of another device, until it is
/// signaled.
class VgemFence {
 public:
  /// Of a device that reads, or writes.
  enum class Access : uint32_t { kRead, kWrite };

  VgemFence(const UniqueFd& card, uint32_t handle, Access access) : card_(card.get()) {
    Attach request{handle, static_cast<uint32_t>(access), 0, 0};
    error_ = drmIoctl(card_, DRM_IOWR(DRM_COMMAND_BASE + 1, Attach), &request) == 0 ? 0 : errno;
    number_ = request.out_fence;
  }
  ~VgemFence() { signal(); }
  VgemFence(const VgemFence&) = delete;
  VgemFence& operator=(const VgemFence&) = delete;

  void signal() {
    Signal request{std::exchange(number_, 0), 0};
    if (request.fence != 0)
      drmIoctl(card_, DRM_IOW(DRM_COMMAND_BASE + 2, Signal), &request);
  }
  /// EBUSY: other work is under way.
  [[nodiscard]] int error() const { return error_; }

 private:
  // The ABI of vgem's two ioctls: Debian 12 lacks the header.
  struct Attach {
    uint32_t handle;
    uint32_t flags;
    uint32_t out_fence;
    uint32_t reserved;
  };
  struct Signal {
    uint32_t fence;
    uint32_t flags;
  };

  int card_;
  int error_;
  uint32_t number_;
};

/// Path of its node, for tests that open it often; empty if the kernel lacks vgem.
inline std::string vgem_path() {
  const UniqueFd card = open_vgem();
  if (!card.valid())
    return {};
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(card.get()));
}

/// A dma-buf attached to vgem for as long as it lives.
class VgemHandle {
 public:
  VgemHandle(const UniqueFd& card, int dmabuf)
      : card_(card.get()), error_(drmPrimeFDToHandle(card_, dmabuf, &handle_) == 0 ? 0 : errno) {}
  ~VgemHandle() { reset(); }
  VgemHandle(const VgemHandle&) = delete;
  VgemHandle& operator=(const VgemHandle&) = delete;

  void reset() {
    if (handle_ != 0)
      drmCloseBufferHandle(card_, handle_);
    handle_ = 0;
  }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] uint32_t number() const { return handle_; }

  /// A new descriptor of the attached dma-buf.
  [[nodiscard]] UniqueFd to_dmabuf() const {
    int fd = -1;
    drmPrimeHandleToFD(card_, handle_, O_RDWR | O_CLOEXEC, &fd);
    return UniqueFd(fd);
  }

 private:
  int card_;
  uint32_t handle_ = 0;
  int error_;
};

}  // namespace dmawire::test
