// SPDX-License-Identifier: MIT
#include <dmawire/device.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <dmawire/error.hpp>
#include <string>

#include "fake_sys.hpp"
#include "message_of.hpp"

namespace dmawire::test {
namespace {

template <int Code>
int fail_to_open(const char*, int) {
  errno = Code;
  return -1;
}

int open_null(const char*, int flags) {
  return ::open("/dev/null", flags);
}

template <int Code>
int fail_ioctl(int, unsigned long, void*) {
  errno = Code;
  return -1;
}

TEST(Device, SaysThatTheModuleIsNotLoaded) {
  FakeSys fake;
  fake->open = fail_to_open<ENOENT>;
  EXPECT_NE(message_of([] { const Device device; }).find("the module is not loaded"),
            std::string::npos);
}

TEST(Device, SaysThatTheNodeMayNotBeOpened) {
  FakeSys fake;
  fake->open = fail_to_open<EACCES>;
  EXPECT_NE(message_of([] { const Device device; }).find("run as root"), std::string::npos);
}

TEST(Device, SaysWhichLimitABufferExceeds) {
  FakeSys fake;
  fake->open = open_null;
  const Device device;
  fake->ioctl = fail_ioctl<EDQUOT>;
  EXPECT_NE(message_of([&] { (void)device.create(4096, DMAWIRE_BIDIRECTIONAL); }).find("max_bytes"),
            std::string::npos);
  fake->ioctl = fail_ioctl<EMFILE>;
  EXPECT_NE(message_of([&] { (void)device.create(4096, DMAWIRE_BIDIRECTIONAL); }).find("ulimit -n"),
            std::string::npos);
  fake->ioctl = fail_ioctl<ENOMEM>;
  EXPECT_NE(
      message_of([&] { (void)device.create(4096, DMAWIRE_BIDIRECTIONAL); }).find("free memory"),
      std::string::npos);
}

TEST(Device, PassesErrorsOfInfoAndQueryOn) {
  FakeSys fake;
  fake->open = open_null;
  const Device device;
  fake->ioctl = fail_ioctl<EXDEV>;
  EXPECT_NE(message_of([&] { (void)device.query(5); }).find("EXDEV"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)device.info(); }).find("EXDEV"), std::string::npos);
}

TEST(Device, NamesNodesByNumber) {
  EXPECT_EQ(Device::node_of(0), Device::default_node);
  EXPECT_EQ(Device::node_of(17), "/dev/dmawire17");
}

TEST(Device, SaysWhyABufferIsNotAttached) {
  FakeSys fake;
  fake->open = open_null;
  const Device device;
  fake->ioctl = fail_ioctl<EBUSY>;
  EXPECT_NE(message_of([&] { (void)device.attach(5); }).find("another program captures"),
            std::string::npos);
  fake->ioctl = fail_ioctl<EOPNOTSUPP>;
  EXPECT_NE(message_of([&] { (void)device.attach(5); }).find("does not capture"),
            std::string::npos);
  fake->ioctl = fail_ioctl<EIO>;
  EXPECT_NE(message_of([&] { (void)device.attach(5); }).find("cannot reach the memory"),
            std::string::npos);
  EXPECT_EQ(device.detach(0).value(), EIO);
  EXPECT_EQ(device.stop().value(), EIO);
}

TEST(Device, AsksForWhatTheHeaderSpecifies) {
  FakeSys fake;
  fake->open = open_null;
  const Device device;
  static dmawire_create asked;
  fake->ioctl = [](int, unsigned long command, void* argument) {
    EXPECT_EQ(command, static_cast<unsigned long>(DMAWIRE_IOC_CREATE));
    auto* request = static_cast<dmawire_create*>(argument);
    asked = *request;
    request->out_length = 8192;
    request->out_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    return 0;
  };
  const Buffer buffer = device.create(5000, DMAWIRE_FROM_DEVICE);
  EXPECT_EQ(asked.size, sizeof(asked));
  EXPECT_EQ(asked.length, 5000U);
  EXPECT_EQ(asked.direction, static_cast<unsigned>(DMAWIRE_FROM_DEVICE));
  EXPECT_EQ(asked.node, -1);
  EXPECT_EQ(asked.fd_flags, static_cast<unsigned>(O_RDWR | O_CLOEXEC));
  EXPECT_EQ(asked.flags + asked.reserved, 0U);
  EXPECT_EQ(buffer.length(), 8192U);
  EXPECT_EQ(buffer.kind(), Buffer::Kind::dma_buf);

  (void)device.create(5000, DMAWIRE_FROM_DEVICE, DMAWIRE_CREATE_FOLIOS_64K);
  EXPECT_EQ(asked.flags, unsigned{DMAWIRE_CREATE_FOLIOS_64K});

  EXPECT_EQ(buffer.pages(), Buffer::Pages::pinned);

  const Buffer memfd = Buffer::memfd(8192);
  EXPECT_EQ(device.create_from(memfd, DMAWIRE_FROM_DEVICE).length(), 8192U);
  EXPECT_EQ(asked.backing, unsigned{DMAWIRE_BACKING_MEMFD});
  EXPECT_EQ(asked.memfd, memfd.fd());
  EXPECT_EQ(asked.start, 0U);
  EXPECT_EQ(::fcntl(memfd.fd(), F_GET_SEALS) & F_SEAL_SHRINK, F_SEAL_SHRINK);

  Mapping memory = Mapping::anonymous(4096);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.bytes().data());
  EXPECT_EQ(device.create_from(std::move(memory), DMAWIRE_TO_DEVICE).length(), 4096U);
  EXPECT_EQ(asked.backing, unsigned{DMAWIRE_BACKING_USER});
  EXPECT_EQ(asked.start, address);
  EXPECT_EQ(asked.length, 4096U);
  EXPECT_EQ(asked.memfd, 0);
}

TEST(Device, AsksWhatBuffersOfOneSegmentCanBeUsedFor) {
  FakeSys fake;
  fake->open = open_null;
  const Device device;
  static dmawire_create asked;
  static unsigned registering;
  fake->ioctl = [](int, unsigned long command, void* argument) {
    if (command == DMAWIRE_IOC_CREATE) {
      auto* request = static_cast<dmawire_create*>(argument);
      asked = *request;
      request->out_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    } else {
      EXPECT_EQ(command, static_cast<unsigned long>(DMAWIRE_IOC_QUERY));
      static_cast<dmawire_query*>(argument)->out_register = registering;
    }
    return 0;
  };
  const auto create = [&](std::uint32_t flags) {
    return device.create(4096, DMAWIRE_FROM_DEVICE, flags, DMAWIRE_BACKING_CONTIG);
  };
  registering = DMAWIRE_USABLE;
  EXPECT_EQ(create(0).pages(), Buffer::Pages::pinned);
  EXPECT_EQ(asked.backing, unsigned{DMAWIRE_BACKING_CONTIG});
  registering = DMAWIRE_NO_LONGTERM_PIN;
  EXPECT_EQ(create(DMAWIRE_CREATE_CMA).pages(), Buffer::Pages::looked_up);
  EXPECT_EQ(asked.flags, unsigned{DMAWIRE_CREATE_CMA});

  fake->ioctl = fail_ioctl<EOPNOTSUPP>;
  try {
    (void)create(DMAWIRE_CREATE_CMA);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::impossible);
  }
}

}  // namespace
}  // namespace dmawire::test
