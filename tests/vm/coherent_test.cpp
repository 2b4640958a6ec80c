// SPDX-License-Identifier: MIT
// Memory that a device and the CPU see alike. On machine pc the device is edu, which gets pages
// like any others, or, where it has bounce buffers (--append 'intel_iommu=off swiotlb=force'),
// memory of its own; on machine pi it is a DMA controller that does not see the CPU's caches.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include <dmawire/stream.hpp>

#include "abi.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "process.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

constexpr size_t length = 40 * kPage;

dmawire_create coherent_request(uint64_t bytes) {
  dmawire_create request = create_request(bytes);
  request.backing = DMAWIRE_BACKING_COHERENT;
  return request;
}

class Coherent : public testing::Test {
 protected:
  void SetUp() override {
    driver_.emplace(card_.present() ? "dmawire_edu" : "dmawire_dmaengine",
                    card_.present() ? EduCard::driver_parameters() : "");
    device_ = open_driver(name_);
    if (!device_.valid())
      GTEST_SKIP() << "this machine has no device that does DMA";
    is_own_ = query(make().get()).out_send == DMAWIRE_NO_PAGES;
  }

  [[nodiscard]] UniqueFd make(size_t bytes = length) const {
    return create(device_.get(), coherent_request(bytes));
  }

  const EduCard card_;
  const std::string name_ = card_.present() ? "edu" : "dmaengine";
  std::optional<DriverModule> driver_;
  UniqueFd device_;
  bool is_own_ = false;  ///< the memory is the device's own
};

TEST_F(Coherent, TellsWhatItCanBeUsedFor) {
  const UniqueFd buffer = make(length - 1);
  const dmawire_query answer = query(buffer.get());
  EXPECT_EQ(answer.out_backing, uint32_t{DMAWIRE_BACKING_COHERENT});
  EXPECT_EQ(answer.out_length, length);
  EXPECT_EQ(answer.out_mmap, uint32_t{DMAWIRE_USABLE});
  EXPECT_EQ(answer.out_granule, kPage);
  const uint32_t expected = is_own_ ? DMAWIRE_NO_PAGES : DMAWIRE_USABLE;
  for (const uint32_t verdict :
       {answer.out_send, answer.out_register, answer.out_odirect_write, answer.out_odirect_read})
    EXPECT_EQ(verdict, expected);
  if (is_own_)
    EXPECT_EQ(answer.out_segments, 1u);
  printf("the memory is %s\n", is_own_ ? "the device's own" : "of pages like any others");
}

TEST_F(Coherent, ShowsTheSameMemoryInEachMapping) {
  dirty_memory(2 * length);
  const UniqueFd buffer = make();
  const Mapped first(buffer.get(), length);
  const Mapped part(buffer.get(), 3 * kPage, 30 * kPage);
  ASSERT_EQ(first.error(), 0);
  EXPECT_TRUE(std::ranges::all_of(first.bytes(), [](uint8_t byte) { return byte == 0; }));
  const std::string text = fill(first);
  EXPECT_EQ(memcmp(part.data(), &text[30 * kPage], 3 * kPage), 0);
  EXPECT_EQ(memcmp(Mapped(buffer.get(), length, 0, PROT_READ).data(), text.data(), length), 0);
  EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
  EXPECT_EQ(sync(buffer.get(), DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
}

TEST_F(Coherent, TakesFramesOfItsDevice) {
  const UniqueFd buffer = make();
  const Mapped mapping(buffer.get(), length);
  const CaptureQueue queue{device_.get()};
  uint32_t index = 0;
  ASSERT_EQ(queue.attach(buffer.get(), &index), 0);
  for (uint64_t i = 0; i < 3; ++i)
    ASSERT_EQ(queue.enqueue(index, (7 * i + 1) * kPage, 2 * kPage), 0);
  ASSERT_EQ(queue.start(), 0);
  for (uint64_t i = 0; i < 3; ++i) {
    const dmawire_dequeue taken = queue.dequeue();
    ASSERT_EQ(taken.out_result, static_cast<int>(2 * kPage));
    EXPECT_EQ(frame_fault(mapping.bytes().subspan(taken.out_offset, 2 * kPage), i), "");
  }
  EXPECT_EQ(mapping.bytes()[0], 0);
  EXPECT_EQ(queue.stop(), 0);
  EXPECT_EQ(queue.detach(index), 0);
}

TEST_F(Coherent, OfTheDeviceItselfIsForNobodyElse) {
  if (!is_own_)
    GTEST_SKIP() << "it is pages like any others";
  const UniqueFd buffer = make();
  const Mapped mapping(buffer.get(), length);
  const std::string text = fill(mapping);

  SlotRing ring;
  ASSERT_EQ(ring.make_table(), 0);
  EXPECT_EQ(ring.register_address(mapping.data(), length, 0), EFAULT);
  EXPECT_EQ(ring.register_slot(device_.get(), buffer.get(), 0), EOPNOTSUPP);
  EXPECT_EQ(create_error(device_.get(), user_request(mapping.data(), kPage)), EFAULT);
  EXPECT_EQ(CaptureQueue{open_device().get()}.attach(buffer.get()), EOPNOTSUPP);
  if (const UniqueFd card = open_vgem(); card.valid())
    EXPECT_NE(VgemHandle(card, buffer.get()).error(), 0);

  int sockets[2] = {-1, -1};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  const UniqueFd near(sockets[0]);
  const UniqueFd far(sockets[1]);
  EXPECT_EQ(send(near.get(), mapping.data(), kPage, 0), static_cast<ssize_t>(kPage));
  EXPECT_TRUE(receive(far.get(), kPage) == text.substr(0, kPage));
}

TEST_F(Coherent, IsSentByACopyOnlyIfItHasNoPages) {
  const UniqueFd listener = bind_datagram({"127.0.0.1", "0"});  // reads nothing
  const std::vector<std::string> command{
      "uring_app", "send",      "127.0.0.1:" + std::to_string(local_port(listener.get())),
      "--udp",     "--device",  std::to_string(*number_of_driver(name_)),
      "--frames",  "3",         "--size",
      "4096",      "--backing", "coherent",
      "--json",    "--tx"};
  device_.reset();
  const auto send_by = [&](const std::string& path) {
    std::vector<std::string> all = command;
    all.push_back(path);
    return run(all);
  };
  const Process::Result copied = send_by("copy");
  EXPECT_EQ(copied.status, 0) << copied.err;
  const Process::Result plain = send_by("plain");
  EXPECT_EQ(plain.status, is_own_ ? 3 : 0) << plain.err;
  if (is_own_)
    EXPECT_NE(plain.err.find("no pages"), std::string::npos) << plain.err;
  const Process::Result chosen = send_by("auto");
  ASSERT_EQ(chosen.status, 0) << chosen.err;
  EXPECT_EQ(nlohmann::json::parse(chosen.out)["sent_frames"], 3);
}

TEST_F(Coherent, IsComparedWithPagesByBench) {
  const Process::Result result =
      run({"uring_app", "bench", "--memory", "--device", std::to_string(*number_of_driver(name_)),
           "--size", "64K", "--repeats", "1", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto rows = nlohmann::json::parse(result.out);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["backing"], "coherent");
  EXPECT_EQ(rows[0]["own"], is_own_);
  EXPECT_EQ(rows[1]["backing"], "pages");
  for (const auto& row : rows) {
    EXPECT_GT(row["read_gib_per_s"], 0.0);
    EXPECT_GT(row["write_gib_per_s"], 0.0);
  }
}

TEST_F(Coherent, OfTheDeviceItselfGoesWithIt) {
  if (!card_.present())
    GTEST_SKIP() << "this device cannot be unbound";
  UniqueFd buffer = make();
  const Mapped mapping(buffer.get(), length);
  const CaptureQueue queue{device_.get()};
  fill(mapping);
  ASSERT_EQ(queue.attach(buffer.get()), 0);
  ASSERT_EQ(card_.unbind(), true);
  const auto touch = [&] { return in_child([&] { return mapping.bytes()[kPage] == 0 ? 1 : 0; }); };
  EXPECT_EQ(touch(), is_own_ ? 128 + SIGBUS : 0);
  const Mapped late(buffer.get(), length);
  EXPECT_EQ(late.error(), 0);
  EXPECT_EQ(in_child([&] { return late.bytes()[0] == 0x7f ? 1 : 0; }), is_own_ ? 128 + SIGBUS : 0);
  EXPECT_EQ(query(buffer.get()).out_length, length);
  EXPECT_EQ(create_error(device_.get(), coherent_request(kPage)), ENODEV);

  ASSERT_EQ(card_.bind(), true);
  const UniqueFd again = open_driver(name_);
  EXPECT_EQ(CaptureQueue{again.get()}.attach(buffer.get()), is_own_ ? EOPNOTSUPP : 0);
  buffer.reset();
}

TEST_F(Coherent, ComesAndGoes) {
  for (unsigned i = 0; i < fewer_if_watched(1000); ++i)
    ASSERT_EQ(create_error(device_.get(), coherent_request(length)), 0) << "number " << i;
}

TEST_F(Coherent, IsRefusedWithEinval) {
  const auto error_of = [this](void (*change)(dmawire_create&)) {
    dmawire_create request = coherent_request(kPage);
    change(request);
    return create_error(device_.get(), request);
  };
  EXPECT_EQ(error_of([](dmawire_create& r) { r.flags = DMAWIRE_CREATE_FOLIOS_64K; }), EINVAL);
  EXPECT_EQ(error_of([](dmawire_create& r) { r.flags = DMAWIRE_CREATE_CMA; }), EINVAL);
  EXPECT_EQ(error_of([](dmawire_create& r) { r.node = 0; }), EINVAL);
  EXPECT_EQ(error_of([](dmawire_create& r) { r.start = kPage; }), EINVAL);
  EXPECT_EQ(error_of([](dmawire_create& r) { r.memfd = 1; }), EINVAL);
}

TEST(CoherentMemory, IsNotThereWhereTheCpuFills) {
  const UniqueFd device = open_device();
  EXPECT_EQ(info(device.get()).out_backings & 1U << DMAWIRE_BACKING_COHERENT, 0U);
  EXPECT_EQ(create_error(device.get(), coherent_request(kPage)), EOPNOTSUPP);
}

}  // namespace
}  // namespace dmawire::test
