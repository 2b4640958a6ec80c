// SPDX-License-Identifier: MIT
// Between a buffer and a disk without the page cache: O_DIRECT on ext4, on a loop device.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <dmawire/exporters.hpp>
#include <memory>
#include <tuple>

#include "abi.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "loop_disk.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

constexpr size_t length = 4 * kFolio;

/// A file system for the suite.
class Disk : public testing::Test {
 protected:
  static void SetUpTestSuite() { disk_ = std::make_unique<LoopDisk>(); }
  static void TearDownTestSuite() { disk_.reset(); }
  void SetUp() override { ASSERT_TRUE(direct_.valid()) << strerror(errno); }

  /// The contents as an ordinary read returns them.
  [[nodiscard]] std::string stored() const {
    std::string bytes(length, '\0');
    EXPECT_EQ(pread(cached_.get(), bytes.data(), length, 0), static_cast<ssize_t>(length));
    return bytes;
  }
  /// Puts other bytes there than `text` by an ordinary write, and returns them.
  std::string store_reverse_of(const std::string& text) {
    const std::string bytes{text.rbegin(), text.rend()};
    EXPECT_EQ(pwrite(cached_.get(), bytes.data(), length, 0), static_cast<ssize_t>(length));
    return bytes;
  }

  static inline std::unique_ptr<LoopDisk> disk_;
  const std::string path_ = disk_->directory() + "/file";
  UniqueFd cached_{open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  UniqueFd direct_{open(path_.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC)};
};

class DiskAndBuffer : public Disk, public testing::WithParamInterface<uint32_t> {
 protected:
  void expect_writes_and_reads(SlotRing& ring, char* base) {
    EXPECT_EQ(ring.result_of([&](io_uring_sqe* sqe) {
      io_uring_prep_write_fixed(sqe, direct_.get(), base, length, 0, 0);
    }),
              static_cast<int>(length));
    EXPECT_TRUE(stored() == text_);
    const std::string other = store_reverse_of(text_);
    EXPECT_EQ(ring.result_of([&](io_uring_sqe* sqe) {
      io_uring_prep_read_fixed(sqe, direct_.get(), base, length, 0, 0);
    }),
              static_cast<int>(length));
    EXPECT_EQ(memcmp(mapping_.data(), other.data(), length), 0);
    // A part, from the midst to the midst.
    EXPECT_EQ(ring.result_of([&](io_uring_sqe* sqe) {
      io_uring_prep_write_fixed(sqe, direct_.get(), base + 3 * kPage, 20 * kPage, kPage, 0);
    }),
              static_cast<int>(20 * kPage));
    EXPECT_TRUE(stored().substr(kPage, 20 * kPage) == other.substr(3 * kPage, 20 * kPage));
  }

  UniqueFd device_ = open_device();
  UniqueFd buffer_ = create_buffer(device_.get(), length, O_RDWR | O_CLOEXEC, GetParam());
  Mapped mapping_{buffer_.get(), length};
  const std::string text_ = fill(mapping_);
};

TEST_P(DiskAndBuffer, TalkThroughASlotThatHoldsTheDmaBuf) {
  SlotRing ring;
  ASSERT_EQ(ring.make_table(), 0);
  if (query(buffer_.get()).out_direct != DMAWIRE_USABLE)
    GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  ASSERT_EQ(ring.register_slot(device_.get(), buffer_.get(), 0), 0);
  expect_writes_and_reads(ring, nullptr);
}

TEST_P(DiskAndBuffer, TalkThroughAMappingThatIsRegistered) {
  SlotRing ring;
  ASSERT_EQ(ring.make_table(), 0);
  ASSERT_EQ(ring.register_address(mapping_.data(), length, 0), 0);
  expect_writes_and_reads(ring, static_cast<char*>(mapping_.data()));
}

TEST_P(DiskAndBuffer, TalkByOrdinaryCalls) {
  ASSERT_EQ(pwrite(direct_.get(), mapping_.data(), length, 0), static_cast<ssize_t>(length))
      << strerror(errno);
  EXPECT_TRUE(stored() == text_);
  const std::string other = store_reverse_of(text_);
  ASSERT_EQ(pread(direct_.get(), mapping_.data(), length, 0), static_cast<ssize_t>(length))
      << strerror(errno);
  EXPECT_EQ(memcmp(mapping_.data(), other.data(), length), 0);
}

/// Of a CMA area, too, if the guest has one.
TEST_F(Disk, TalksToContiguousMemory) {
  for (const uint32_t flags : {0U, uint32_t{DMAWIRE_CREATE_CMA}}) {
    if (flags != 0 && (module_info().out_features & DMAWIRE_FEATURE_CMA) == 0)
      continue;
    SCOPED_TRACE(flags);
    const UniqueFd buffer = create(open_device().get(), contig_request(length, flags));
    const Mapped mapping{buffer.get(), length};
    const std::string text = fill(mapping);
    ASSERT_EQ(pwrite(direct_.get(), mapping.data(), length, 0), static_cast<ssize_t>(length))
        << strerror(errno);
    EXPECT_TRUE(stored() == text);
    const std::string other = store_reverse_of(text);
    ASSERT_EQ(pread(direct_.get(), mapping.data(), length, 0), static_cast<ssize_t>(length))
        << strerror(errno);
    EXPECT_EQ(memcmp(mapping.data(), other.data(), length), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, DiskAndBuffer, testing::ValuesIn(layouts), layout_name);

/// The control: the same calls on the kernel's own exporter.
TEST_F(Disk, CannotTalkToAMappingOfUdmabuf) {
  load_kernel_module("udmabuf");  // fails where it is built in
  if (access("/dev/udmabuf", R_OK | W_OK) != 0)
    GTEST_SKIP() << "this kernel has no /dev/udmabuf";
  const std::vector<Buffer> buffers = make_buffers(Exporter::udmabuf, Layout::pages, 1, length);
  const Mapped mapping{buffers.at(0).fd(), length};
  ASSERT_EQ(mapping.error(), 0);
  const std::string text = fill(mapping);
  EXPECT_EQ(pwrite(direct_.get(), mapping.data(), length, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  store_reverse_of(text);
  EXPECT_EQ(pread(direct_.get(), mapping.data(), length, 0), -1);
  EXPECT_EQ(errno, EFAULT);
}

}  // namespace
}  // namespace dmawire::test
