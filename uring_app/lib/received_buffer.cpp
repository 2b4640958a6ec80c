// SPDX-License-Identifier: MIT
#include "received_buffer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <string_view>
#include <utility>

#include <dmawire/device.hpp>
#include <dmawire/error.hpp>

namespace dmawire {
namespace {

bool is_dma_buf(int fd) noexcept {
  struct statfs status {};
  return ::fstatfs(fd, &status) == 0 && status.f_type == DMA_BUF_MAGIC;
}

/// A shorter one would end a reader of its mapping.
bool is_lasting_memfd(int fd) noexcept {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

/// The kernel's name for who made a dma-buf.
std::string exporter_of(int dma_buf) {
  std::ifstream file{fmt::format("/proc/self/fdinfo/{}", dma_buf)};
  for (std::string line; std::getline(file, line);) {
    constexpr std::string_view key = "exp_name:";
    if (line.starts_with(key)) {
      return line.substr(line.find_first_not_of("\t ", key.size()));
    }
  }
  return {};
}

/// Whether the kernel finds pages behind a mapping: it is asked to put a byte into a pipe, which
/// takes the page and copies nothing.
bool has_pages(const Mapping& mapping) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) {
    throw Error(errno, "creating a pipe");
  }
  const UniqueFd out{ends[0]};
  const UniqueFd in{ends[1]};
  const iovec first{mapping.bytes().data(), 1};
  return ::vmsplice(in.get(), &first, 1, SPLICE_F_NONBLOCK) == 1;
}

Buffer foreign_buffer(UniqueFd fd, std::size_t length) {
  const auto pages =
      has_pages(Mapping{fd.get(), length}) ? Buffer::Pages::looked_up : Buffer::Pages::none;
  return {std::move(fd), length, Buffer::Kind::dma_buf, 1, pages};
}

bool is_of(const Device& device, int dma_buf) {
  try {
    (void)device.query(dma_buf);
    return true;
  } catch (const Error& error) {
    if (error.code() == EXDEV) {
      return false;
    }
    throw;
  }
}

}  // namespace

ReceivedBuffer take_handed(UniqueFd fd, std::uint64_t length, const Device* device, bool memfds) {
  const bool dma_buf = is_dma_buf(fd.get());
  if (!dma_buf && !(memfds && is_lasting_memfd(fd.get()))) {
    throw Error(0, "a descriptor that was handed over is no dma-buf", {});
  }
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  if (length == 0 || size < 0 || static_cast<std::uint64_t>(size) < length) {
    throw Error(0, fmt::format("a buffer that was handed over has {} bytes, not {} as was said",
                               size, length));
  }
  if (!dma_buf) {
    return {Buffer{std::move(fd), length, Buffer::Kind::memfd}, "memfd", true};
  }
  std::string exporter = exporter_of(fd.get());
  if (device != nullptr && is_of(*device, fd.get())) {
    return {device->adopt(std::move(fd)), std::move(exporter), false};
  }
  return {foreign_buffer(std::move(fd), length), std::move(exporter), true};
}

}  // namespace dmawire
