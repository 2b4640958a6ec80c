// SPDX-License-Identifier: MIT
//
// Dma-bufs as fixed buffers of a ring: the commands of uapi.h, spoken raw.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dmawire/exporters.hpp>
#include <vector>

#include "abi.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "loopback.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

constexpr unsigned slots = SlotRing::slots;

/// With each layout that a buffer can have.
class Uring : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    supported_ = query(buffer_.get()).out_direct == DMAWIRE_USABLE;
    if (!supported_) {
      EXPECT_EQ(register_slot(request(0)), EOPNOTSUPP);
      GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table, and says so";
    }
    ASSERT_EQ(ring_.make_table(), 0);
  }

  int command(unsigned op, const void* argument) {
    return ring_.command(device_.get(), op, argument);
  }

  dmawire_uring_register request(unsigned slot) const {
    return {.size = sizeof(dmawire_uring_register), .fd = buffer_.get(), .slot = slot};
  }
  int register_slot(const dmawire_uring_register& argument) {
    return command(DMAWIRE_URING_CMD_REGISTER, &argument);
  }
  int unregister_slot(unsigned slot) {
    const dmawire_uring_unregister argument{.size = sizeof(argument), .slot = slot};
    return command(DMAWIRE_URING_CMD_UNREGISTER, &argument);
  }

  /// Sends `length` bytes at `offset` of a slot to ourselves and returns the received ones.
  std::string send_to_self(int slot, std::size_t offset, std::size_t length) {
    const Loopback connection;
    ring_.submit([&](io_uring_sqe* sqe) {
      io_uring_prep_send_zc_fixed(sqe, connection.near.get(), nullptr, length, MSG_WAITALL, 0,
                                  static_cast<unsigned>(slot));
      sqe->addr = offset;
    });
    io_uring_cqe* cqe = nullptr;
    if (io_uring_peek_cqe(ring_.get(), &cqe) == 0 && cqe->res < 0) {
      const bool more = cqe->flags & IORING_CQE_F_MORE;
      const int error = -ring_.next_result();
      if (more) {
        ring_.next_result();
      }
      return strerrorname_np(error);
    }
    std::string arrived = receive(connection.far.get(), length);
    EXPECT_EQ(ring_.next_result(), static_cast<int>(length));
    EXPECT_EQ(ring_.next_result(), 0) << "the notification";
    return arrived;
  }

  UniqueFd device_ = open_device();
  UniqueFd buffer_ = create_buffer(device_.get(), 64 * kPage, O_RDWR | O_CLOEXEC, GetParam());
  bool supported_ = false;
  SlotRing ring_;
};

INSTANTIATE_TEST_SUITE_P(Layouts, Uring, testing::ValuesIn(layouts), layout_name);

TEST_P(Uring, SendsAWholeBufferThatIsNotMapped) {
  std::string text;
  {
    const Mapped mapping{buffer_.get(), 64 * kPage};
    text = fill(mapping);
  }
  ASSERT_EQ(register_slot(request(0)), 0);
  EXPECT_TRUE(send_to_self(0, 0, text.size()) == text);
  EXPECT_TRUE(send_to_self(0, 12'345, 100'001) == text.substr(12'345, 100'001));
}

TEST_P(Uring, ARangeIsAddressedFromZeroAndEndsWhereItEnds) {
  const std::string text = fill(Mapped{buffer_.get(), 64 * kPage});
  dmawire_uring_register range = request(1);
  range.offset = 3 * kPage;
  range.length = 5 * kPage;
  ASSERT_EQ(register_slot(range), 0);
  EXPECT_TRUE(send_to_self(1, 0, 5 * kPage) == text.substr(3 * kPage, 5 * kPage));
  EXPECT_EQ(send_to_self(1, 0, 5 * kPage + 1), "EFAULT");
  EXPECT_EQ(send_to_self(1, 5 * kPage, 1), "EFAULT");
}

TEST_P(Uring, TheSlotKeepsTheBufferWhenItsDescriptorAndDeviceAreClosed) {
  const std::string text = fill(Mapped{buffer_.get(), 64 * kPage});
  ASSERT_EQ(register_slot(request(0)), 0);
  buffer_.reset();
  EXPECT_EQ(module_info().out_buffers, 1U);
  device_.reset();
  EXPECT_TRUE(send_to_self(0, 0, text.size()) == text);
}

TEST_P(Uring, TheBufferGoesWithItsLastSlot) {
  ASSERT_EQ(register_slot(request(0)), 0);
  ASSERT_EQ(register_slot(request(3)), 0);
  buffer_.reset();
  EXPECT_EQ(unregister_slot(0), 0);
  EXPECT_EQ(module_info().out_buffers, 1U);
  EXPECT_EQ(unregister_slot(3), 0);
  EXPECT_TRUE(eventually([] { return module_info().out_buffers == 0; }));
}

TEST_P(Uring, ASlotReplacedWhileASendIsInFlightDoesNotDisturbTheSend) {
  const std::string text = fill(Mapped{buffer_.get(), 64 * kPage});
  ASSERT_EQ(register_slot(request(0)), 0);
  const Loopback connection;
  const int little = 16 * 1024;
  setsockopt(connection.near.get(), SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
  ring_.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_send_zc_fixed(sqe, connection.near.get(), nullptr, text.size(), MSG_WAITALL, 0,
                                0);
  });  // the peer does not read: the send stays in flight

  ASSERT_EQ(unregister_slot(0), 0);
  const UniqueFd other = create_buffer(device_.get(), 64 * kPage);  // zeros
  dmawire_uring_register replacement = request(0);
  replacement.fd = other.get();
  ASSERT_EQ(register_slot(replacement), 0);
  buffer_.reset();

  const std::string arrived = receive(connection.far.get(), text.size());
  EXPECT_TRUE(arrived == text);
  EXPECT_EQ(ring_.next_result(), static_cast<int>(text.size()));
  EXPECT_EQ(ring_.next_result(), 0);
}

TEST_P(Uring, DescriptorAndDeviceMayGoWhileASendIsInFlight) {
  const std::string text = fill(Mapped{buffer_.get(), 64 * kPage});
  ASSERT_EQ(register_slot(request(0)), 0);
  const Loopback connection;
  const int little = 16 * 1024;
  setsockopt(connection.near.get(), SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
  ring_.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_send_zc_fixed(sqe, connection.near.get(), nullptr, text.size(), MSG_WAITALL, 0,
                                0);
  });
  buffer_.reset();
  device_.reset();
  EXPECT_TRUE(receive(connection.far.get(), text.size()) == text);
  EXPECT_EQ(ring_.next_result(), static_cast<int>(text.size()));
  EXPECT_EQ(ring_.next_result(), 0);
}

TEST_P(Uring, TheRingMayEndWithASendInFlight) {
  ASSERT_EQ(register_slot(request(0)), 0);
  const Loopback connection;
  ring_.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_send_zc_fixed(sqe, connection.near.get(), nullptr, 64 * kPage, MSG_WAITALL, 0, 0);
  });
  buffer_.reset();
  ring_.end();
}

TEST_P(Uring, WritesToAFileAndReadsFromIt) {
  const Mapped mapping{buffer_.get(), 64 * kPage};
  const std::string text = fill(mapping);
  ASSERT_EQ(register_slot(request(0)), 0);
  const UniqueFd file{open("/tmp/uring-test", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  const auto size = static_cast<unsigned>(text.size());
  EXPECT_EQ(ring_.result_of([&](io_uring_sqe* sqe) {
    io_uring_prep_write_fixed(sqe, file.get(), nullptr, size, 0, 0);
  }),
            static_cast<int>(size));
  memset(mapping.data(), 0, mapping.size());
  EXPECT_EQ(ring_.result_of([&](io_uring_sqe* sqe) {
    io_uring_prep_read_fixed(sqe, file.get(), nullptr, size, 0, 0);
  }),
            static_cast<int>(size));
  EXPECT_EQ(memcmp(mapping.data(), text.data(), text.size()), 0);
  unlink("/tmp/uring-test");
}

TEST_P(Uring, NothingIsReadIntoABufferOfAReadOnlyDescriptor) {
  const UniqueFd read_only = create_buffer(device_.get(), kPage, O_RDONLY | O_CLOEXEC);
  dmawire_uring_register argument = request(0);
  argument.fd = read_only.get();
  ASSERT_EQ(register_slot(argument), 0);
  const UniqueFd zeros{open("/dev/zero", O_RDONLY | O_CLOEXEC)};
  EXPECT_EQ(ring_.result_of([&](io_uring_sqe* sqe) {
    io_uring_prep_read_fixed(sqe, zeros.get(), nullptr, kPage, 0, 0);
  }),
            -EFAULT);
  EXPECT_EQ(send_to_self(0, 0, kPage), std::string(kPage, '\0'));
}

TEST_P(Uring, RegisterRefusesWhatTheHeaderForbids) {
  dmawire_uring_register bad = request(0);
  bad.flags = 1;
  EXPECT_EQ(register_slot(bad), EINVAL);
  bad = request(0);
  bad.size = DMAWIRE_URING_REGISTER_SIZE_V1 - 1;
  EXPECT_EQ(register_slot(bad), EINVAL);
  bad.size = 1U << 20;
  EXPECT_EQ(register_slot(bad), E2BIG);
  EXPECT_EQ(register_slot(request(slots)), EINVAL);
  EXPECT_EQ(command(DMAWIRE_URING_CMD_REGISTER, nullptr), EFAULT);
  EXPECT_EQ(command(99, &bad), EOPNOTSUPP);
  bad = request(0);
  bad.fd = -1;
  EXPECT_EQ(register_slot(bad), EBADF);
  bad.fd = device_.get();
  EXPECT_EQ(register_slot(bad), EINVAL);
  for (const auto& [offset, length] : {std::pair<std::uint64_t, std::uint64_t>{1, kPage},
                                       {0, kPage + 1},
                                       {0, 65 * kPage},
                                       {64 * kPage, 0},
                                       {63 * kPage, 2 * kPage},
                                       {kPage, ~std::uint64_t{0} - kPage + 1}}) {
    bad = request(0);
    bad.offset = offset;
    bad.length = length;
    EXPECT_EQ(register_slot(bad), EINVAL) << offset << " " << length;
  }
}

TEST_P(Uring, RefusesTheDmaBufOfAnotherExporter) {
  load_kernel_module("udmabuf");  // fails where it is built in
  const std::vector<Buffer> foreign = make_buffers(Exporter::udmabuf, Layout::pages, 1, kPage);
  dmawire_uring_register argument = request(0);
  argument.fd = foreign.at(0).fd();
  EXPECT_EQ(register_slot(argument), EXDEV);
  EXPECT_EQ(register_slot(request(0)), 0) << "the slot is still free";
}

TEST_P(Uring, RefusesASlotThatIsTakenAndUnregistersOnce) {
  ASSERT_EQ(register_slot(request(2)), 0);
  EXPECT_EQ(register_slot(request(2)), EBUSY);
  EXPECT_EQ(unregister_slot(2), 0);
  EXPECT_EQ(unregister_slot(2), EINVAL);
  EXPECT_EQ(unregister_slot(slots), EINVAL);
  EXPECT_EQ(register_slot(request(2)), 0);
}

TEST_P(Uring, RefusesARingWithoutATable) {
  ASSERT_EQ(io_uring_unregister_buffers(ring_.get()), 0);
  EXPECT_EQ(register_slot(request(0)), EINVAL);
}

TEST_P(Uring, LeavesBuffersRegisteredByAddressAlone) {
  const Mapped mapping{buffer_.get(), 64 * kPage};
  ASSERT_EQ(ring_.register_address(mapping.data(), mapping.size(), 1), 0);
  EXPECT_EQ(unregister_slot(1), EBUSY);
  EXPECT_EQ(register_slot(request(1)), EBUSY);
}

}  // namespace
}  // namespace dmawire::test
