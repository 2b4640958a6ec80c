// SPDX-License-Identifier: MIT
#include <dmawire/device.hpp>

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
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
             "/sys/module/dmawire/parameters/max_bytes or max_bytes_per_open, or, for memory that "
             "is pinned or of no memory cgroup, the limit of locked memory (ulimit -l)";
    case EINVAL:
      return "the module may be older than this program";
    case EFAULT:
      return "the memory cannot be pinned: it is not all there, or a device's, or a file's";
    case ENOMEM:
      return "ask for fewer or smaller buffers, or free memory";
    case EOPNOTSUPP:
      return "this kernel or this device has no such memory, or none so long (docs/backings.md)";
    case EMFILE:
      return "ask for fewer buffers, or raise the limit of open files (ulimit -n)";
    default:
      return "";
  }
}

Buffer::Pages pages_of(const dmawire_query& answer) {
  if (answer.out_send != DMAWIRE_USABLE) {
    return Buffer::Pages::none;
  }
  return answer.out_register == DMAWIRE_NO_LONGTERM_PIN ? Buffer::Pages::looked_up
                                                        : Buffer::Pages::pinned;
}

constexpr std::string_view node_prefix = "/dev/dmawire";

/// The number of a node, if it is one of ours.
std::optional<unsigned> number_of(std::string_view node) {
  if (!node.starts_with(node_prefix)) {
    return std::nullopt;
  }
  node.remove_prefix(node_prefix.size());
  unsigned number = 0;
  const auto [end, error] = std::from_chars(node.data(), node.data() + node.size(), number);
  if (error != std::errc{} || end != node.data() + node.size()) {
    return std::nullopt;
  }
  return number;
}

const char* attach_advice(int code) {
  switch (code) {
    case EBUSY:
      return "another program captures from it, one at a time can";
    case EOPNOTSUPP:
      return "the device does not capture";
    case ENODEV:
      return "the device is gone";
    case ENOMEM:
      return "no memory, or no room in the IOMMU or for bounce buffers: ask for fewer or smaller "
             "buffers";
    case EIO:
      return "the device cannot reach the memory";
    default:
      return "";
  }
}

const char* start_advice(int code) {
  switch (code) {
    case EINVAL:
      return "the device cannot make so many frames a second";
    case EOPNOTSUPP:
      return "the device cannot be told how many frames to make; leave --rate out";
    case EBUSY:
      return "it runs already, or another program captures from it";
    case ENODEV:
      return "the device is gone";
    default:
      return "";
  }
}

}  // namespace

std::string Device::node_of(unsigned number) {
  return fmt::format("{}{}", node_prefix, number);
}

std::vector<std::string> Device::nodes() {
  std::vector<unsigned> numbers;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", error)) {
    if (const auto number = number_of(entry.path().native())) {
      numbers.push_back(*number);
    }
  }
  std::sort(numbers.begin(), numbers.end());
  std::vector<std::string> nodes;
  std::transform(numbers.begin(), numbers.end(), std::back_inserter(nodes), node_of);
  return nodes;
}

Device::Device(std::string node) : node_(std::move(node)) {
  fd_.reset(sys().open(node_.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd_.valid()) {
    const int code = errno;
    throw Error(code, fmt::format("opening {}", node_), open_advice(code), Error::Kind::impossible);
  }
}

dmawire_create Device::ask_to_create(dmawire_create request) const {
  request.size = sizeof(request);
  request.node = -1;
  request.fd_flags = O_RDWR | O_CLOEXEC;
  if (sys().ioctl(fd_.get(), DMAWIRE_IOC_CREATE, &request) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("creating a buffer of {} bytes on {}", request.length, node_),
                create_advice(code),
                code == EOPNOTSUPP ? Error::Kind::impossible : Error::Kind::failed);
  }
  return request;
}

Buffer Device::create(std::size_t length, dmawire_direction direction, std::uint32_t flags,
                      dmawire_backing backing) const {
  dmawire_create request{};
  request.flags = flags;
  request.length = length;
  request.backing = backing;
  request.direction = direction;
  request = ask_to_create(request);
  UniqueFd fd{request.out_fd};
  const Buffer::Pages pages =
      backing == DMAWIRE_BACKING_PAGES ? Buffer::Pages::pinned : pages_of(query(fd.get()));
  return {std::move(fd), static_cast<std::size_t>(request.out_length), Buffer::Kind::dma_buf, 1,
          pages};
}

Buffer Device::create_from(const Buffer& memfd, dmawire_direction direction) const {
  if (::fcntl(memfd.fd(), F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
    throw Error(errno, "sealing a memfd");
  }
  dmawire_create request{};
  request.length = memfd.length();
  request.backing = DMAWIRE_BACKING_MEMFD;
  request.direction = direction;
  request.memfd = memfd.fd();
  return {UniqueFd{ask_to_create(request).out_fd}, memfd.length(), Buffer::Kind::dma_buf,
          memfd.page()};
}

Buffer Device::create_from(Mapping memory, dmawire_direction direction) const {
  dmawire_create request{};
  request.length = memory.bytes().size();
  request.backing = DMAWIRE_BACKING_USER;
  request.direction = direction;
  request.start = reinterpret_cast<std::uintptr_t>(memory.bytes().data());
  return {UniqueFd{ask_to_create(request).out_fd}, std::move(memory)};
}

Buffer Device::adopt(UniqueFd dma_buf) const {
  const dmawire_query answer = query(dma_buf.get());
  return {std::move(dma_buf), static_cast<std::size_t>(answer.out_length), Buffer::Kind::dma_buf,
          answer.out_granule, pages_of(answer)};
}

dmawire_info Device::info() const {
  dmawire_info request{};
  request.size = sizeof(request);
  if (sys().ioctl(fd_.get(), DMAWIRE_IOC_INFO, &request) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("asking {} for its limits", node_));
  }
  return request;
}

dmawire_query Device::query(int dma_buf_fd) const {
  dmawire_query request{};
  request.size = sizeof(request);
  request.fd = dma_buf_fd;
  if (sys().ioctl(fd_.get(), DMAWIRE_IOC_QUERY, &request) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("asking {} about descriptor {}", node_, dma_buf_fd));
  }
  return request;
}

std::uint32_t Device::attach(int dma_buf_fd) const {
  dmawire_attach request{};
  request.size = sizeof(request);
  request.fd = dma_buf_fd;
  if (sys().ioctl(fd_.get(), DMAWIRE_IOC_ATTACH, &request) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("attaching a buffer to {}", node_), attach_advice(code),
                code == EOPNOTSUPP || code == EIO ? Error::Kind::impossible : Error::Kind::failed);
  }
  return request.out_index;
}

std::error_code Device::detach(std::uint32_t index) const noexcept {
  dmawire_detach request{};
  request.size = sizeof(request);
  request.index = index;
  const int status = sys().ioctl(fd_.get(), DMAWIRE_IOC_DETACH, &request);
  return {status < 0 ? errno : 0, std::system_category()};
}

void Device::start(std::uint32_t rate) const {
  dmawire_start request{};
  request.size = sizeof(request);
  request.rate = rate;
  if (sys().ioctl(fd_.get(), DMAWIRE_IOC_START, &request) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("starting {}", node_), start_advice(code),
                code == EOPNOTSUPP ? Error::Kind::impossible : Error::Kind::failed);
  }
}

std::error_code Device::stop() const noexcept {
  dmawire_stop request{};
  request.size = sizeof(request);
  const int status = sys().ioctl(fd_.get(), DMAWIRE_IOC_STOP, &request);
  return {status < 0 ? errno : 0, std::system_category()};
}

}  // namespace dmawire
