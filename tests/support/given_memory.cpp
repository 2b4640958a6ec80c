// SPDX-License-Identifier: MIT
#include "given_memory.hpp"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "guest.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

constexpr uid_t nobody = 65534;

unsigned long number_in(const std::string& path) {
  return strtoul(read_text(path).c_str(), nullptr, 10);
}

}  // namespace

HugePages::HugePages(size_t size, unsigned count) {
  if (size == kPage)
    return;
  pool_ = "/sys/kernel/mm/hugepages/hugepages-" + std::to_string(size / 1024) + "kB/";
  if (number_in(pool_ + "free_hugepages") >= count)
    return;
  before_ = read_text(pool_ + "nr_hugepages");
  write_text(pool_ + "nr_hugepages", std::to_string(count));
  available_ = number_in(pool_ + "free_hugepages") >= count;
}

HugePages::~HugePages() {
  if (!before_.empty())
    write_text(pool_ + "nr_hugepages", before_);
}

unsigned long HugePages::reserved() const {
  return pool_.empty() ? 0 : number_in(pool_ + "resv_hugepages");
}

UniqueFd make_memfd(uint64_t length, size_t page) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (page != kPage)
    flags |= MFD_HUGETLB | static_cast<unsigned>(__builtin_ctzl(page)) << MFD_HUGE_SHIFT;
  UniqueFd memfd(memfd_create("test", flags));
  EXPECT_EQ(ftruncate(memfd.get(), static_cast<off_t>(length)), 0) << strerror(errno);
  if (page != kPage) {
    EXPECT_EQ(fallocate(memfd.get(), 0, 0, static_cast<off_t>(length)), 0) << strerror(errno);
  }
  EXPECT_EQ(fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0) << strerror(errno);
  return memfd;
}

dmawire_create memfd_request(int memfd, uint64_t start, uint64_t length) {
  dmawire_create request = create_request(length);
  request.backing = DMAWIRE_BACKING_MEMFD;
  request.start = start;
  request.memfd = memfd;
  return request;
}

dmawire_create user_request(const void* data, uint64_t length) {
  dmawire_create request = create_request(length);
  request.backing = DMAWIRE_BACKING_USER;
  request.start = reinterpret_cast<uintptr_t>(data);
  return request;
}

UniqueFd create(int device, const dmawire_create& request) {
  dmawire_create asked = request;
  if (int error = call(device, DMAWIRE_IOC_CREATE, &asked)) {
    ADD_FAILURE() << "CREATE: " << strerrorname_np(error);
    return {};
  }
  return UniqueFd(asked.out_fd);
}

int create_error(int device, const dmawire_create& request) {
  dmawire_create asked = request;
  const int error = call(device, DMAWIRE_IOC_CREATE, &asked);
  if (error == 0)
    close(asked.out_fd);
  return error;
}

AlignedMapping::AlignedMapping(int fd, size_t length, size_t alignment, off_t offset,
                               int protection)
    : reserved_(-1, length + alignment, 0, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE) {
  const auto begin = reinterpret_cast<uintptr_t>(reserved_.data());
  void* const place = reserved_.bytes().data() + (alignment - begin % alignment) % alignment;
  if (mmap(place, length, protection, MAP_SHARED | MAP_FIXED, fd, offset) == MAP_FAILED) {
    error_ = errno;
    return;
  }
  bytes_ = {static_cast<uint8_t*>(place), length};
}

std::string read_through_slot(int device, int dmabuf, size_t length, uint64_t offset) {
  SlotRing ring;
  EXPECT_EQ(ring.make_table(), 0);
  const int error = ring.register_slot(device, dmabuf, 0);
  if (error == EOPNOTSUPP)
    return {};
  EXPECT_EQ(error, 0) << strerrorname_np(error);
  const UniqueFd file(memfd_create("read", MFD_CLOEXEC));
  std::string bytes(length, '\0');
  EXPECT_EQ(ring.result_of([&](io_uring_sqe* sqe) {
    io_uring_prep_write_fixed(sqe, file.get(), nullptr, static_cast<unsigned>(length), 0, 0);
    sqe->addr = offset;
  }),
            static_cast<int>(length));
  EXPECT_EQ(pread(file.get(), bytes.data(), length, 0), static_cast<ssize_t>(length));
  return bytes;
}

int without_rights(size_t may_lock, const std::function<int()>& body) {
  return in_child([&] {
    const rlimit limit{may_lock, may_lock};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || setgroups(0, nullptr) != 0 ||
        setgid(nobody) != 0 || setuid(nobody) != 0)
      return 100;
    return body();
  });
}

}  // namespace dmawire::test
