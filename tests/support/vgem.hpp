// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <xf86drm.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include <dmawire/unique_fd.hpp>
#include "guest.hpp"

namespace dmawire::test {

/// The kernel's virtual GEM driver: a device that any dma-buf can be attached to. False if there is
/// none.
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

/// Where it is, for those who open it often; empty if there is none.
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

  /// A new descriptor of what is attached.
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
