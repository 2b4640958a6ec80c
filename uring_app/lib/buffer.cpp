// SPDX-License-Identifier: MIT
#include <dmawire/buffer.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>

#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {
namespace {

constexpr std::size_t two_mebibytes = 2UL * 1024 * 1024;

}  // namespace

Buffer Buffer::memfd(std::size_t length) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  length = (length + page - 1) / page * page;

  // Sealing is allowed so that /dev/udmabuf takes it, which wants a memory that cannot shrink.
  UniqueFd fd{sys().memfd_create("dmawire", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!fd.valid()) {
    throw Error(errno, "creating a memfd");
  }
  if (sys().ftruncate(fd.get(), static_cast<off_t>(length)) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("sizing a memfd to {} bytes", length));
  }
  return {std::move(fd), length, Kind::memfd};
}

Buffer Buffer::huge_memfd(std::size_t length, std::size_t page) {
  length = (length + page - 1) / page * page;
  const auto order = static_cast<unsigned>(std::countr_zero(page));
  UniqueFd fd{sys().memfd_create(
      "dmawire", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | order << MFD_HUGE_SHIFT)};
  // Allocated here: what a page fault does not get is a signal.
  if (!fd.valid() || sys().ftruncate(fd.get(), static_cast<off_t>(length)) < 0 ||
      ::fallocate(fd.get(), 0, 0, static_cast<off_t>(length)) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("allocating {} bytes in pages of {} MiB", length, page >> 20),
                page == two_mebibytes
                    ? "sysctl vm.nr_hugepages=N sets N of them aside"
                    : "the kernel's arguments hugepagesz=1G hugepages=N set N of them aside",
                Error::Kind::impossible);
  }
  return {std::move(fd), length, Kind::memfd, page};
}

Mapping Buffer::map() const {
  return memory_.bytes().empty() ? Mapping{fd(), length_, page_} : Mapping::view(memory_);
}

}  // namespace dmawire
