// SPDX-License-Identifier: MIT
// The references that keep the module and the memory alive, and that there are no others.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "abi.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "pass_fd.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

/// The module can be unloaded, and is loaded again at the end.
void expect_unloads() {
  ASSERT_EQ(unload_dmawire(), 0);
  EXPECT_NE(access("/dev/dmawire0", F_OK), 0);
  ASSERT_EQ(load_dmawire(), 0);
}

TEST(ModuleLifetime, UnloadsAndLoadsAgain) {
  for (int round = 0; round < 3; ++round)
    expect_unloads();
}

TEST(ModuleLifetime, AnOpenDeviceHoldsTheModule) {
  UniqueFd device = open_device();
  EXPECT_EQ(unload_dmawire(), EWOULDBLOCK);
  device.reset();
  expect_unloads();
}

TEST(ModuleLifetime, ADmaBufHoldsTheModule) {
  UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  EXPECT_EQ(unload_dmawire(), EWOULDBLOCK);
  buffer.reset();
  expect_unloads();
}

TEST(ModuleLifetime, AMappingHoldsTheModule) {
  UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  Mapped mapping(buffer.get(), kMiB);
  buffer.reset();
  EXPECT_EQ(unload_dmawire(), EWOULDBLOCK);
  mapping.bytes()[kMiB - 1] = 1;
  mapping.reset();
  expect_unloads();
}

TEST(ModuleLifetime, PartOfAMappingHoldsTheModule) {
  UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  Mapped mapping(buffer.get(), kMiB);
  buffer.reset();
  ASSERT_EQ(munmap(mapping.bytes().data() + kPage, kMiB - kPage), 0);
  EXPECT_EQ(unload_dmawire(), EWOULDBLOCK);
  mapping.bytes()[0] = 1;
  mapping.reset();
  expect_unloads();
}

TEST(ModuleLifetime, AnAttachmentHoldsTheModule) {
  UniqueFd card = open_vgem();
  if (!card.valid())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  VgemHandle handle(card, buffer.get());
  ASSERT_EQ(handle.error(), 0);
  buffer.reset();
  EXPECT_EQ(unload_dmawire(), EWOULDBLOCK);
  handle.reset();
  expect_unloads();
}

TEST(ModuleLifetime, ADescriptorInFlightHoldsTheModule) {
  int pair[2] = {-1, -1};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  UniqueFd sender(pair[0]);
  UniqueFd receiver(pair[1]);
  {
    UniqueFd buffer = create_buffer(open_device().get(), kMiB);
    ASSERT_TRUE(send_fd(sender.get(), buffer.get()));
  }
  EXPECT_EQ(unload_dmawire(), EWOULDBLOCK);
  sender.reset();
  receiver.reset();
  expect_unloads();
}

TEST(ModuleLifetime, DoesNotCareForPagesThatOthersStillHold) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  {
    UniqueFd buffer = create_buffer(open_device().get(), 8 * kPage);
    Mapped mapping(buffer.get(), 8 * kPage);
    memset(mapping.data(), 0x42, 8 * kPage);
    // Takes references on the pages and copies nothing, as a network card's queue does.
    iovec all = {mapping.data(), 8 * kPage};
    ASSERT_EQ(vmsplice(writer.get(), &all, 1, 0), static_cast<ssize_t>(8 * kPage))
        << strerror(errno);
  }
  expect_unloads();
  dirty_memory(64 * kMiB);
  std::vector<uint8_t> seen(8 * kPage);
  ASSERT_EQ(read(reader.get(), seen.data(), seen.size()), static_cast<ssize_t>(seen.size()));
  EXPECT_EQ(seen, std::vector<uint8_t>(8 * kPage, 0x42));
}

TEST(BufferLifetime, OutlivesItsDeviceAndStaysCharged) {
  UniqueFd buffer;
  {
    UniqueFd device = open_device();
    buffer = create_buffer(device.get(), kMiB);
  }
  EXPECT_EQ(module_info().out_buffers, 1u);
  EXPECT_EQ(module_info().out_bytes, kMiB);
  EXPECT_EQ(module_info().out_open_buffers, 0u);
  Mapped mapping(buffer.get(), kMiB);
  ASSERT_EQ(mapping.error(), 0);
  mapping.bytes()[kMiB - 1] = 7;
}

TEST(BufferLifetime, OutlivesItsCreator) {
  int pair[2] = {-1, -1};
  ASSERT_EQ(pipe2(pair, O_CLOEXEC), 0);
  UniqueFd reader(pair[0]);
  UniqueFd writer(pair[1]);
  pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    UniqueFd child = create_buffer(open_device().get(), kMiB);
    Mapped mapping(child.get(), kMiB);
    mapping.bytes()[0] = 0x99;
    int fd = child.get();
    if (write(writer.get(), &fd, sizeof(fd)) != sizeof(fd))
      _exit(1);
    pause();
    _exit(0);
  }
  int theirs = -1;
  ASSERT_EQ(read(reader.get(), &theirs, sizeof(theirs)), static_cast<ssize_t>(sizeof(theirs)));
  UniqueFd creator(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  UniqueFd buffer(static_cast<int>(syscall(SYS_pidfd_getfd, creator.get(), theirs, 0)));
  EXPECT_TRUE(buffer.valid()) << strerror(errno);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  EXPECT_EQ(Mapped(buffer.get(), kMiB).bytes()[0], 0x99);
}

TEST(BufferLifetime, EndsWithAKilledProcess) {
  pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    UniqueFd device = open_device();
    UniqueFd buffer = create_buffer(device.get(), 16 * kMiB);
    Mapped mapping(buffer.get(), 16 * kMiB);
    memset(mapping.data(), 1, 16 * kMiB);
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_EQ(module_info().out_buffers, 0u);
}

}  // namespace
}  // namespace dmawire::test
