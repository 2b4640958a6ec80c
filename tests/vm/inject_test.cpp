// SPDX-License-Identifier: MIT
// Every failure, systematically: each call is repeated with its first, second, third ... allocation
// or copy failing, until there is none left to fail.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>

#include "../support/abi.hpp"
#include "../support/capture_queue.hpp"
#include "../support/capturing.hpp"
#include "../support/edu_card.hpp"
#include "../support/fault_injection.hpp"
#include "../support/given_memory.hpp"
#include "../support/guest.hpp"
#include "../support/holdings.hpp"
#include "../support/loopback.hpp"
#include "../support/mapped.hpp"
#include "../support/slot_ring.hpp"
#include "../support/vgem.hpp"

namespace dmawire::test {
namespace {

constexpr unsigned kMostPoints = 1000;

/// A call and what stands around it. Only `call` runs while something is to fail, so it does one
/// thing and takes no memory of its own.
struct Attempt {
  std::function<void()> prepare;
  std::function<int()> call;        ///< its errno, or 0
  std::function<void(int)> settle;  ///< checks what that left behind, and takes it away
};

class Inject : public testing::Test {
 protected:
  void SetUp() override {
    if (!faults_.missing().empty()) {
      ASSERT_FALSE(kernel_watches()) << "machine debug is made for this: " << faults_.missing();
      GTEST_SKIP() << faults_.missing();
    }
  }

  /// Every failure of @p attempt must be one of @p errors and leave nothing behind.
  void sweep(const std::string& name, std::initializer_list<int> errors, const Attempt& attempt) {
    const Holdings first = Holdings::now();
    expect_works(attempt);  // and takes what is taken only once
    const Holdings before = first.settled();
    unsigned points = 0;
    // What the slabs and the CPUs have in stock differs from time to time, and so do the places.
    for (unsigned nth = 1, missed = 0; missed < 3; ++nth) {
      SCOPED_TRACE(name + ", failing number " + std::to_string(nth));
      ASSERT_LT(nth, kMostPoints);
      const bool failed = inject(nth, errors, attempt);
      points += failed ? 1 : 0;
      missed = failed ? 0 : missed + 1;
      ASSERT_EQ(before.settled(), before);
      expect_works(attempt);
      ASSERT_EQ(before.settled(), before) << "after it worked again";
    }
    EXPECT_GT(points, 0U) << name << ": nothing failed";
    printf("fail-nth: %s: %u points\n", name.c_str(), points);
    fflush(stdout);
    RecordProperty("points", static_cast<int>(points));
  }

  UniqueFd device_ = open_device();

 private:
  bool inject(unsigned nth, std::initializer_list<int> errors, const Attempt& attempt) {
    int error = 0;
    attempt.prepare();
    const bool failed = faults_.fail_nth(nth, [&] { error = attempt.call(); });
    if (error != 0) {
      EXPECT_TRUE(failed) << strerrorname_np(error) << " though nothing was made to fail";
      EXPECT_NE(std::ranges::find(errors, error), errors.end()) << strerrorname_np(error);
    }
    attempt.settle(error);
    return failed;
  }

  static void expect_works(const Attempt& attempt) {
    attempt.prepare();
    const int error = attempt.call();
    EXPECT_EQ(error, 0) << strerror(error);
    attempt.settle(error);
  }

  FaultInjection faults_;
};

void nothing() {}

TEST_F(Inject, OpeningTheDevice) {
  int fd = -1;
  sweep("open", {ENOMEM, EFAULT},
        {.prepare = nothing,
         .call =
             [&] {
               fd = ::open("/dev/dmawire0", O_RDWR | O_CLOEXEC);
               return fd < 0 ? errno : 0;
             },
         .settle =
             [&](int) {
               if (fd >= 0)
                 close(fd);
             }});
}

TEST_F(Inject, Info) {
  dmawire_info request = {};
  sweep("INFO", {EFAULT},
        {.prepare = [&] { request = {.size = sizeof(request)}; },
         .call = [&] { return call(device_.get(), DMAWIRE_IOC_INFO, &request); },
         .settle = [](int) {}});
}

TEST_F(Inject, Query) {
  const UniqueFd buffer = create_buffer(device_.get(), kMiB);
  dmawire_query request = {};
  sweep("QUERY", {EFAULT},
        {.prepare = [&] { request = {.size = sizeof(request), .fd = buffer.get()}; },
         .call = [&] { return call(device_.get(), DMAWIRE_IOC_QUERY, &request); },
         .settle = [](int) {}});
}

struct Creation {
  const char* name;
  uint64_t length;
  uint32_t flags;
  uint32_t fd_flags;
  uint32_t backing = DMAWIRE_BACKING_PAGES;
};

class InjectCreate : public Inject, public testing::WithParamInterface<Creation> {
 protected:
  Attempt creation() {
    return {.prepare =
                [this] {
                  request_ = create_request(GetParam().length);
                  request_.flags = GetParam().flags;
                  request_.fd_flags = GetParam().fd_flags;
                  request_.backing = GetParam().backing;
                },
            .call = [this] { return call(device_.get(), DMAWIRE_IOC_CREATE, &request_); },
            .settle =
                [this](int error) {
                  if (error == 0)
                    close(request_.out_fd);
                }};
  }

  dmawire_create request_ = {};
};

TEST_P(InjectCreate, LeavesNothing) {
  sweep("CREATE (" + std::string(GetParam().name) + ")", {ENOMEM, EFAULT}, creation());
}

// The odd length takes blocks of many sizes, the last of them a single page, and an array of pages
// that need not be one block itself.
INSTANTIATE_TEST_SUITE_P(
    Every, InjectCreate,
    testing::Values(Creation{"Page", kPage, 0, O_RDWR | O_CLOEXEC},
                    Creation{"Pages", 2 * kMiB + 37 * kPage, 0, O_RDWR | O_CLOEXEC},
                    Creation{"Folios", 8 * kFolio, DMAWIRE_CREATE_FOLIOS_64K, O_RDWR | O_CLOEXEC},
                    Creation{"ReadOnly", 16 * kPage, 0, O_RDONLY},
                    Creation{"Contig", kMiB + kPage, 0, O_RDWR | O_CLOEXEC,
                             DMAWIRE_BACKING_CONTIG}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST_F(Inject, CreatingCoherentMemory) {
  const EduCard card;
  if (!card.present())
    GTEST_SKIP() << "this machine has no device for it";
  const DriverModule driver("dmawire_edu", EduCard::driver_parameters());
  const UniqueFd device = open_driver("edu");
  dmawire_create request = {};
  sweep("CREATE (coherent)", {ENOMEM, EFAULT},
        {.prepare =
             [&] {
               request = create_request(40 * kPage);
               request.backing = DMAWIRE_BACKING_COHERENT;
             },
         .call = [&] { return call(device.get(), DMAWIRE_IOC_CREATE, &request); },
         .settle =
             [&](int error) {
               if (error == 0)
                 close(request.out_fd);
             }});
}

TEST_F(Inject, CreatingABufferOfAMemfd) {
  UniqueFd memfd;
  dmawire_create request = {};
  sweep("CREATE (memfd)", {ENOMEM, EFAULT},
        {.prepare =
             [&] {
               memfd = make_memfd(40 * kPage);
               request = memfd_request(memfd.get(), kPage, 39 * kPage);
             },
         .call = [&] { return call(device_.get(), DMAWIRE_IOC_CREATE, &request); },
         .settle =
             [&](int error) {
               if (error == 0)
                 close(request.out_fd);
               memfd.reset();
             }});
}

TEST_F(Inject, MappingABufferOfAMemfd) {
  const UniqueFd memfd = make_memfd(4 * kMiB);
  const UniqueFd buffer = create(device_.get(), memfd_request(memfd.get(), 0, 4 * kMiB));
  void* data = MAP_FAILED;
  sweep("mmap (memfd)", {ENOMEM},
        {.prepare = nothing,
         .call =
             [&] {
               data = mmap(nullptr, 4 * kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.get(), 0);
               return data == MAP_FAILED ? errno : 0;
             },
         .settle =
             [&](int error) {
               if (error == 0)
                 munmap(data, 4 * kMiB);
             }});
}

TEST_F(Inject, CreatingABufferOfUserMemory) {
  std::optional<Anonymous> memory;
  dmawire_create request = {};
  sweep("CREATE (user)", {ENOMEM, EFAULT},
        {.prepare =
             [&] {
               memory.emplace(4 * kMiB);
               request = user_request(memory->data() + 2 * kMiB - 100, 30 * kPage);
             },
         .call = [&] { return call(device_.get(), DMAWIRE_IOC_CREATE, &request); },
         .settle =
             [&](int error) {
               if (error == 0)
                 close(request.out_fd);
               memory.reset();
             }});
}

TEST_F(Inject, MappingABuffer) {
  const UniqueFd buffer = create_buffer(device_.get(), 4 * kMiB);
  void* data = MAP_FAILED;
  sweep("mmap", {ENOMEM},
        {.prepare = nothing,
         .call =
             [&] {
               data = mmap(nullptr, 4 * kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.get(), 0);
               return data == MAP_FAILED ? errno : 0;
             },
         .settle =
             [&](int error) {
               if (error == 0)
                 munmap(data, 4 * kMiB);
             }});
}

/// A mapping that has no page table yet, whatever is mapped next to it.
class FreshMapping {
 public:
  static constexpr size_t length = 4 * kMiB;  // holds a range that one page table covers

  explicit FreshMapping(int dmabuf) : mapping_(dmabuf, length) { EXPECT_EQ(mapping_.error(), 0); }
  [[nodiscard]] uint8_t* middle() const { return mapping_.bytes().data() + length / 2; }

 private:
  Mapped mapping_;
};

TEST_F(Inject, TheFirstTouchOfAMappingSucceedsInTheEnd) {
  const UniqueFd buffer = create_buffer(device_.get(), FreshMapping::length);
  std::optional<FreshMapping> mapping;
  sweep("first touch", {},
        {.prepare = [&] { mapping.emplace(buffer.get()); },
         .call =
             [&] {
               *const_cast<volatile uint8_t*>(mapping->middle()) = 1;
               return 0;
             },
         .settle = [&](int) { mapping.reset(); }});
}

TEST_F(Inject, ASystemCallThatTouchesAMappingFirst) {
  const UniqueFd buffer = create_buffer(device_.get(), FreshMapping::length);
  const UniqueFd zeros{open("/dev/zero", O_RDONLY | O_CLOEXEC)};
  std::optional<FreshMapping> mapping;
  sweep("read() into a mapping", {EFAULT},
        {.prepare = [&] { mapping.emplace(buffer.get()); },
         .call =
             [&] {
               return read(zeros.get(), mapping->middle(), kPage) == ssize_t{kPage} ? 0 : errno;
             },
         .settle = [&](int) { mapping.reset(); }});
}

TEST_F(Inject, Sync) {
  const UniqueFd buffer = create_buffer(device_.get(), kMiB);
  dma_buf_sync request = {};
  for (const uint64_t phase : {DMA_BUF_SYNC_START, DMA_BUF_SYNC_END}) {
    sweep(phase == DMA_BUF_SYNC_START ? "SYNC (start)" : "SYNC (end)", {EFAULT},
          {.prepare = [&] { request.flags = phase | DMA_BUF_SYNC_RW; },
           .call = [&] { return call(buffer.get(), DMA_BUF_IOCTL_SYNC, &request); },
           .settle = [](int) {}});
  }
}

TEST_F(Inject, SyncOfAPart) {
  const UniqueFd buffer = create_buffer(device_.get(), kMiB);
  dmawire_sync request = {};
  sweep("SYNC (part)", {EFAULT},
        {.prepare =
             [&] {
               request = {.size = sizeof(request),
                          .flags = DMAWIRE_SYNC_RW,
                          .fd = buffer.get(),
                          .reserved = 0,
                          .offset = kPage,
                          .length = kPage};
             },
         .call = [&] { return call(device_.get(), DMAWIRE_IOC_SYNC, &request); },
         .settle = [](int) {}});
}

TEST_F(Inject, AttachingToADevice) {
  const std::string vgem = vgem_path();
  if (vgem.empty())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  UniqueFd card;
  UniqueFd buffer;
  drm_prime_handle request = {};
  sweep("attach (vgem)", {ENOMEM, EFAULT},
        {.prepare =
             [&] {
               card.reset(open(vgem.c_str(), O_RDWR | O_CLOEXEC));
               buffer = create_buffer(device_.get(), kMiB + kPage);
               request = {.handle = 0, .flags = 0, .fd = buffer.get()};
             },
         .call = [&] { return call(card.get(), DRM_IOCTL_PRIME_FD_TO_HANDLE, &request); },
         // A handle that could not be told to the caller ends with the card's file.
         .settle =
             [&](int) {
               buffer.reset();
               card.reset();
             }});
}

TEST_F(Inject, RegisteringAMappingByAddress) {
  const UniqueFd buffer = create_buffer(device_.get(), FreshMapping::length);
  std::optional<FreshMapping> mapping;
  std::optional<SlotRing> ring;
  iovec range = {};
  sweep("io_uring_register_buffers()", {ENOMEM, EFAULT},
        {.prepare =
             [&] {
               mapping.emplace(buffer.get());
               ring.emplace();
               range = {mapping->middle(), FreshMapping::length / 2};
             },
         .call = [&] { return -io_uring_register_buffers(ring->get(), &range, 1); },
         .settle =
             [&](int error) {
               EXPECT_EQ(io_uring_unregister_buffers(ring->get()), error == 0 ? 0 : -ENXIO);
               ring.reset();
               mapping.reset();
             }});
}

/// The calls of a capture, with a dma-buf that takes a hundred frames.
class InjectCapture : public Inject {
 protected:
  static constexpr uint32_t frame = 16 * kPage;

  void make_attached() { ASSERT_EQ(queue_.attach(buffer_.get(), &index_), 0); }
  int give() { return queue_.give(index_, 0, frame); }
  /// What is given comes back, once; then the queue is as it was.
  void take_back(bool given) {
    EXPECT_EQ(queue_.stop(), 0);
    dmawire_take taken;
    EXPECT_EQ(queue_.take(&taken), given ? 0 : ECANCELED);
    EXPECT_EQ(queue_.status().out_given, 0U);
  }
  void detach() { EXPECT_EQ(queue_.detach(index_), 0); }

  CaptureQueue queue_{device_.get()};
  UniqueFd buffer_ = create_buffer(device_.get(), 100 * frame);
  uint32_t index_ = 0;
};

TEST_F(InjectCapture, Attach) {
  sweep("ATTACH", {ENOMEM, EFAULT},
        {.prepare = nothing,
         .call = [&] { return queue_.attach(buffer_.get(), &index_); },
         .settle =
             [&](int error) {
               if (error == 0)
                 detach();
             }});
}

TEST_F(Inject, AttachingForADeviceThatDoesDma) {
  const EduCard card;
  if (!card.present())
    GTEST_SKIP() << "this machine has no such device";
  const DriverModule driver("dmawire_edu", EduCard::driver_parameters());
  const UniqueFd device = open_driver("edu");
  CaptureQueue queue{device.get()};
  const UniqueFd buffer = create_buffer(device.get(), kMiB + kPage);
  uint32_t index = 0;
  sweep("ATTACH (edu)", {ENOMEM, EFAULT},
        {.prepare = nothing,
         .call = [&] { return queue.attach(buffer.get(), &index); },
         .settle =
             [&](int error) {
               if (error == 0)
                 EXPECT_EQ(queue.detach(index), 0);
             }});
}

TEST_F(InjectCapture, Detach) {
  sweep("DETACH", {ENOMEM, EFAULT},
        {.prepare = [&] { make_attached(); },
         .call = [&] { return queue_.detach(index_); },
         .settle =
             [&](int error) {
               if (error != 0)
                 detach();
             }});
}

TEST_F(InjectCapture, Start) {
  sweep("START", {ENOMEM, EFAULT},
        {.prepare = [&] { make_attached(); },
         .call = [&] { return queue_.start(); },
         .settle =
             [&](int error) {
               EXPECT_EQ(queue_.status().out_running, error == 0 ? 1U : 0U);
               take_back(false);
               detach();
             }});
}

TEST_F(InjectCapture, Stop) {
  sweep("STOP", {EFAULT},
        {.prepare =
             [&] {
               make_attached();
               ASSERT_EQ(queue_.start(1), 0);
               ASSERT_EQ(give(), 0);
             },
         .call = [&] { return queue_.stop(); },
         .settle =
             [&](int) {
               take_back(true);
               detach();
             }});
}

TEST_F(InjectCapture, Give) {
  sweep("GIVE", {ENOMEM, EFAULT},
        {.prepare = [&] { make_attached(); },
         .call = [&] { return give(); },
         .settle =
             [&](int error) {
               take_back(error == 0);
               detach();
             }});
}

TEST_F(InjectCapture, Take) {
  dmawire_take taken;
  sweep("TAKE", {EFAULT},
        {.prepare =
             [&] {
               make_attached();
               ASSERT_EQ(give(), 0);
               ASSERT_EQ(queue_.stop(), 0);
             },
         .call = [&] { return queue_.take(&taken); },
         .settle =
             [&](int) {
               (void)queue_.take(&taken);  // where the struct could not be read it is still there
               detach();
             }});
}

TEST_F(InjectCapture, Status) {
  dmawire_status request = {};
  sweep("STATUS", {EFAULT},
        {.prepare = [&] { request = {.size = sizeof(request)}; },
         .call = [&] { return call(device_.get(), DMAWIRE_IOC_STATUS, &request); },
         .settle = [](int) {}});
}

TEST_F(InjectCapture, AsARequestOfIoUring) {
  std::optional<SlotRing> ring;
  dmawire_uring_capture capture;
  bool submitted = false;
  sweep("CAPTURE", {ENOMEM, EFAULT, EAGAIN},
        {.prepare =
             [&] {
               make_attached();
               ring.emplace();
               capture = {.size = sizeof(capture), .index = index_, .length = frame};
               io_uring_sqe* const sqe = io_uring_get_sqe(ring->get());
               io_uring_prep_rw(IORING_OP_URING_CMD, sqe, device_.get(), &capture, 0, 0);
               sqe->cmd_op = DMAWIRE_URING_CMD_CAPTURE;
             },
         .call =
             [&] {
               const int count = io_uring_submit(ring->get());
               submitted = count == 1;
               return submitted ? 0 : count < 0 ? -count : EAGAIN;
             },
         .settle =
             [&](int) {
               if (submitted) {
                 EXPECT_EQ(queue_.stop(), 0);
                 const int result = -ring->next_result();
                 EXPECT_TRUE(result == ECANCELED || result == ENOMEM || result == EFAULT)
                     << strerrorname_np(result);
               }
               EXPECT_EQ(queue_.status().out_given, 0U);
               ring.reset();
               detach();
             }});
}

/// Requests that are put through a ring of their own, so that nothing the ring keeps for later
/// spares them an allocation, with a buffer of their own, so that a reference too many shows. It is
/// in slot 1, or to be put there.
class InjectUring : public Inject {
 protected:
  void SetUp() override {
    Inject::SetUp();
    if (!IsSkipped() && !has_direct())
      GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  }

  void make_ring() {
    ring_.emplace();
    ASSERT_EQ(ring_->make_table(), 0);
    make_buffer();
  }
  /// So long that the list of its pieces need not be one block of memory.
  void make_buffer() { buffer_ = create_buffer(device_.get(), 2 * kMiB); }
  void make_ring_with_full_slot() {
    make_ring();
    ASSERT_EQ(register_slot(), 0);
  }
  /// As if another had filled the slot: the ring has not seen a command yet.
  void make_ring_with_cloned_slot() {
    make_buffer();
    SlotRing source;
    ASSERT_EQ(source.make_table(), 0);
    ASSERT_EQ(source.register_slot(device_.get(), buffer_.get(), 1), 0);
    ring_.emplace();
    ASSERT_EQ(io_uring_clone_buffers(ring_->get(), source.get()), 0);
  }

  void take_down() {
    ring_.reset();
    buffer_.reset();
  }

  void prepare_command(unsigned op, const void* argument) {
    io_uring_sqe* const sqe = io_uring_get_sqe(ring_->get());
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, device_.get(), argument, 0, 0);
    sqe->cmd_op = op;
  }
  /// The errno of the request that was prepared. If io_uring has no memory to take it, that is
  /// io_uring_enter()'s error, and the request still waits.
  int submit() {
    const int submitted = io_uring_submit(ring_->get());
    taken_ = submitted == 1;
    if (!taken_)
      return submitted < 0 ? -submitted : EAGAIN;
    io_uring_cqe* cqe = nullptr;
    if (const int error = -io_uring_wait_cqe(ring_->get(), &cqe))
      return error;
    result_ = cqe->res;
    more_ = (cqe->flags & IORING_CQE_F_MORE) != 0;
    io_uring_cqe_seen(ring_->get(), cqe);
    return result_ < 0 ? -result_ : 0;
  }
  /// What came of the request in the end: one that was not taken is submitted again, and succeeds.
  int outcome_of(int error) {
    if (taken_) {
      EXPECT_NE(error, EAGAIN) << "says the request, not io_uring_enter()";
      return error;
    }
    EXPECT_EQ(submit(), 0);
    return 0;
  }

  int register_slot() { return ring_->register_slot(device_.get(), buffer_.get(), 1); }
  int unregister_slot() {
    const dmawire_uring_unregister argument{.size = sizeof(argument), .slot = 1};
    return ring_->command(device_.get(), DMAWIRE_URING_CMD_UNREGISTER, &argument);
  }

  UniqueFd buffer_;
  std::optional<SlotRing> ring_;
  bool taken_ = false;
  int result_ = 0;
  bool more_ = false;
};

TEST_F(InjectUring, Register) {
  dmawire_uring_register argument = {};
  sweep("REGISTER", {ENOMEM, EFAULT, EAGAIN},
        {.prepare =
             [&] {
               make_ring();
               argument = {.size = sizeof(argument), .fd = buffer_.get(), .slot = 1};
               prepare_command(DMAWIRE_URING_CMD_REGISTER, &argument);
             },
         .call = [&] { return submit(); },
         .settle =
             [&](int error) {
               const bool filled = outcome_of(error) == 0;
               EXPECT_EQ(register_slot(), filled ? EBUSY : 0);
               EXPECT_EQ(unregister_slot(), 0);
               take_down();
             }});
}

TEST_F(InjectUring, Unregister) {
  dmawire_uring_unregister argument = {};
  sweep("UNREGISTER", {ENOMEM, EFAULT, EAGAIN},
        {.prepare =
             [&] {
               make_ring_with_cloned_slot();
               argument = {.size = sizeof(argument), .slot = 1};
               prepare_command(DMAWIRE_URING_CMD_UNREGISTER, &argument);
             },
         .call = [&] { return submit(); },
         .settle =
             [&](int error) {
               const bool emptied = outcome_of(error) == 0;
               EXPECT_EQ(unregister_slot(), emptied ? EINVAL : 0);
               take_down();
             }});
}

TEST_F(InjectUring, SendingFromASlot) {
  constexpr int length = 128 * 1024;
  std::string text;
  std::optional<Loopback> connection;
  sweep("SEND_ZC from a slot", {ENOMEM, EAGAIN},
        {.prepare =
             [&] {
               make_ring_with_full_slot();
               text = fill(Mapped{buffer_.get(), length});
               connection.emplace();
               const int room = 4 * length;  // so that all of it is taken though nobody reads
               ASSERT_EQ(setsockopt(connection->near.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room,
                                    sizeof(room)),
                         0);
               io_uring_prep_send_zc_fixed(io_uring_get_sqe(ring_->get()), connection->near.get(),
                                           nullptr, length, MSG_WAITALL, 0, 1);
             },
         .call = [&] { return submit(); },
         .settle =
             [&](int error) {
               if (outcome_of(error) == 0) {
                 EXPECT_EQ(result_, length);
                 EXPECT_TRUE(receive(connection->far.get(), length) == text);
               } else {
                 char byte = 0;
                 EXPECT_EQ(recv(connection->far.get(), &byte, 1, MSG_DONTWAIT), -1);
               }
               if (more_) {
                 EXPECT_EQ(ring_->next_result(), 0) << "the notification";
               }
               EXPECT_EQ(unregister_slot(), 0);
               connection.reset();
               take_down();
             }});
}

}  // namespace
}  // namespace dmawire::test
