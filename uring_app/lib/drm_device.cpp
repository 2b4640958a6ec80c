// SPDX-License-Identifier: MIT
#include <dmawire/drm_device.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>

#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {
namespace {

constexpr std::uint32_t bits_per_pixel = 32;
constexpr std::uint32_t row_pixels = 1024;
constexpr std::size_t row_bytes = std::size_t{row_pixels} * bits_per_pixel / 8;

UniqueFd open_node(const std::string& node) {
  UniqueFd fd{sys().open(node.c_str(), O_RDWR | O_CLOEXEC)};
  if (!fd.valid()) {
    const int code = errno;
    throw Error(code, fmt::format("opening {}", node),
                code == EACCES ? "members of the groups `video` and `render` may" : "",
                code == ENOENT ? Error::Kind::impossible : Error::Kind::failed);
  }
  return fd;
}

std::string driver_of(int fd, const std::string& node) {
  const std::unique_ptr<drmVersion, decltype(&drmFreeVersion)> version{::drmGetVersion(fd),
                                                                       &drmFreeVersion};
  if (!version) {
    const int code = errno;
    throw Error(code, fmt::format("asking {} for its driver", node), "it is no node of DRM's",
                Error::Kind::impossible);
  }
  return {version->name, static_cast<std::size_t>(version->name_len)};
}

}  // namespace

std::vector<std::string> DrmDevice::nodes() {
  std::vector<std::string> nodes;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator{"/dev/dri", error}) {
    const std::string name = entry.path().filename();
    if (name.starts_with("card") || name.starts_with("renderD")) {
      nodes.push_back(entry.path());
    }
  }
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

DrmDevice::DrmDevice(std::string node)
    : node_(std::move(node)), fd_(open_node(node_)), driver_(driver_of(fd(), node_)) {
  std::uint64_t prime = 0;
  if (::drmGetCap(fd(), DRM_CAP_PRIME, &prime) == 0) {
    imports_ = (prime & DRM_PRIME_CAP_IMPORT) != 0;
    exports_ = (prime & DRM_PRIME_CAP_EXPORT) != 0;
  }
}

DrmDevice::Handle DrmDevice::import(const Buffer& buffer) const {
  std::uint32_t handle = 0;
  if (::drmPrimeFDToHandle(fd(), buffer.fd(), &handle) != 0) {
    const int code = errno;
    throw Error(code, fmt::format("importing a dma-buf into {}", node_),
                imports_
                    ? "its driver cannot reach this memory, or wants one piece: --backing contig"
                    : "its driver does not import",
                Error::Kind::impossible);
  }
  return {fd(), handle, buffer.length()};
}

DrmDevice::Handle DrmDevice::create(std::size_t length) const {
  const auto rows = static_cast<std::uint32_t>((length + row_bytes - 1) / row_bytes);
  std::uint32_t handle = 0;
  std::uint32_t pitch = 0;
  std::uint64_t size = 0;
  if (const int status = ::drmModeCreateDumbBuffer(fd(), row_pixels, rows, bits_per_pixel, 0,
                                                   &handle, &pitch, &size);
      status != 0) {
    throw Error(-status, fmt::format("creating a buffer of {} bytes on {}", length, node_),
                status == -EACCES ? "only its card node makes any, not its render node" : "",
                Error::Kind::impossible);
  }
  return {fd(), handle, size};
}

DrmDevice::Handle::~Handle() {
  if (handle_ != 0) {
    (void)::drmCloseBufferHandle(device_, handle_);
  }
}

Buffer DrmDevice::Handle::to_buffer() const {
  int fd = -1;
  if (::drmPrimeHandleToFD(device_, handle_, DRM_CLOEXEC | DRM_RDWR, &fd) != 0) {
    throw Error(errno, "exporting a buffer of DRM's", {}, Error::Kind::impossible);
  }
  return {UniqueFd{fd}, length_, Buffer::Kind::dma_buf};
}

Mapping DrmDevice::Handle::map() const {
  std::uint64_t offset = 0;
  if (const int status = ::drmModeMapDumbBuffer(device_, handle_, &offset); status != 0) {
    throw Error(-status, "asking DRM for a mapping of a buffer",
                status == -EINVAL ? "it gives none of what was imported" : "");
  }
  return Mapping::at(device_, length_, offset);
}

}  // namespace dmawire
