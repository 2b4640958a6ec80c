// SPDX-License-Identifier: MIT
#include <dmawire/buffer.hpp>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {

Buffer Buffer::memfd(std::size_t length) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  length = (length + page - 1) / page * page;

  // Sealing is allowed so that /dev/udmabuf takes it, which wants a memory that cannot shrink.
  UniqueFd fd{sys().memfd_create("dmawire", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!fd.valid()) {
    throw Error(errno, "creating a memfd");
  }
  if (sys().ftruncate(fd.get(), static_cast<off_t>(length)) < 0) {
    throw Error(errno, fmt::format("sizing a memfd to {} bytes", length));
  }
  return {std::move(fd), length, Kind::memfd};
}

}  // namespace dmawire
