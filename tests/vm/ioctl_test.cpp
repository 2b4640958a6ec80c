// SPDX-License-Identifier: MIT
// The arguments that every ioctl accepts and rejects, by the rules at the top of uapi.h.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <thread>
#include <vector>

#include "abi.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "resource_snapshot.hpp"

namespace dmawire::test {
namespace {

/// One ioctl with an argument that it accepts, so that a refusal is due to a test's change.
struct Command {
  const char* name;
  unsigned long number;
  uint32_t first_size;
  std::vector<uint8_t> (*valid)(int dmabuf);
  size_t out_begin;
  size_t out_end;
};

template <typename T>
std::vector<uint8_t> bytes_of(const T& request) {
  const auto* data = reinterpret_cast<const uint8_t*>(&request);
  return {data, data + sizeof(request)};
}

std::vector<uint8_t> valid_info(int) {
  dmawire_info request = {};
  request.size = sizeof(request);
  return bytes_of(request);
}

std::vector<uint8_t> valid_create(int) {
  return bytes_of(create_request(kPage));
}

std::vector<uint8_t> valid_query(int dmabuf) {
  dmawire_query request = {};
  request.size = sizeof(request);
  request.fd = dmabuf;
  return bytes_of(request);
}

/// For the other structs only the beginning counts: the call's own requirements are checked last.
template <typename T>
std::vector<uint8_t> sized(int) {
  T request = {};
  request.size = sizeof(request);
  return bytes_of(request);
}

/// They work whenever they are called.
const Command kAnytime[] = {
    {"Info", DMAWIRE_IOC_INFO, DMAWIRE_INFO_SIZE_V1, valid_info,
     offsetof(dmawire_info, out_backings), sizeof(dmawire_info)},
    {"Create", DMAWIRE_IOC_CREATE, DMAWIRE_CREATE_SIZE_V1, valid_create,
     offsetof(dmawire_create, out_length), offsetof(dmawire_create, reserved)},
    {"Query", DMAWIRE_IOC_QUERY, DMAWIRE_QUERY_SIZE_V1, valid_query,
     offsetof(dmawire_query, out_backing), sizeof(dmawire_query)},
    {"Status", DMAWIRE_IOC_STATUS, DMAWIRE_STATUS_SIZE_V1, sized<dmawire_status>,
     offsetof(dmawire_status, out_captured), sizeof(dmawire_status)},
};

/// They depend on earlier calls (queue_test.cpp).
const Command kInTheirTime[] = {
    {"Attach", DMAWIRE_IOC_ATTACH, DMAWIRE_ATTACH_SIZE_V1, sized<dmawire_attach>, 0, 0},
    {"Detach", DMAWIRE_IOC_DETACH, DMAWIRE_DETACH_SIZE_V1, sized<dmawire_detach>, 0, 0},
    {"Start", DMAWIRE_IOC_START, DMAWIRE_START_SIZE_V1, sized<dmawire_start>, 0, 0},
    {"Stop", DMAWIRE_IOC_STOP, DMAWIRE_STOP_SIZE_V1, sized<dmawire_stop>, 0, 0},
    {"Give", DMAWIRE_IOC_ENQUEUE, DMAWIRE_ENQUEUE_SIZE_V1, sized<dmawire_enqueue>, 0, 0},
    {"Take", DMAWIRE_IOC_DEQUEUE, DMAWIRE_DEQUEUE_SIZE_V1, sized<dmawire_dequeue>, 0, 0},
    {"Sync", DMAWIRE_IOC_SYNC, DMAWIRE_SYNC_SIZE_V1, sized<dmawire_sync>, 0, 0},
};

void set_size(std::vector<uint8_t>& request, size_t size) {
  auto value = static_cast<uint32_t>(size);
  memcpy(request.data(), &value, sizeof(value));
}

class EveryIoctl : public testing::TestWithParam<Command> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(device_.valid()) << strerror(errno);
    request_ = GetParam().valid(buffer_.get());
    descriptors_ = open_descriptors();
  }

  int issue(void* argument) { return call(device_.get(), GetParam().number, argument); }
  int issue() { return issue(request_.data()); }

  /// To be called where CREATE may have succeeded.
  void close_created() {
    if (GetParam().number != DMAWIRE_IOC_CREATE)
      return;
    int fd = -1;
    memcpy(&fd, request_.data() + offsetof(dmawire_create, out_fd), sizeof(fd));
    EXPECT_EQ(close(fd), 0);
  }

  void expect_refused(int error) {
    std::vector<uint8_t> before = request_;
    EXPECT_EQ(issue(), error);
    EXPECT_EQ(request_, before) << "a refused ioctl wrote to its struct";
    EXPECT_EQ(open_descriptors(), descriptors_);
  }

  UniqueFd device_ = open_device();
  UniqueFd buffer_ = create_buffer(device_.get(), kPage);
  std::vector<uint8_t> request_;
  size_t descriptors_ = 0;
};

TEST_P(EveryIoctl, SizeOfTheFirstVersionIsWhatTheHeaderSays) {
  EXPECT_EQ(request_.size(), GetParam().first_size) << "none has been released and has grown since";
}

class AnytimeIoctl : public EveryIoctl {};

TEST_P(AnytimeIoctl, TakesTheFirstVersion) {
  const size_t first = GetParam().first_size;
  set_size(request_, first);
  std::fill(request_.begin() + static_cast<ptrdiff_t>(first), request_.end(), uint8_t{0xab});
  EXPECT_EQ(issue(), 0);
  EXPECT_TRUE(std::all_of(request_.begin() + static_cast<ptrdiff_t>(first), request_.end(),
                          [](uint8_t byte) { return byte == 0xab; }));
  close_created();
}

TEST_P(EveryIoctl, RejectsShorterStructsWithEinval) {
  const size_t first = GetParam().first_size;
  for (size_t size : {size_t{0}, size_t{4}, first - 4, first - 1}) {
    SCOPED_TRACE(size);
    set_size(request_, size);
    expect_refused(EINVAL);
  }
}

TEST_P(AnytimeIoctl, TakesLongerStructsThatAreZeroBeyond) {
  for (size_t size : {request_.size() + 1, request_.size() + 8, kPage}) {
    SCOPED_TRACE(size);
    request_ = GetParam().valid(buffer_.get());
    request_.resize(size);
    set_size(request_, size);
    EXPECT_EQ(issue(), 0);
    close_created();
  }
}

TEST_P(EveryIoctl, RejectsLongerStructsThatAreNotZeroBeyondWithE2big) {
  size_t known = request_.size();
  for (size_t at : {known, known + 7, kPage - 1}) {
    SCOPED_TRACE(at);
    request_ = GetParam().valid(buffer_.get());
    request_.resize(kPage);
    set_size(request_, kPage);
    request_[at] = 1;
    expect_refused(E2BIG);
  }
}

TEST_P(EveryIoctl, RejectsStructsLongerThanAPageWithE2big) {
  for (size_t size : {kPage + 1, size_t{UINT32_MAX}}) {
    SCOPED_TRACE(size);
    set_size(request_, size);
    expect_refused(E2BIG);
  }
}

TEST_P(EveryIoctl, RejectsUnknownFlagsWithEinval) {
  uint32_t known = GetParam().number == DMAWIRE_IOC_CREATE ? DMAWIRE_CREATE_FOLIOS_64K : 0;
  if (GetParam().number == DMAWIRE_IOC_SYNC)
    known = DMAWIRE_SYNC_RW | DMAWIRE_SYNC_END;
  for (uint32_t flags : {known + 1, 1u << 31, UINT32_MAX}) {
    SCOPED_TRACE(flags);
    memcpy(request_.data() + offsetof(dmawire_info, flags), &flags, sizeof(flags));
    expect_refused(EINVAL);
  }
}

TEST_P(EveryIoctl, RejectsBadPointersWithEfault) {
  EXPECT_EQ(issue(nullptr), EFAULT);
  EXPECT_EQ(issue(reinterpret_cast<void*>(16)), EFAULT);
  EXPECT_EQ(issue(reinterpret_cast<void*>(UINTPTR_MAX - 4)), EFAULT);
  EXPECT_EQ(open_descriptors(), descriptors_);
}

TEST_P(EveryIoctl, RejectsAStructThatEndsOutsideMemoryWithEfault) {
  Mapped memory(-1, 2 * kPage, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  ASSERT_EQ(munmap(memory.bytes().data() + kPage, kPage), 0);
  for (size_t inside : {size_t{4}, request_.size() - 4, request_.size() - 1}) {
    SCOPED_TRACE(inside);
    uint8_t* at = memory.bytes().data() + kPage - inside;
    memcpy(at, request_.data(), inside);
    EXPECT_EQ(issue(at), EFAULT);
    EXPECT_EQ(open_descriptors(), descriptors_);
  }
}

TEST_P(AnytimeIoctl, LeavesNothingBehindIfItsResultCannotBeWritten) {
  Mapped memory(-1, kPage, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  memcpy(memory.data(), request_.data(), request_.size());
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  dmawire_info before = info(device_.get());
  EXPECT_EQ(issue(memory.data()), EFAULT);
  EXPECT_EQ(open_descriptors(), descriptors_);
  EXPECT_EQ(info(device_.get()).out_buffers, before.out_buffers);
  EXPECT_EQ(info(device_.get()).out_bytes, before.out_bytes);
}

TEST_P(AnytimeIoctl, WritesNothingButItsOutFields) {
  request_.resize(kPage);
  set_size(request_, kPage);
  std::vector<uint8_t> before = request_;
  ASSERT_EQ(issue(), 0);
  for (size_t i = 0; i < request_.size(); ++i) {
    if (i >= GetParam().out_begin && i < GetParam().out_end)
      continue;
    EXPECT_EQ(request_[i], before[i]) << "byte " << i;
  }
  close_created();
}

const auto command_name = [](const auto& instance) { return std::string(instance.param.name); };
INSTANTIATE_TEST_SUITE_P(Anytime, EveryIoctl, testing::ValuesIn(kAnytime), command_name);
INSTANTIATE_TEST_SUITE_P(InTheirTime, EveryIoctl, testing::ValuesIn(kInTheirTime), command_name);
INSTANTIATE_TEST_SUITE_P(Abi, AnytimeIoctl, testing::ValuesIn(kAnytime), command_name);

TEST(Ioctl, RejectsUnknownCommandsWithEnotty) {
  UniqueFd device = open_device();
  dmawire_info request = {};
  request.size = sizeof(request);
  for (unsigned long command :
       {0ul, _IO(DMAWIRE_IOC_MAGIC, 0x0b) + 0ul, _IO(DMAWIRE_IOC_MAGIC, 0xff) + 0ul,
        _IO(0xdb, 0x00) + 0ul, _IOWR(DMAWIRE_IOC_MAGIC, 0x00, dmawire_info) + 0ul}) {
    SCOPED_TRACE(command);
    EXPECT_EQ(call(device.get(), command, &request), ENOTTY);
  }
}

TEST(Ioctl, DeviceNodeBelongsToRootAndItsGroup) {
  struct stat status = {};
  ASSERT_EQ(stat("/dev/dmawire0", &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0660u);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
}

TEST(Ioctl, AnyThreadMayCallAnyIoctlOnOneDescriptor) {
  UniqueFd device = open_device();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        UniqueFd buffer =
            create_buffer(device.get(), kPage * static_cast<size_t>(1 + (i + round) % 40));
        EXPECT_GE(info(device.get()).out_open_buffers, 1u);
        EXPECT_GE(query(buffer.get()).out_segments, 1u);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(info(device.get()).out_open_buffers, 0u);
}

TEST(IoctlInfo, CountsBuffersOfThisFileAndOfTheModule) {
  UniqueFd device = open_device();
  UniqueFd other = open_device();
  dmawire_info before = info(device.get());
  UniqueFd first = create_buffer(device.get(), 1);
  UniqueFd second = create_buffer(device.get(), kMiB);
  UniqueFd foreign = create_buffer(other.get(), 3 * kPage);

  dmawire_info after = info(device.get());
  EXPECT_EQ(after.out_open_buffers, 2u);
  EXPECT_EQ(after.out_open_bytes, kPage + kMiB);
  EXPECT_EQ(after.out_buffers, before.out_buffers + 3);
  EXPECT_EQ(after.out_bytes, before.out_bytes + kPage + kMiB + 3 * kPage);
  EXPECT_EQ(info(other.get()).out_open_buffers, 1u);

  second.reset();
  EXPECT_EQ(info(device.get()).out_open_bytes, kPage);
  EXPECT_EQ(after.out_backings, 1u << DMAWIRE_BACKING_PAGES | 1u << DMAWIRE_BACKING_MEMFD |
                                    1u << DMAWIRE_BACKING_USER | 1u << DMAWIRE_BACKING_CONTIG);
  EXPECT_EQ(after.out_reserved, 0u);
}

TEST(IoctlInfo, LimitIsHalfOfRamUnlessSaidOtherwise) {
  uint64_t half = meminfo("MemTotal") / 2;
  dmawire_info now = module_info();
  EXPECT_EQ(now.out_max_bytes / kMiB, half / kMiB);
  EXPECT_EQ(now.out_open_max_bytes, now.out_max_bytes);
  ModuleParameter all("max_bytes", 8 * kMiB);
  EXPECT_EQ(module_info().out_open_max_bytes, 8 * kMiB);
  ModuleParameter each("max_bytes_per_open", kMiB);
  EXPECT_EQ(module_info().out_max_bytes, 8 * kMiB);
  EXPECT_EQ(module_info().out_open_max_bytes, kMiB);
}

TEST(IoctlCreate, RejectsLengthZeroWithEinval) {
  EXPECT_EQ(try_create(open_device().get(), 0), EINVAL);
}

TEST(IoctlCreate, RejectsLengthsThatCannotBeRoundedUpWithEoverflow) {
  UniqueFd device = open_device();
  EXPECT_EQ(try_create(device.get(), UINT64_MAX), EOVERFLOW);
  EXPECT_EQ(try_create(device.get(), UINT64_MAX - kPage + 2), EOVERFLOW);
  EXPECT_EQ(try_create(device.get(), UINT64_MAX - kPage + 1), EDQUOT);
}

TEST(IoctlCreate, RejectsWhatTheModulesLimitForbidsWithEdquot) {
  UniqueFd device = open_device();
  UniqueFd other = open_device();
  EXPECT_EQ(try_create(device.get(), info(device.get()).out_max_bytes + 1), EDQUOT);
  ModuleParameter limit("max_bytes", 8 * kPage);
  UniqueFd first = create_buffer(other.get(), 5 * kPage);
  EXPECT_EQ(try_create(device.get(), 3 * kPage + 1), EDQUOT);
  EXPECT_EQ(try_create(device.get(), 3 * kPage), 0);
}

TEST(IoctlCreate, RejectsWhatThisFilesLimitForbidsWithEdquot) {
  ModuleParameter limit("max_bytes_per_open", 8 * kPage);
  UniqueFd device = open_device();
  UniqueFd other = open_device();
  UniqueFd first = create_buffer(device.get(), 8 * kPage);
  EXPECT_EQ(try_create(device.get(), 1), EDQUOT);
  EXPECT_EQ(try_create(other.get(), 8 * kPage), 0);
  first.reset();
  EXPECT_EQ(try_create(device.get(), 8 * kPage), 0);
}

TEST(IoctlCreate, ALimitBelowWhatIsInUseRefusesMoreAndTakesNothingAway) {
  UniqueFd device = open_device();
  UniqueFd first = create_buffer(device.get(), kMiB);
  ModuleParameter limit("max_bytes", kPage);
  EXPECT_EQ(try_create(device.get(), 1), EDQUOT);
  EXPECT_EQ(query(first.get()).out_length, kMiB);
}

TEST(IoctlCreate, RejectsFieldsItDoesNotKnowWithEinval) {
  struct {
    const char* what;
    void (*spoil)(dmawire_create&);
  } const cases[] = {
      {"reserved", [](dmawire_create& r) { r.reserved = 1; }},
      {"reserved2", [](dmawire_create& r) { r.reserved2 = 1; }},
      {"start", [](dmawire_create& r) { r.start = kPage; }},
      {"memfd", [](dmawire_create& r) { r.memfd = 1; }},
      {"no memfd", [](dmawire_create& r) { r.memfd = -1; }},
      {"backing", [](dmawire_create& r) { r.backing = 5; }},
      {"huge backing", [](dmawire_create& r) { r.backing = UINT32_MAX; }},
      {"direction", [](dmawire_create& r) { r.direction = 3; }},
      {"huge direction", [](dmawire_create& r) { r.direction = UINT32_MAX; }},
      {"node -2", [](dmawire_create& r) { r.node = -2; }},
      {"node beyond the last", [](dmawire_create& r) { r.node = 1023; }},
      {"node beyond any", [](dmawire_create& r) { r.node = INT_MAX; }},
      {"node INT_MIN", [](dmawire_create& r) { r.node = INT_MIN; }},
      {"write-only", [](dmawire_create& r) { r.fd_flags = O_WRONLY; }},
      {"access mode 3", [](dmawire_create& r) { r.fd_flags = O_ACCMODE; }},
      {"O_NONBLOCK", [](dmawire_create& r) { r.fd_flags = O_RDWR | O_NONBLOCK; }},
      {"all fd_flags", [](dmawire_create& r) { r.fd_flags = UINT32_MAX; }},
  };
  UniqueFd device = open_device();
  for (const auto& test : cases) {
    dmawire_create request = create_request(kPage);
    test.spoil(request);
    EXPECT_EQ(call(device.get(), DMAWIRE_IOC_CREATE, &request), EINVAL) << test.what;
  }
  EXPECT_EQ(info(device.get()).out_open_buffers, 0u);
}

TEST(IoctlCreate, GivesTheDescriptorTheFlagsAskedFor) {
  UniqueFd device = open_device();
  struct {
    uint32_t asked;
    int descriptor;
    int access;
  } const cases[] = {
      {O_RDWR, 0, O_RDWR},
      {O_RDWR | O_CLOEXEC, FD_CLOEXEC, O_RDWR},
      {O_RDONLY, 0, O_RDONLY},
      {O_RDONLY | O_CLOEXEC, FD_CLOEXEC, O_RDONLY},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.asked);
    UniqueFd buffer = create_buffer(device.get(), kPage, test.asked);
    EXPECT_EQ(fcntl(buffer.get(), F_GETFD), test.descriptor);
    EXPECT_EQ(fcntl(buffer.get(), F_GETFL) & O_ACCMODE, test.access);
  }
}

TEST(IoctlCreate, FailsWithEmfileWithoutAFreeDescriptor) {
  UniqueFd device = open_device();
  rlimit before = {};
  getrlimit(RLIMIT_NOFILE, &before);
  int next = dup(device.get());
  close(next);
  rlimit none_left = {static_cast<rlim_t>(next), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none_left), 0);
  int error = try_create(device.get(), kMiB);
  dmawire_info after = info(device.get());
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(error, EMFILE);
  EXPECT_EQ(after.out_open_buffers, 0u);
}

int try_query(int fd) {
  dmawire_query request = {};
  request.size = sizeof(request);
  request.fd = fd;
  return call(open_device().get(), DMAWIRE_IOC_QUERY, &request);
}

TEST(IoctlQuery, RejectsDescriptorsThatAreNotOpenWithEbadf) {
  for (int fd : {-1, 1'000'000, INT_MAX, INT_MIN})
    EXPECT_EQ(try_query(fd), EBADF) << fd;
}

TEST(IoctlQuery, RejectsWhatIsNoDmaBufWithEinval) {
  UniqueFd device = open_device();
  EXPECT_EQ(try_query(device.get()), EINVAL);
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(try_query(null.get()), EINVAL);
}

TEST(IoctlQuery, RejectsDmaBufsOfOthersWithExdev) {
  load_kernel_module("udmabuf");  // fails where it is built in
  if (access("/dev/udmabuf", R_OK | W_OK) != 0)
    GTEST_SKIP() << "this kernel has no /dev/udmabuf to get a foreign dma-buf from";
  UniqueFd memory(memfd_create("foreign", MFD_ALLOW_SEALING | MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(memory.get(), kMiB), 0);
  ASSERT_EQ(fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  UniqueFd exporter(open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
  udmabuf_create request = {};
  request.memfd = static_cast<uint32_t>(memory.get());
  request.flags = UDMABUF_FLAGS_CLOEXEC;
  request.size = kMiB;
  UniqueFd foreign(ioctl(exporter.get(), UDMABUF_CREATE, &request));
  ASSERT_TRUE(foreign.valid()) << strerror(errno);
  EXPECT_EQ(try_query(foreign.get()), EXDEV);
}

TEST(IoctlQuery, TellsWhatWasAskedFor) {
  UniqueFd device = open_device();
  for (uint32_t direction : {DMAWIRE_BIDIRECTIONAL, DMAWIRE_TO_DEVICE, DMAWIRE_FROM_DEVICE}) {
    for (int node : {-1, 0}) {
      dmawire_create request = create_request(kPage + 1);
      request.direction = direction;
      request.node = node;
      ASSERT_EQ(call(device.get(), DMAWIRE_IOC_CREATE, &request), 0);
      UniqueFd buffer(request.out_fd);
      EXPECT_EQ(request.out_length, 2 * kPage);
      dmawire_query answer = query(buffer.get());
      EXPECT_EQ(answer.out_backing, uint32_t{DMAWIRE_BACKING_PAGES});
      EXPECT_EQ(answer.out_direction, direction);
      EXPECT_EQ(answer.out_node, node);
      EXPECT_EQ(answer.out_length, 2 * kPage);
    }
  }
}

TEST(IoctlQuery, WorksThroughADuplicateAndOnAnyOpenFile) {
  UniqueFd buffer = create_buffer(open_device().get(), kPage);
  UniqueFd duplicate(dup(buffer.get()));
  buffer.reset();
  EXPECT_EQ(query(duplicate.get()).out_length, kPage);
}

TEST(IoctlQuery, AReadOnlyDescriptorForbidsWhatNeedsAWritableMapping) {
  UniqueFd device = open_device();
  UniqueFd writable = create_buffer(device.get(), kPage);
  UniqueFd read_only = create_buffer(device.get(), kPage, O_RDONLY | O_CLOEXEC);
  for (const UniqueFd* buffer : {&writable, &read_only}) {
    dmawire_query answer = query(buffer->get());
    uint32_t expected = buffer == &writable ? DMAWIRE_USABLE : DMAWIRE_READ_ONLY;
    EXPECT_EQ(answer.out_mmap, uint32_t{DMAWIRE_USABLE});
    EXPECT_EQ(answer.out_send, uint32_t{DMAWIRE_USABLE});
    EXPECT_EQ(answer.out_register, expected);
    EXPECT_EQ(answer.out_odirect_write, uint32_t{DMAWIRE_USABLE});
    EXPECT_EQ(answer.out_odirect_read, expected);
  }
}

dmawire_sync sync_request(int dmabuf) {
  return {.size = sizeof(dmawire_sync), .flags = DMAWIRE_SYNC_RW, .fd = dmabuf};
}

TEST(IoctlSync, TakesAnyPartOfABuffer) {
  const UniqueFd device = open_device();
  const UniqueFd buffer = create_buffer(device.get(), 4 * kPage);
  for (uint32_t access : {DMAWIRE_SYNC_READ, DMAWIRE_SYNC_WRITE, DMAWIRE_SYNC_RW}) {
    for (uint32_t phase : {0, DMAWIRE_SYNC_END}) {
      for (uint64_t offset : {uint64_t{0}, uint64_t{1}, uint64_t{kPage}, 4 * kPage - 1}) {
        for (uint64_t length : {uint64_t{0}, uint64_t{1}, 4 * kPage - offset}) {
          dmawire_sync request = sync_request(buffer.get());
          request.flags = access | phase;
          request.offset = offset;
          request.length = length;
          EXPECT_EQ(call(device.get(), DMAWIRE_IOC_SYNC, &request), 0) << offset << " " << length;
        }
      }
    }
  }
}

TEST(IoctlSync, RejectsWhatIsNoPartOfTheBufferWithEinval) {
  const UniqueFd device = open_device();
  const UniqueFd buffer = create_buffer(device.get(), 4 * kPage);
  const struct {
    uint64_t offset;
    uint64_t length;
  } cases[] = {{4 * kPage, 0},      {4 * kPage, 1},  {0, 4 * kPage + 1},
               {1, 4 * kPage},      {UINT64_MAX, 0}, {UINT64_MAX, 1},
               {kPage, UINT64_MAX}, {0, UINT64_MAX}, {UINT64_MAX - kPage + 1, 2 * kPage}};
  for (const auto& test : cases) {
    dmawire_sync request = sync_request(buffer.get());
    request.offset = test.offset;
    request.length = test.length;
    EXPECT_EQ(call(device.get(), DMAWIRE_IOC_SYNC, &request), EINVAL)
        << test.offset << " " << test.length;
  }
}

TEST(IoctlSync, RejectsWhatItCannotSync) {
  const UniqueFd device = open_device();
  const UniqueFd buffer = create_buffer(device.get(), kPage);
  dmawire_sync request = sync_request(buffer.get());
  request.flags = DMAWIRE_SYNC_END;
  EXPECT_EQ(call(device.get(), DMAWIRE_IOC_SYNC, &request), EINVAL) << "no access named";
  request = sync_request(buffer.get());
  request.reserved = 1;
  EXPECT_EQ(call(device.get(), DMAWIRE_IOC_SYNC, &request), EINVAL);
  request = sync_request(-1);
  EXPECT_EQ(call(device.get(), DMAWIRE_IOC_SYNC, &request), EBADF);
  request = sync_request(device.get());
  EXPECT_EQ(call(device.get(), DMAWIRE_IOC_SYNC, &request), EINVAL);
}

}  // namespace
}  // namespace dmawire::test
