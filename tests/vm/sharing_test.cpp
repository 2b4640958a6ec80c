// SPDX-License-Identifier: MIT
// One buffer in several slots of several rings at once, released in any order.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <numeric>
#include <tuple>

#include "abi.hpp"
#include "cards.hpp"
#include "guest.hpp"
#include "kprobe_counter.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

constexpr size_t length = 8 * kFolio;

enum class By { dma_buf, address };

class SharedBuffer : public testing::TestWithParam<std::tuple<By, uint32_t>> {
 protected:
  void SetUp() override {
    if (by_ == By::dma_buf && query(buffer_.get()).out_direct != DMAWIRE_USABLE)
      GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  }

  void put_into(SlotRing& ring, unsigned slot) {
    const int error = by_ == By::dma_buf
                          ? ring.register_slot(device_.get(), buffer_.get(), slot)
                          : ring.register_address(mapping_.data(), mapping_.size(), slot);
    EXPECT_EQ(error, 0);
  }
  /// The buffer's first address for requests that use a slot.
  [[nodiscard]] char* base() const {
    return by_ == By::dma_buf ? nullptr : static_cast<char*>(mapping_.data());
  }
  void start_send(SlotRing& ring, unsigned slot, int socket) {
    ring.submit([&](io_uring_sqe* sqe) {
      io_uring_prep_send_zc_fixed(sqe, socket, base(), length, MSG_WAITALL, 0, slot);
    });
  }
  /// Results and notifications of `count` sends; only the two CQEs of one send have an order.
  static void finish_sends(SlotRing& ring, int count) {
    int sent = 0;
    int notified = 0;
    for (int i = 0; i < 2 * count; ++i) {
      const int result = ring.next_result();
      sent += result == static_cast<int>(length) ? 1 : 0;
      notified += result == 0 ? 1 : 0;
    }
    EXPECT_EQ(sent, count);
    EXPECT_EQ(notified, count);
  }

  const By by_ = std::get<0>(GetParam());
  UniqueFd device_ = open_device();
  UniqueFd buffer_ =
      create_buffer(device_.get(), length, O_RDWR | O_CLOEXEC, std::get<1>(GetParam()));
  Mapped mapping_{buffer_.get(), length};
  const std::string text_ = fill(mapping_);
};

TEST_P(SharedBuffer, IsSentByAllRingsAndSlotsAtOnceWhicheverRingEndsFirst) {
  constexpr size_t rings = 3;
  constexpr unsigned used_slots[] = {0, 3};
  std::array<size_t, rings> order;
  std::iota(order.begin(), order.end(), size_t{0});
  const KprobeCounter copies{copies_payload};
  do {
    SCOPED_TRACE(testing::Message() << order[0] << order[1] << order[2]);
    std::deque<SlotRing> ring(rings);
    std::deque<CardsConnection> connection(rings * std::size(used_slots));
    for (size_t i = 0; i < rings; ++i) {
      ASSERT_EQ(ring[i].make_table(), 0);
      // First both: while a send is under way, any result may be the send's.
      for (unsigned slot : used_slots)
        put_into(ring[i], slot);
      for (size_t k = 0; k < std::size(used_slots); ++k)
        start_send(ring[i], used_slots[k], connection[2 * i + k].near.get());
    }
    for (size_t i : order) {
      for (size_t k = 0; k < std::size(used_slots); ++k)
        EXPECT_TRUE(receive(connection[2 * i + k].far.get(), length) == text_);
      finish_sends(ring[i], std::size(used_slots));
      ring[i].end();
    }
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(copies.calls(), 0u);
}

TEST_P(SharedBuffer, GoesWithTheLastRingThoughAllElseWentWhileItWasInFlight) {
  std::deque<SlotRing> ring(2);
  std::deque<CardsConnection> connection(2);
  for (size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(ring[i].make_table(), 0);
    put_into(ring[i], static_cast<unsigned>(i));
    start_send(ring[i], static_cast<unsigned>(i), connection[i].near.get());
  }
  mapping_.reset();
  buffer_.reset();
  device_.reset();
  // The first ring ends with its send unread; the second one's goes on.
  ring[0].end();
  EXPECT_TRUE(receive(connection[1].far.get(), length) == text_);
  finish_sends(ring[1], 1);
  ring[1].end();
}

TEST_P(SharedBuffer, IsWrittenToAFileAndSentAtTheSameTime) {
  SlotRing writer;
  SlotRing sender;
  const CardsConnection connection;
  for (SlotRing* ring : {&writer, &sender}) {
    ASSERT_EQ(ring->make_table(), 0);
    put_into(*ring, 1);
  }
  const UniqueFd file{open("/tmp/shared", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  unlink("/tmp/shared");
  start_send(sender, 1, connection.near.get());
  EXPECT_EQ(writer.result_of([&](io_uring_sqe* sqe) {
    io_uring_prep_write_fixed(sqe, file.get(), base(), length, 0, 1);
  }),
            static_cast<int>(length));
  writer.end();
  EXPECT_TRUE(receive(connection.far.get(), length) == text_);
  finish_sends(sender, 1);
  std::string stored(length, '\0');
  EXPECT_EQ(pread(file.get(), stored.data(), length, 0), static_cast<ssize_t>(length));
  EXPECT_TRUE(stored == text_);
}

std::string instance_name(const testing::TestParamInfo<SharedBuffer::ParamType>& instance) {
  const auto [by, flags] = instance.param;
  return std::string(by == By::dma_buf ? "DmaBuf" : "Address") + (flags == 0 ? "Mixed" : "Folios");
}
INSTANTIATE_TEST_SUITE_P(Every, SharedBuffer,
                         testing::Combine(testing::Values(By::dma_buf, By::address),
                                          testing::ValuesIn(layouts)),
                         instance_name);

}  // namespace
}  // namespace dmawire::test
