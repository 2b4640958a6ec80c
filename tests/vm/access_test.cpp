// SPDX-License-Identifier: MIT
//
// Permissions: the promises of kmod/SECURITY.md for users who may not open the node, for users who
// may, and for processes that were passed a descriptor. Each test runs in a child with these
// rights.

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

#include "abi.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "loopback.hpp"
#include "mapped.hpp"
#include "process.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

constexpr const char* node = "/dev/dmawire0";
constexpr uid_t nobody = 65534;

gid_t group_of_the_node() {
  const group* entry = getgrnam("dmawire");
  EXPECT_NE(entry, nullptr) << "the guest has no group dmawire";
  return entry == nullptr ? 0 : entry->gr_gid;
}

/// Gives the node to its group while it lives, as udev does.
class NodeOfGroup {
 public:
  NodeOfGroup() { EXPECT_EQ(chown(node, 0, group_of_the_node()), 0) << strerror(errno); }
  ~NodeOfGroup() { EXPECT_EQ(chown(node, 0, 0), 0); }
  NodeOfGroup(const NodeOfGroup&) = delete;
  NodeOfGroup& operator=(const NodeOfGroup&) = delete;
};

/// Runs `body` as nobody, in that one group; its return value, or 100 if the rights could not be
/// dropped.
int as_nobody(gid_t group, const std::function<int()>& body) {
  return in_child([&] {
    if (setgroups(0, nullptr) != 0 || setgid(group) != 0 || setuid(nobody) != 0) {
      return 100;
    }
    return body();
  });
}
int as_member(const std::function<int()>& body) {
  return as_nobody(group_of_the_node(), body);
}

int open_error() {
  const UniqueFd device{open(node, O_RDWR | O_CLOEXEC)};
  return device.valid() ? 0 : errno;
}

TEST(Node, IsForRootAndItsGroupAlone) {
  const NodeOfGroup given;
  EXPECT_EQ(as_nobody(nobody, open_error), EACCES);
  EXPECT_EQ(as_member(open_error), 0);
}

TEST(Node, IsGivenToItsGroupByUdev) {
  Process daemon{{"bash", "-c", "exec -a systemd-udevd udevadm"}};
  ASSERT_TRUE(eventually([] { return access("/run/udev/control", F_OK) == 0; }));
  ASSERT_NO_FATAL_FAILURE(expect_reloads());
  const Process::Result settled = run({"udevadm", "settle", "--timeout=60"});
  EXPECT_EQ(settled.status, 0) << settled.err;
  struct stat info = {};
  ASSERT_EQ(stat(node, &info), 0);
  EXPECT_EQ(info.st_gid, group_of_the_node());
  EXPECT_EQ(info.st_mode & 07777, 0660U);
  daemon.kill();
  EXPECT_EQ(chown(node, 0, 0), 0);
}

TEST(Member, HasNoMoreMemoryHoweverManyFilesItOpens) {
  const NodeOfGroup given;
  const ModuleParameter limit{"max_bytes", 8 * kMiB};
  EXPECT_EQ(as_member([] {
              std::vector<UniqueFd> kept;
              for (std::size_t held = 0; held < 8; ++held) {
                const UniqueFd device = open_device();
                kept.push_back(create_buffer(device.get(), kMiB));
              }
              return try_create(open_device().get(), kPage);
            }),
            EDQUOT);
}

TEST(Member, CannotRaiseTheLimits) {
  const NodeOfGroup given;
  for (const std::string name : {"max_bytes", "max_bytes_per_open"}) {
    EXPECT_EQ(
        as_member([&] {
          return open(("/sys/module/dmawire/parameters/" + name).c_str(), O_WRONLY) < 0 ? errno : 0;
        }),
        EACCES)
        << name;
  }
}

TEST(Member, PinsNoMoreThanItMayLock) {
  const NodeOfGroup given;
  EXPECT_EQ(as_member([] {
              const rlimit little{16 * kPage, 16 * kPage};
              setrlimit(RLIMIT_MEMLOCK, &little);
              const UniqueFd buffer = create_buffer(open_device().get(), kMiB);
              const Mapped mapping{buffer.get(), kMiB};
              SlotRing ring;
              if (ring.make_table() != 0 || ring.register_address(mapping.data(), kPage, 0) != 0) {
                return 1;
              }
              return ring.register_address(mapping.data(), kMiB, 1);
            }),
            ENOMEM);
}

// The memory of a slot is charged already, to the limits and to the memory cgroup, and is not
// pinned: it cannot be swapped anyway.
TEST(Member, NeedsNoLockedMemoryForSlots) {
  if (!has_direct()) {
    GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  }
  const NodeOfGroup given;
  EXPECT_EQ(as_member([] {
              const rlimit none{0, 0};
              setrlimit(RLIMIT_MEMLOCK, &none);
              const UniqueFd device = open_device();
              const UniqueFd buffer = create_buffer(device.get(), kMiB);
              SlotRing ring;
              return ring.make_table() != 0 ? 1 : ring.register_slot(device.get(), buffer.get(), 0);
            }),
            0);
}

/// Where the kernel's memory and text are; the last of them are error numbers.
bool is_kernel_address(std::uint64_t value) {
  return value >> 47 == 0x1ffff && static_cast<std::int64_t>(value) < -4096;
}

template <typename Struct>
auto kernel_addresses_in(const Struct& answer) {
  std::array<std::uint64_t, sizeof(answer) / sizeof(std::uint64_t)> words = {};
  memcpy(words.data(), &answer, sizeof(words));
  return std::ranges::count_if(words, is_kernel_address);
}

TEST(Answers, HoldNoKernelAddress) {
  const UniqueFd device = open_device();
  dmawire_create request = create_request(kMiB);
  request.node = 0;  // -1 beside another field would look like an address
  ASSERT_EQ(call(device.get(), DMAWIRE_IOC_CREATE, &request), 0);
  const UniqueFd buffer{request.out_fd};
  EXPECT_EQ(kernel_addresses_in(request), 0);
  EXPECT_EQ(kernel_addresses_in(info(device.get())), 0);
  EXPECT_EQ(kernel_addresses_in(query(buffer.get())), 0);
  for (const int fd : {device.get(), buffer.get()}) {
    const std::string text = read_text("/proc/self/fdinfo/" + std::to_string(fd));
    EXPECT_NE(text, "");
    EXPECT_EQ(text.find("ffff"), text.npos) << text;
  }
  EXPECT_EQ(run({"dmesg"}).out.find("dmawire: ffff"), std::string::npos);
}

class FreshMemory : public testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Layouts, FreshMemory, testing::ValuesIn(layouts), layout_name);

TEST_P(FreshMemory, ShowsNothingOfThoseWhoHadItBefore) {
  const UniqueFd device = open_device();
  constexpr std::size_t size = 64 * kMiB;
  for (int round = 0; round < 3; ++round) {
    dirty_memory(4 * size);  // a process's
    const UniqueFd buffer = create_buffer(device.get(), size, O_RDWR | O_CLOEXEC, GetParam());
    const Mapped mapping{buffer.get(), size};
    ASSERT_EQ(mapping.error(), 0);
    const auto words = mapping.words();
    EXPECT_EQ(std::count_if(words.begin(), words.end(), [](auto word) { return word != 0; }), 0);
    std::fill(words.begin(), words.end(), 0x5ec2e75ec2e75ec2);  // another buffer's, next time
  }
}

/// A buffer with a read-only descriptor, mapped for reading. It must stay all zero.
class ReadOnly : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_TRUE(std::ranges::all_of(mapping_.bytes(), [](auto byte) { return byte == 0; }));
  }

  UniqueFd device_ = open_device();
  UniqueFd buffer_ = create_buffer(device_.get(), 4 * kPage, O_RDONLY | O_CLOEXEC);
  Mapped mapping_{buffer_.get(), 4 * kPage, 0, PROT_READ};
  const std::string text_ = std::string(kPage, 'x');
};

TEST_F(ReadOnly, IsNotMappedForWriting) {
  EXPECT_EQ(Mapped(buffer_.get(), kPage).error(), EACCES);
  EXPECT_EQ(mprotect(mapping_.data(), kPage, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
}

TEST_F(ReadOnly, CannotBeOpenedAgainForWriting) {
  const UniqueFd again{
      open(("/proc/self/fd/" + std::to_string(buffer_.get())).c_str(), O_RDWR | O_CLOEXEC)};
  EXPECT_FALSE(again.valid());
  // F_SETFL on an open file does not extend its access mode either.
  EXPECT_EQ(fcntl(buffer_.get(), F_SETFL, O_RDWR), 0);
  EXPECT_EQ(Mapped(buffer_.get(), kPage).error(), EACCES);
}

TEST_F(ReadOnly, IsNotWrittenByAnotherProcessesHand) {
  const UniqueFd memory{open("/proc/self/mem", O_RDWR | O_CLOEXEC)};
  ASSERT_TRUE(memory.valid());
  EXPECT_EQ(
      pwrite(memory.get(), text_.data(), text_.size(), reinterpret_cast<off_t>(mapping_.data())),
      -1);
  const iovec from{const_cast<char*>(text_.data()), text_.size()};
  const iovec to{mapping_.data(), text_.size()};
  EXPECT_EQ(process_vm_writev(getpid(), &from, 1, &to, 1, 0), -1);
}

TEST_F(ReadOnly, IsNotReadInto) {
  const UniqueFd zero{open("/dev/urandom", O_RDONLY | O_CLOEXEC)};
  EXPECT_EQ(read(zero.get(), mapping_.data(), kPage), -1);
  EXPECT_EQ(errno, EFAULT);
  SlotRing ring;
  ASSERT_EQ(ring.make_table(), 0);
  EXPECT_EQ(ring.register_address(mapping_.data(), kPage, 0), EFAULT);
  if (!has_direct()) {
    return;
  }
  ASSERT_EQ(ring.register_slot(device_.get(), buffer_.get(), 1), 0);
  const Loopback connection;
  ASSERT_EQ(send(connection.far.get(), text_.data(), text_.size(), 0),
            static_cast<ssize_t>(text_.size()));
  for (const int source : {zero.get(), connection.near.get()}) {
    EXPECT_EQ(ring.result_of([&](io_uring_sqe* sqe) {
      io_uring_prep_read_fixed(sqe, source, nullptr, kPage, 0, 1);
    }),
              -EFAULT);
  }
}

TEST_F(ReadOnly, StaysSoWhenAnImporterExportsItAgain) {
  const UniqueFd card = open_vgem();
  if (!card.valid()) {
    GTEST_SKIP() << "this kernel has no vgem to import it";
  }
  const VgemHandle handle{card, buffer_.get()};
  ASSERT_EQ(handle.error(), 0);
  const UniqueFd again = handle.to_dmabuf();  // asks for O_RDWR
  EXPECT_EQ(Mapped(again.get(), kPage).error(), EACCES);
}

}  // namespace
}  // namespace dmawire::test
