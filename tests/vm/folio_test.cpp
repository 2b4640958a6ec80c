// SPDX-License-Identifier: MIT
// Buffers made of folios (DMAWIRE_CREATE_FOLIOS_64K): their specific behavior. Common behavior is
// tested with both layouts in its own files.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "abi.hpp"
#include "guest.hpp"
#include "held_pages.hpp"
#include "leak_check.hpp"
#include "loopback.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

UniqueFd create_folios(int device, uint64_t length) {
  return create_buffer(device, length, O_RDWR | O_CLOEXEC, DMAWIRE_CREATE_FOLIOS_64K);
}

class FoliosOfSize : public testing::TestWithParam<size_t> {};

TEST_P(FoliosOfSize, AreZeroAndWholeAndAccountedFor) {
  const size_t rounded = (GetParam() + kFolio - 1) / kFolio * kFolio;
  dirty_memory(128 * kMiB);
  UniqueFd device = open_device();
  UniqueFd buffer = create_folios(device.get(), GetParam());
  const dmawire_query answer = query(buffer.get());
  EXPECT_EQ(answer.out_length, rounded);
  EXPECT_EQ(answer.out_folios, rounded / kFolio);
  EXPECT_GE(answer.out_largest_segment, kFolio);
  EXPECT_LE(answer.out_segments, answer.out_folios);
  EXPECT_EQ(info(device.get()).out_open_bytes, rounded);
  Mapped mapping(buffer.get(), rounded);
  ASSERT_EQ(mapping.error(), 0);
  auto words = mapping.words();
  EXPECT_TRUE(std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; }));
}

INSTANTIATE_TEST_SUITE_P(Sizes, FoliosOfSize,
                         testing::Values(1, kFolio, kFolio + 1, kMiB, 33 * kMiB + kPage));

TEST(Folios, AreThereOnlyIfAskedFor) {
  UniqueFd buffer = create_buffer(open_device().get(), kMiB);
  EXPECT_EQ(query(buffer.get()).out_folios, 0u);
}

TEST(Folios, AreRefusedWhereTheRoundedLengthIsTooMuch) {
  UniqueFd device = open_device();
  constexpr uint32_t flags = DMAWIRE_CREATE_FOLIOS_64K;
  EXPECT_EQ(try_create(device.get(), 0, flags), EINVAL);
  EXPECT_EQ(try_create(device.get(), UINT64_MAX - kFolio + 2, flags), EOVERFLOW);
  EXPECT_EQ(try_create(device.get(), UINT64_MAX - kFolio + 1, flags), EDQUOT);
  ModuleParameter limit("max_bytes", 2 * kFolio - kPage);
  EXPECT_EQ(try_create(device.get(), kFolio + 1, flags), EDQUOT);
  EXPECT_EQ(try_create(device.get(), kFolio, flags), 0);
}

TEST(Folios, ComeBackAThousandTimes) {
  UniqueFd device = open_device();
  uint64_t before = free_memory();
  for (size_t i = 0; i < 1000; ++i)
    ASSERT_EQ(try_create(device.get(), kFolio * (1 + i % 20), DMAWIRE_CREATE_FOLIOS_64K), 0);
  expect_free_memory(before, "a thousand buffers");
}

TEST(Folios, ArePartlyReplacedBySinglePagesWhereMemoryIsFragmented) {
  ModuleParameter limit("max_bytes", UINT64_MAX);
  UniqueFd device = open_device();
  constexpr size_t fragmented = 256 * kMiB;
  UniqueFd torn = create_buffer(device.get(), fragmented);
  Mapped mapping(torn.get(), fragmented);
  ASSERT_EQ(mapping.error(), 0);
  const HeldPages held(mapping);
  mapping.reset();
  torn.reset();  // 15 of 16 pages are free, and no block of 16

  const size_t length = (free_memory_that_may_stay() - 150 * kMiB) / kFolio * kFolio;
  UniqueFd buffer = create_folios(device.get(), length);
  const dmawire_query answer = query(buffer.get());
  EXPECT_EQ(answer.out_length, length);
  EXPECT_GT(answer.out_folios, 0u);
  EXPECT_LT(answer.out_folios, length / kFolio);
  // Folios come first, so the last pages are single ones.
  Mapped end(buffer.get(), kMiB, static_cast<off_t>(length - kMiB));
  ASSERT_EQ(end.error(), 0);
  auto words = end.words();
  EXPECT_TRUE(std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; }));
}

TEST(Folios, StayWholeUntilNobodyHoldsAPageOfThem) {
  UniqueFd buffer = create_folios(open_device().get(), kMiB);
  Mapped mapping(buffer.get(), kMiB);
  const std::string text = fill(mapping);
  const HeldPages held(mapping);
  mapping.reset();
  buffer.reset();
  EXPECT_EQ(module_info().out_buffers, 0u);
  dirty_memory(64 * kMiB);
  std::string seen(kPage, '\0');
  for (size_t at = 0; at < kMiB; at += kFolio) {
    ASSERT_EQ(read(held.first_pipe(), seen.data(), kPage), static_cast<ssize_t>(kPage));
    EXPECT_TRUE(seen == text.substr(at, kPage)) << at;
  }
}

TEST(Folios, CanBeAttachedToADevice) {
  UniqueFd card = open_vgem();
  if (!card.valid())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  UniqueFd buffer = create_folios(open_device().get(), kMiB);
  Mapped before(buffer.get(), kMiB);
  const std::string text = fill(before);
  VgemHandle handle(card, buffer.get());
  ASSERT_EQ(handle.error(), 0) << strerror(handle.error());
  buffer.reset();
  before.reset();
  UniqueFd again = handle.to_dmabuf();
  EXPECT_EQ(query(again.get()).out_folios, kMiB / kFolio);
  Mapped after(again.get(), kMiB);
  EXPECT_EQ(memcmp(after.data(), text.data(), text.size()), 0);
}

/// Socket memory that 1,000 bytes out of a registered mapping are charged: from the beginning of
/// the ring's piece that they are in.
uint32_t charge_of_a_send_from(size_t offset, uint32_t flags) {
  UniqueFd buffer = create_buffer(open_device().get(), kMiB, O_RDWR | O_CLOEXEC, flags);
  Mapped mapping(buffer.get(), kMiB);
  SlotRing ring;
  EXPECT_EQ(ring.make_table(), 0);
  EXPECT_EQ(ring.register_address(mapping.data(), kMiB, 0), 0);
  const Loopback connection;
  const int on = 1;
  setsockopt(connection.near.get(), SOL_TCP, TCP_CORK, &on, sizeof(on));
  ring.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_send_zc_fixed(sqe, connection.near.get(), mapping.bytes().data() + offset, 1000,
                                0, 0, 0);
  });
  EXPECT_EQ(ring.next_result(), 1000);
  constexpr size_t write_queue = 5;  // SK_MEMINFO_WMEM_QUEUED
  std::array<uint32_t, 9> memory{};
  socklen_t size = sizeof(memory);
  EXPECT_EQ(getsockopt(connection.near.get(), SOL_SOCKET, SO_MEMINFO, &memory, &size), 0);
  const int off = 0;
  setsockopt(connection.near.get(), SOL_TCP, TCP_CORK, &off, sizeof(off));
  receive(connection.far.get(), 1000);
  EXPECT_EQ(ring.next_result(), 0) << "the notification";
  return memory[write_queue];
}

TEST(Folios, AreOnePieceEachForTheRingTheirMappingIsRegisteredWith) {
  constexpr size_t offset = 5 * kFolio + 60 * 1024;
  EXPECT_GE(charge_of_a_send_from(offset, DMAWIRE_CREATE_FOLIOS_64K), kFolio);
  EXPECT_LT(charge_of_a_send_from(offset, 0), 4 * kPage);
}

}  // namespace
}  // namespace dmawire::test
