// SPDX-License-Identifier: MIT
// Every failure, systematically: each call is repeated with its first, second, third ... allocation
// or copy failing, until no failing point is left.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "abi.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "inject.hpp"
#include "loopback.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

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
  if ((GetParam().flags & DMAWIRE_CREATE_CMA) != 0 &&
      (info(device_.get()).out_features & DMAWIRE_FEATURE_CMA) == 0)
    GTEST_SKIP() << "this guest has no CMA area";
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
                    Creation{"Contig", kMiB + kPage, 0, O_RDWR | O_CLOEXEC, DMAWIRE_BACKING_CONTIG},
                    Creation{"Cma", kMiB + kPage, DMAWIRE_CREATE_CMA, O_RDWR | O_CLOEXEC,
                             DMAWIRE_BACKING_CONTIG}),
    [](const auto& instance) { return std::string(instance.param.name); });

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

/// A mapping that has no page table yet, not even one shared with a neighboring mapping.
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
         // If the handle cannot be copied to userspace, it ends with the card's file.
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
  /// The final result of the request: if io_uring did not take it, it is submitted again and
  /// succeeds.
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
               const int room = 4 * length;  // all of it is taken though the peer does not read
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
