// SPDX-License-Identifier: MIT
// Physically contiguous buffers. Buffers of a CMA area need a guest that has one:
// ci/vm --append cma=64M.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "abi.hpp"
#include "capturing.hpp"
#include "eventually.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

/// Longer than any block of the page allocator.
constexpr size_t kLong = 20 * kMiB + kPage;

bool has_cma() {
  return (module_info().out_features & DMAWIRE_FEATURE_CMA) != 0;
}

/// Of any memory, and of a CMA area.
class Contig : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    if (is_cma() && !has_cma())
      GTEST_SKIP() << "this guest has no CMA area";
  }

  [[nodiscard]] static bool is_cma() { return GetParam() != 0; }
  [[nodiscard]] UniqueFd make(uint64_t length) const {
    return create(device_.get(), contig_request(length, GetParam()));
  }

  UniqueFd device_ = open_device();
};
INSTANTIATE_TEST_SUITE_P(Any, Contig, testing::Values(0, DMAWIRE_CREATE_CMA),
                         [](const auto& instance) {
                           return std::string(instance.param == 0 ? "Memory" : "Cma");
                         });

TEST_P(Contig, IsOneSegmentOfZeros) {
  for (const size_t length : {kPage, 3 * kPage, kMiB + kPage, 4 * kMiB}) {
    SCOPED_TRACE(length);
    dirty_memory(2 * length);
    const UniqueFd buffer = make(length - 100);
    const dmawire_query answer = query(buffer.get());
    EXPECT_EQ(answer.out_backing, uint32_t{DMAWIRE_BACKING_CONTIG});
    EXPECT_EQ(answer.out_length, length);
    EXPECT_EQ(answer.out_segments, 1u);
    EXPECT_EQ(answer.out_largest_segment, length);
    EXPECT_EQ(answer.out_granule, kPage);
    const Mapped mapping(buffer.get(), length);
    ASSERT_EQ(mapping.error(), 0);
    EXPECT_TRUE(std::ranges::all_of(mapping.bytes(), [](uint8_t byte) { return byte == 0; }));
  }
}

TEST_P(Contig, MayBeLongerThanAnyBlock) {
  const dmawire_create request = contig_request(kLong, GetParam());
  if (const int error = create_error(device_.get(), request)) {
    ASSERT_EQ(error, EOPNOTSUPP);
    GTEST_SKIP() << "this kernel has no longer pieces for modules";
  }
  dirty_memory(2 * kLong);
  const UniqueFd buffer = create(device_.get(), request);
  EXPECT_EQ(query(buffer.get()).out_segments, 1u);
  EXPECT_EQ(query(buffer.get()).out_largest_segment, kLong);
  const Mapped mapping(buffer.get(), kLong);
  ASSERT_EQ(mapping.error(), 0);
  EXPECT_TRUE(std::ranges::all_of(mapping.bytes(), [](uint8_t byte) { return byte == 0; }));
}

TEST_P(Contig, TellsWhatItCanBeUsedFor) {
  const UniqueFd buffer = make(kMiB);
  const dmawire_query answer = query(buffer.get());
  for (const uint32_t verdict :
       {answer.out_mmap, answer.out_send, answer.out_odirect_write, answer.out_odirect_read})
    EXPECT_EQ(verdict, uint32_t{DMAWIRE_USABLE});
  EXPECT_EQ(answer.out_register, uint32_t{is_cma() ? DMAWIRE_NO_LONGTERM_PIN : DMAWIRE_USABLE});
  EXPECT_EQ(answer.out_direct, query(create_buffer(device_.get(), kPage).get()).out_direct);
}

TEST_P(Contig, ShowsTheSameMemoryInEachMapping) {
  const UniqueFd buffer = make(300 * kPage);
  const Mapped first(buffer.get(), 300 * kPage);
  const Mapped second(buffer.get(), 300 * kPage, 0, PROT_READ);
  const Mapped part(buffer.get(), 10 * kPage, 290 * kPage);
  const std::string text = fill(first);  // written before it is read, then the other way round
  EXPECT_EQ(memcmp(second.data(), text.data(), text.size()), 0);
  EXPECT_EQ(memcmp(part.data(), &text[290 * kPage], 10 * kPage), 0);
  part.bytes()[10 * kPage - 1] = 0x5a;
  EXPECT_EQ(first.bytes()[300 * kPage - 1], 0x5a);
  EXPECT_EQ(in_child([&] {
              first.bytes()[7] = 0x77;
              return 0;
            }),
            0);
  EXPECT_EQ(second.bytes()[7], 0x77);
}

TEST_P(Contig, IsRegisteredByAddressOrRefusedAtOnce) {
  const UniqueFd buffer = make(kMiB);
  const Mapped mapping(buffer.get(), kMiB);
  fill(mapping);  // so that its pages are there already, and may be written
  SlotRing ring;
  ASSERT_EQ(ring.make_table(), 0);
  EXPECT_EQ(ring.register_address(mapping.data(), kMiB, 0), is_cma() ? EFAULT : 0);
}

TEST_P(Contig, IsPinnedAsUserMemoryOrRefusedAtOnce) {
  const UniqueFd buffer = make(kMiB);
  const Mapped mapping(buffer.get(), kMiB);
  dmawire_create request = user_request(mapping.bytes().data() + 100, kPage);
  const int expected = is_cma() ? EFAULT : 0;
  EXPECT_EQ(create_error(device_.get(), request), expected);
  request.direction = DMAWIRE_TO_DEVICE;
  request.fd_flags = O_RDONLY | O_CLOEXEC;
  EXPECT_EQ(create_error(device_.get(), request), expected);
}

TEST_P(Contig, IsReadThroughASlot) {
  const UniqueFd buffer = make(kMiB);
  const std::string text = fill(Mapped(buffer.get(), kMiB));
  const std::string seen = read_through_slot(device_.get(), buffer.get(), 40 * kPage, 3 * kPage);
  if (seen.empty())
    GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  EXPECT_TRUE(seen == text.substr(3 * kPage, 40 * kPage));
}

TEST_P(Contig, TakesFramesOfADevice) {
  const UniqueFd buffer = make(kMiB);
  const CaptureQueue queue{device_.get()};
  uint32_t index = 0;
  ASSERT_EQ(queue.attach(buffer.get(), &index), 0);
  ASSERT_EQ(queue.enqueue(index, kPage, 3 * kPage), 0);
  ASSERT_EQ(queue.start(), 0);
  EXPECT_EQ(queue.dequeue().out_result, static_cast<int>(3 * kPage));
  EXPECT_EQ(queue.stop(), 0);
  EXPECT_EQ(queue.detach(index), 0);
  const Mapped mapping(buffer.get(), kMiB);
  EXPECT_EQ(frame_fault(mapping.bytes().subspan(kPage, 3 * kPage), 0), "");
}

TEST_P(Contig, CanBeAttachedToADevice) {
  const UniqueFd card = open_vgem();
  if (!card.valid())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  UniqueFd buffer = make(kMiB);
  const VgemHandle handle(card, buffer.get());
  ASSERT_EQ(handle.error(), 0) << strerror(handle.error());
  buffer.reset();
  EXPECT_EQ(query(handle.to_dmabuf().get()).out_length, kMiB);
}

/// A page of a buffer in a pipe, where it stays until it is read, and nothing else of it.
class PageInAPipe {
 public:
  explicit PageInAPipe(const UniqueFd& buffer) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    out_.reset(ends[0]);
    in_.reset(ends[1]);
    const Mapped mapping(buffer.get(), kMiB);
    text_ = fill(mapping).substr(5 * kPage, kPage);
    const iovec page{mapping.bytes().data() + 5 * kPage, kPage};
    EXPECT_EQ(vmsplice(in_.get(), &page, 1, 0), static_cast<ssize_t>(kPage)) << strerror(errno);
  }

  [[nodiscard]] bool is_intact() const {
    std::string seen(kPage, '\0');
    return read(out_.get(), seen.data(), kPage) == static_cast<ssize_t>(kPage) && seen == text_;
  }

 private:
  UniqueFd out_;
  UniqueFd in_;
  std::string text_;
};

TEST_P(Contig, KeepsWhatIsStillInUse) {
  const uint64_t before = module_info().out_buffers;
  UniqueFd buffer = make(kMiB);
  const PageInAPipe page(buffer);
  buffer.reset();
  // A CMA area takes back all or nothing; other pages are freed one by one.
  if (is_cma()) {
    usleep(500'000);  // enough for the background work to find an unreferenced buffer
    EXPECT_EQ(module_info().out_buffers, before + 1);
  } else {
    EXPECT_TRUE(eventually([&] { return module_info().out_buffers == before; }));
  }
  dirty_memory(64 * kMiB);
  EXPECT_TRUE(page.is_intact());
  // Buffers that waited for their pages go in the background.
  EXPECT_TRUE(eventually([&] { return module_info().out_buffers == before; }));
}

TEST_P(Contig, HoldsTheModuleAsLongAsItLives) {
  UniqueFd buffer = make(kMiB);
  device_.reset();
  const PageInAPipe page(buffer);
  buffer.reset();
  if (is_cma()) {
    usleep(300'000);
    EXPECT_EQ(unload_dmawire(), EWOULDBLOCK);
    EXPECT_TRUE(page.is_intact());
  }
  ASSERT_NO_FATAL_FAILURE(expect_reloads());
  if (!is_cma())
    EXPECT_TRUE(page.is_intact());
}

TEST_P(Contig, ComesAndGoesAThousandTimes) {
  // More than half of the area, so that each must be back before the next.
  const dmawire_create request = contig_request(is_cma() ? 40 * kMiB : kMiB, GetParam());
  for (unsigned i = 0; i < (is_cma() ? 50 : fewer_if_watched(1000)); ++i)
    ASSERT_EQ(create_error(device_.get(), request), 0) << "number " << i;
}

TEST(ContigBuffer, IsRefusedWithEinval) {
  const UniqueFd device = open_device();
  struct Case {
    const char* name;
    void (*change)(dmawire_create&);
  };
  for (const auto& [name, change] : std::initializer_list<Case>{
           {"folios", [](dmawire_create& r) { r.flags = DMAWIRE_CREATE_FOLIOS_64K; }},
           {"unknown flag", [](dmawire_create& r) { r.flags = 4; }},
           {"start", [](dmawire_create& r) { r.start = kPage; }},
           {"memfd", [](dmawire_create& r) { r.memfd = 1; }},
           {"node of CMA",
            [](dmawire_create& r) {
              r.flags = DMAWIRE_CREATE_CMA;
              r.node = 0;
            }},
           {"CMA of pages",
            [](dmawire_create& r) {
              r.flags = DMAWIRE_CREATE_CMA;
              r.backing = DMAWIRE_BACKING_PAGES;
            }},
       }) {
    dmawire_create request = contig_request(kMiB);
    change(request);
    EXPECT_EQ(create_error(device.get(), request), EINVAL) << name;
  }
}

TEST(ContigBuffer, OfACmaAreaIsRefusedWhereThereIsNone) {
  if (has_cma())
    GTEST_SKIP() << "this guest has one";
  EXPECT_EQ(create_error(open_device().get(), contig_request(kPage, DMAWIRE_CREATE_CMA)),
            EOPNOTSUPP);
}

TEST(ContigBuffer, IsRefusedWithEnomemWhereNoPieceIsAsLong) {
  const UniqueFd device = open_device();
  const uint64_t too_long = 2 * meminfo("MemTotal");
  const ModuleParameter limit("max_bytes", 2 * too_long);
  const int error = create_error(device.get(), contig_request(too_long));
  EXPECT_TRUE(error == ENOMEM || error == EOPNOTSUPP) << strerrorname_np(error);
  if (has_cma())
    EXPECT_EQ(create_error(device.get(), contig_request(too_long, DMAWIRE_CREATE_CMA)), ENOMEM);
}

TEST(ContigBuffer, PrefersTheNodeItIsAskedFor) {
  dmawire_create request = contig_request(kMiB);
  request.node = 0;
  EXPECT_EQ(query(create(open_device().get(), request).get()).out_node, 0);
}

}  // namespace
}  // namespace dmawire::test
