// SPDX-License-Identifier: MIT
#include <dmawire/device.hpp>

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {
namespace {

const char* open_advice(int code) {
  switch (code) {
    case ENOENT:
    case ENXIO:
      return "the module is not loaded (modprobe dmawire), or use memory that needs no module "
             "(--source memfd)";
    case EACCES:
    case EPERM:
      return "run as root, or join the group that owns the node";
    default:
      return "";
  }
}

const char* create_advice(int code) {
  switch (code) {
    case EDQUOT:
      return "ask for fewer or smaller buffers, or raise "
             "/sys/module/dmawire/parameters/max_bytes or max_bytes_per_open";
    case ENOMEM:
      return "ask for fewer or smaller buffers, or free memory";
    case EMFILE:
      return "ask for fewer buffers, or raise the limit of open files (ulimit -n)";
    default:
      return "";
  }
}

}  // namespace

Device::Device(std::string node) : node_(std::move(node)) {
  fd_.reset(sys().open(node_.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd_.valid()) {
    const int code = errno;
    throw Error(code, fmt::format("opening {}", node_), open_advice(code), Error::Kind::impossible);
  }
}

Buffer Device::create(std::size_t length, dmawire_direction direction, dmawire_backing backing,
                      std::uint32_t flags) const {
  dmawire_create request{};
  request.size = sizeof(request);
  request.flags = flags;
  request.length = length;
  request.backing = backing;
  request.direction = direction;
  request.node = -1;
  request.fd_flags = O_RDWR | O_CLOEXEC;
  if (sys().ioctl(fd_.get(), DMAWIRE_IOC_CREATE, &request) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("creating a buffer of {} bytes on {}", length, node_),
                create_advice(code));
  }
  return {UniqueFd{request.out_fd}, static_cast<std::size_t>(request.out_length),
          Buffer::Kind::dma_buf};
}

dmawire_info Device::info() const {
  dmawire_info request{};
  request.size = sizeof(request);
  if (sys().ioctl(fd_.get(), DMAWIRE_IOC_INFO, &request) < 0) {
    throw Error(errno, fmt::format("asking {} for its limits", node_));
  }
  return request;
}

dmawire_query Device::query(int dma_buf_fd) const {
  dmawire_query request{};
  request.size = sizeof(request);
  request.fd = dma_buf_fd;
  if (sys().ioctl(fd_.get(), DMAWIRE_IOC_QUERY, &request) < 0) {
    throw Error(errno, fmt::format("asking {} about descriptor {}", node_, dma_buf_fd));
  }
  return request;
}

}  // namespace dmawire
