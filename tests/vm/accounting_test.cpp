// SPDX-License-Identifier: MIT
// Every page is charged to a memory cgroup or counts against RLIMIT_MEMLOCK, or is refused.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "abi.hpp"
#include "capturing.hpp"
#include "cgroup.hpp"
#include "edu_card.hpp"
#include "eventually.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "kprobe_counter.hpp"
#include "mapped.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

/// The page allocator has no block of this length.
constexpr uint64_t kLong = 20 * kMiB;
/// The longest that it has.
constexpr uint64_t kBlock = 4 * kMiB;

dmawire_create coherent_request(uint64_t length) {
  dmawire_create request = create_request(length);
  request.backing = DMAWIRE_BACKING_COHERENT;
  return request;
}

dmawire_create folios_request(uint64_t length) {
  dmawire_create request = create_request(length);
  request.flags = DMAWIRE_CREATE_FOLIOS_64K;
  return request;
}

/// Creates buffers until one is refused: how many there are, or -1 if it is not with ENOMEM.
int created_until_enomem(const UniqueFd& device, const dmawire_create& request, int most) {
  std::vector<UniqueFd> buffers;
  for (int i = 0; i < most; ++i) {
    dmawire_create next = request;
    const int error = call(device.get(), DMAWIRE_IOC_CREATE, &next);
    if (error != 0)
      return error == ENOMEM ? i : -1;
    buffers.emplace_back(next.out_fd);
  }
  return most;
}

TEST(Accounting, AFullCgroupIsAnErrorForEveryBackingThatIsChargedToIt) {
  constexpr int limit = 8;  // in blocks
  const std::array requests{create_request(kBlock), folios_request(kBlock), contig_request(kBlock),
                            contig_request(kMiB + kPage)};
  for (const dmawire_create& request : requests) {
    SCOPED_TRACE("backing " + std::to_string(request.backing) + ", length " +
                 std::to_string(request.length));
    const Cgroup cgroup;
    if (!cgroup.exists())
      GTEST_SKIP() << "no memory controller of cgroup v2";
    ASSERT_TRUE(cgroup.limit(limit * kBlock));
    const int most = static_cast<int>(2 * limit * kBlock / request.length);
    const int created = in_child(
        [&] { return cgroup.join() ? created_until_enomem(open_device(), request, most) : 200; });
    EXPECT_GT(created, 0);
    EXPECT_LT(created, most / 2 + 1);
    EXPECT_NE(cgroup.events().find("oom_kill 0\n"), std::string::npos) << cgroup.events();
  }
}

/// Inode, dentry and file of a dma-buf are charged, too; their allocation by the dma-buf core would
/// invoke the OOM killer instead of failing with ENOMEM.
TEST(Accounting, CreateAtTheLimitOfACgroupDoesNotInvokeItsOomKiller) {
  constexpr int most = 8000;
  const Cgroup cgroup;
  if (!cgroup.exists())
    GTEST_SKIP() << "no memory controller of cgroup v2";
  const rlimit files{most + 100, most + 100};
  const UniqueFd device = open_device();
  const int status = in_child([&] {
    // The process allocates the memory that it needs itself before the limit applies.
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || dup2(device.get(), most + 50) < 0)
      return 1;
    if (!cgroup.join() || mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
      return 2;
    dmawire_create request = create_request(kPage);
    if (call(device.get(), DMAWIRE_IOC_CREATE, &request) != 0)
      return 3;
    if (!cgroup.limit(cgroup.current() + 8 * kMiB))
      return 4;
    int refused = 0;
    for (int i = 0; i < most - 100; ++i) {
      request = create_request(kPage);
      const int error = call(device.get(), DMAWIRE_IOC_CREATE, &request);
      if (error != 0 && error != ENOMEM)
        return 5;
      if (error != 0 && ++refused == 200)
        return 0;
    }
    return 6;
  });
  EXPECT_EQ(status, 0);
  const std::string events = cgroup.events();
  EXPECT_NE(events.find("oom 0\n"), std::string::npos) << events;
  EXPECT_NE(events.find("oom_kill 0\n"), std::string::npos) << events;
}

class LongPiece : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    if (create_error(device_.get(), request_) == EOPNOTSUPP)
      GTEST_SKIP() << "not on this kernel, or there is no CMA area";
  }
  const UniqueFd device_ = open_device();
  const dmawire_create request_ = contig_request(kLong, GetParam());
};
INSTANTIATE_TEST_SUITE_P(Of, LongPiece, testing::Values(0, DMAWIRE_CREATE_CMA),
                         [](const auto& instance) {
                           return std::string(instance.param == 0 ? "Memory" : "Cma");
                         });

TEST_P(LongPiece, CountsAgainstTheLimitOfLockedMemory) {
  const auto create_one = [this] { return create_error(device_.get(), request_); };
  EXPECT_EQ(without_rights(0, create_one), EDQUOT);
  EXPECT_EQ(without_rights(kLong - kPage, create_one), EDQUOT);
  EXPECT_EQ(without_rights(kLong, create_one), 0);
  const auto create_two = [this] {
    const UniqueFd first = create(device_.get(), request_);
    return create_error(device_.get(), request_);
  };
  EXPECT_EQ(without_rights(2 * kLong - kPage, create_two), EDQUOT);
}

TEST_P(LongPiece, IsUncountedWithTheBuffer) {
  EXPECT_EQ(without_rights(
                kLong,
                [this] {
                  for (int i = 0; i < 5; ++i) {
                    // Pages of a CMA area go back in the background.
                    if (!eventually([this] { return create_error(device_.get(), request_) == 0; }))
                      return i + 1;
                  }
                  return 0;
                }),
            0);
}

TEST(Accounting, APieceThatTheCgroupIsChargedForNeedsNoLockedMemory) {
  const UniqueFd device = open_device();
  EXPECT_EQ(without_rights(0, [&] { return create_error(device.get(), contig_request(kBlock)); }),
            0);
}

TEST(Accounting, AnyLengthOfACmaAreaCountsAgainstTheLimitOfLockedMemory) {
  const UniqueFd device = open_device();
  const dmawire_create request = contig_request(2 * kPage, DMAWIRE_CREATE_CMA);
  if (create_error(device.get(), request) == EOPNOTSUPP)
    GTEST_SKIP() << "there is no CMA area";
  const auto create_one = [&] { return create_error(device.get(), request); };
  EXPECT_EQ(without_rights(kPage, create_one), EDQUOT);
  EXPECT_TRUE(eventually([&] { return without_rights(2 * kPage, create_one) == 0; }));
}

/// Bytes pinned by this process.
uint64_t pinned() {
  const std::string status = read_text("/proc/self/status");
  return std::stoull(status.substr(status.find("VmPin:") + 6)) * 1024;
}

class DeviceMemory : public testing::Test {
 protected:
  static constexpr uint64_t kLength = 40 * kPage;

  void SetUp() override {
    driver_.emplace(card_.present() ? "dmawire_edu" : "dmawire_dmaengine",
                    card_.present() ? EduCard::driver_parameters() : "");
    device_ = open_driver(card_.present() ? "edu" : "dmaengine");
    if (!device_.valid())
      GTEST_SKIP() << "this machine has no device that does DMA";
    if (query(create(device_.get(), coherent_request(kLength)).get()).out_send != DMAWIRE_NO_PAGES)
      GTEST_SKIP() << "it is pages like any others (--append 'intel_iommu=off swiotlb=force')";
  }

  const EduCard card_;
  std::optional<DriverModule> driver_;
  UniqueFd device_;
};

TEST_F(DeviceMemory, CountsAgainstTheLimitOfLockedMemory) {
  const dmawire_create request = coherent_request(kLength);
  const auto create_one = [&] { return create_error(device_.get(), request); };
  EXPECT_EQ(without_rights(kLength - kPage, create_one), EDQUOT);
  EXPECT_EQ(without_rights(kLength, create_one), 0);
  EXPECT_EQ(without_rights(2 * kLength - kPage,
                           [&] {
                             const UniqueFd first = create(device_.get(), request);
                             return create_error(device_.get(), request);
                           }),
            EDQUOT);
}

TEST_F(DeviceMemory, IsUncountedWhenTheDeviceHasItBack) {
  if (!card_.present())
    GTEST_SKIP() << "this device cannot be unbound";
  const uint64_t before = pinned();
  const UniqueFd buffer = create(device_.get(), coherent_request(kLength));
  EXPECT_EQ(pinned(), before + kLength);
  device_.reset();
  ASSERT_TRUE(card_.unbind());
  EXPECT_EQ(pinned(), before);
  ASSERT_TRUE(card_.bind());
}

/// An O_PATH descriptor keeps the dentry, and with it the dma-buf, but not the file: the memory of
/// that may be another file's when the device goes.
TEST_F(DeviceMemory, IsRevokedAfterItsFileIsGoneAndNoOtherFilesMappingsAre) {
  if (!card_.present())
    GTEST_SKIP() << "this device cannot be unbound";
  constexpr int files = 256;
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);  // freed memory is reused first by the CPU that freed it
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);

  UniqueFd buffer = create(device_.get(), coherent_request(kLength));
  const std::string name = "/proc/self/fd/" + std::to_string(buffer.get());
  const UniqueFd path{open(name.c_str(), O_PATH | O_CLOEXEC)};
  ASSERT_TRUE(path.valid()) << strerror(errno);
  device_.reset();
  buffer.reset();

  std::vector<UniqueFd> others;
  std::vector<Mapped> mappings;
  for (int i = 0; i < files; ++i) {
    others.push_back(make_memfd(kPage));
    mappings.emplace_back(others.back().get(), kPage, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    mappings.back().bytes()[0] = 0x5a;
  }
  ASSERT_TRUE(card_.unbind());
  for (int i = 0; i < files; ++i)
    ASSERT_EQ(mappings[i].bytes()[0], 0x5a) << "private mapping of file " << i << " was zapped";
  ASSERT_TRUE(card_.bind());
  EXPECT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(Accounting, ScatterGatherTablesOfImportersAreCharged) {
  constexpr int importers = 16;
  // A segment of vgem's is 64 KiB long, an entry of a table 32 bytes.
  constexpr uint64_t length = 128 * kMiB;
  constexpr uint64_t table = length / (64 * 1024) * 32;
  if (!open_vgem().valid())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  const Cgroup cgroup;
  if (!cgroup.exists())
    GTEST_SKIP() << "no memory controller of cgroup v2";
  const UniqueFd buffer = create_buffer(open_device().get(), length);
  uint64_t charged = 0;
  const Mapped result(-1, kPage, 0, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  EXPECT_EQ(in_child([&] {
              if (!cgroup.join())
                return 1;
              std::vector<UniqueFd> cards;
              for (int i = 0; i <= importers; ++i)
                cards.push_back(open_vgem());
              const VgemHandle first(cards[0], buffer.get());
              const uint64_t before = cgroup.current();
              std::vector<std::unique_ptr<VgemHandle>> handles;
              for (int i = 1; i <= importers; ++i) {
                handles.push_back(std::make_unique<VgemHandle>(cards[i], buffer.get()));
                if (handles.back()->error() != 0)
                  return 2;
              }
              result.words()[0] = cgroup.current() - before;
              return 0;
            }),
            0);
  charged = result.words()[0];
  EXPECT_GE(charged, importers * table * 9 / 10);
}

/// While it lives, memory has no free block of that length: each range that would be free otherwise
/// has a pinned page, which looks migratable and is not.
class PinnedPages {
 public:
  PinnedPages(int device, dmawire_create piece) {
    pin(device);
    for (dmawire_create next = piece; call(device, DMAWIRE_IOC_CREATE, &next) == 0; next = piece)
      buffers_.emplace_back(next.out_fd);
  }

 private:
  void pin(int device) {
    constexpr size_t step = 8 * kMiB;
    const size_t length = free_memory() / 10 * 8 / step * step;
    const Anonymous memory(length);
    madvise(memory.data(), length, MADV_HUGEPAGE);  // to be faster
    memset(memory.data(), 1, length);
    for (size_t at = 0; at < length; at += step)
      buffers_.push_back(create(device, user_request(memory.data() + at, kPage)));
  }

  std::vector<UniqueFd> buffers_;
};

TEST(Accounting, AKilledCreatorOfALongPieceLooksAtNoFurtherRange) {
  const UniqueFd device = open_device();
  const dmawire_create request = contig_request(kLong);
  if (create_error(device.get(), request) == EOPNOTSUPP)
    GTEST_SKIP() << "this kernel has no longer pieces for modules";
  const ModuleParameter limit("max_bytes", meminfo("MemTotal"));
  const rlimit files{20000, 20000};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  const PinnedPages pinned(device.get(), request);
  const KprobeCounter ranges("alloc_contig_frozen_range_noprof");
  ASSERT_EQ(create_error(device.get(), request), ENOMEM);
  const uint64_t all = ranges.calls();
  printf("%llu ranges looked at\n", static_cast<unsigned long long>(all));
  ASSERT_GE(all, 8U) << "too few to be killed between them";

  const uint64_t before = ranges.calls();
  const pid_t child = fork();
  if (child == 0)
    _exit(create_error(device.get(), request));
  ASSERT_TRUE(eventually([&] { return ranges.calls() > before; }));
  ASSERT_EQ(kill(child, SIGKILL), 0);
  const uint64_t killed = ranges.calls();
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "it was through before it was killed";
  EXPECT_LE(ranges.calls(), killed + 2) << "of " << all;
}

}  // namespace
}  // namespace dmawire::test
