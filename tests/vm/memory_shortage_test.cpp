// SPDX-License-Identifier: MIT
// Where memory is short, and where it is.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include "abi.hpp"
#include "fault_injection.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"

namespace dmawire::test {
namespace {

/// An address without page tables of any level, @p pages before one that needs others at three
/// levels.
void* untouched_address(unsigned nth, size_t pages) {
  return reinterpret_cast<void*>(((uintptr_t{0x20} + nth) << 39U) + 1024 * kMiB - pages * kPage);
}

class FaultInto : public testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(A, FaultInto,
                         testing::Values(DMAWIRE_BACKING_PAGES, DMAWIRE_BACKING_CONTIG),
                         [](const auto& instance) {
                           return std::string(instance.param == DMAWIRE_BACKING_PAGES ? "Pages"
                                                                                      : "Contig");
                         });

TEST_P(FaultInto, MappingSurvivesThatThereIsNoMemoryForAPageTable) {
  // A fault inserts the pages that follow too: here they are behind a border of page tables.
  constexpr size_t before_border = 8;
  constexpr int missing = 77;
  constexpr unsigned most = 100;
  const UniqueFd device = open_device();
  dmawire_create request = create_request(16 * kPage);
  request.backing = GetParam();
  const UniqueFd buffer = create(device.get(), request);
  const int status = in_child([&] {
    FaultInjection injection;
    if (!injection.missing().empty())
      return missing;
    for (unsigned nth = 1; nth < most; ++nth) {
      auto* const memory = static_cast<volatile uint8_t*>(
          mmap(untouched_address(nth, before_border), 16 * kPage, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_FIXED_NOREPLACE, buffer.get(), 0));
      if (memory == MAP_FAILED)
        return 1;
      if (!injection.fail_nth(nth, [&] { memory[(before_border - 1) * kPage] = 1; }))
        return nth > 3 ? 0 : 2;
    }
    return 3;
  });
  if (status == missing)
    GTEST_SKIP() << "this kernel cannot make allocations fail (--machine debug)";
  EXPECT_EQ(status, 0);
}

/// In which node the page at @p address is.
int node_of(const void* address) {
  int node = -1;
  EXPECT_EQ(syscall(SYS_get_mempolicy, &node, nullptr, 0, address, MPOL_F_NODE | MPOL_F_ADDR), 0)
      << strerror(errno);
  return node;
}

/// Free memory of node 0 that is in single pages, while it lives.
class Fragments {
 public:
  Fragments() : memory_(free_on_node(0) / 10 * 8 / (2 * kPage) * (2 * kPage)) {
    const unsigned long mask = 1;
    EXPECT_EQ(madvise(memory_.data(), memory_.bytes().size(), MADV_NOHUGEPAGE), 0);
    EXPECT_EQ(syscall(SYS_mbind, memory_.data(), memory_.bytes().size(), MPOL_BIND, &mask, 64, 0),
              0)
        << strerror(errno);
    memset(memory_.data(), 1, memory_.bytes().size());
    for (size_t at = 0; at < memory_.bytes().size(); at += 2 * kPage)
      madvise(memory_.data() + at, kPage, MADV_DONTNEED);
  }

  /// Bytes that are free in single pages.
  [[nodiscard]] size_t size() const { return memory_.bytes().size() / 2; }

 private:
  static size_t free_on_node(int node) {
    const std::string text =
        read_text("/sys/devices/system/node/node" + std::to_string(node) + "/meminfo");
    return std::stoull(text.substr(text.find("MemFree:") + 8)) * 1024;
  }

  Anonymous memory_;
};

TEST(NumaShortage, SinglePagesOfTheNodeArePreferredToLargeBlocksOfAnother) {
  if (access("/sys/devices/system/node/node1", F_OK) != 0)
    GTEST_SKIP() << "this guest has one NUMA node; machine large has two";
  const UniqueFd device = open_device();
  const ModuleParameter limit("max_bytes", meminfo("MemTotal"));
  const Fragments fragments;
  // More than is free in blocks (a fifth of the former free memory), and less than is free in all.
  dmawire_create request = create_request(fragments.size() / 10 * 8);
  request.node = 0;
  const UniqueFd buffer = create(device.get(), request);
  const Mapped mapping(buffer.get(), request.length);
  ASSERT_EQ(mapping.error(), 0);
  size_t local = 0;
  size_t all = 0;
  for (size_t at = 0; at < mapping.size() / kPage * kPage; at += 16 * kPage, ++all) {
    mapping.bytes()[at] = 1;
    local += node_of(&mapping.bytes()[at]) == 0 ? 1 : 0;
  }
  EXPECT_GE(local, all / 100 * 99) << "of " << all;
}

/// The kernel ignores the top byte of an address of arm64; so do we.
TEST(TaggedAddress, OfCmaMemoryIsRefusedAsAnUntaggedOneIs) {
#ifndef __aarch64__
  GTEST_SKIP() << "addresses have no tags on this machine";
#else
  const UniqueFd device = open_device();
  dmawire_create cma = contig_request(kMiB, DMAWIRE_CREATE_CMA);
  if (call(device.get(), DMAWIRE_IOC_CREATE, &cma) != 0)
    GTEST_SKIP() << "this guest has no CMA area";
  const UniqueFd buffer{cma.out_fd};
  const Mapped mapping(buffer.get(), kMiB);
  mapping.bytes()[0] = 1;
  dmawire_create request = user_request(mapping.data(), kPage);
  request.start |= uint64_t{0x5a} << 56U;
  request.direction = DMAWIRE_TO_DEVICE;
  request.fd_flags = O_RDONLY | O_CLOEXEC;
  const int error = in_child([&] {
    alarm(60);  // else the kernel would try for ever
    return create_error(device.get(), request);
  });
  EXPECT_EQ(error, EFAULT);
  // Memory that can stay is taken.
  const Anonymous memory(kPage);
  request.start = reinterpret_cast<uintptr_t>(memory.data()) | uint64_t{0x5a} << 56U;
  EXPECT_EQ(create_error(device.get(), request), 0);
#endif
}

}  // namespace
}  // namespace dmawire::test
