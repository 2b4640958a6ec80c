// SPDX-License-Identifier: MIT
// A buffer of a memfd never exposes pages outside its range, other processes' memory in pages that
// are only reserved, or a way into a sealed file. Reserved pages hold other memory where the kernel
// does not clear them: ci/vm --append init_on_alloc=0, or machine `debug`.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>

#include "abi.hpp"
#include "capturing.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

/// DRM maps its first object at this offset of the card's node, imported objects too, although
/// DRM_IOCTL_MODE_MAP_DUMB does not return it for them.
constexpr off_t kFirstObject = off_t{1} << 32;

int add_seal(const UniqueFd& memfd, int seal) {
  return fcntl(memfd.get(), F_ADD_SEALS, seal) == 0 ? 0 : errno;
}

int remap_error(std::span<uint8_t> pages, size_t offset_in_file) {
  return remap_file_pages(pages.data(), pages.size(), 0, offset_in_file / kPage, 0) == 0 ? 0
                                                                                         : errno;
}

int protect_error(std::span<uint8_t> pages, int protection) {
  return mprotect(pages.data(), pages.size(), protection) == 0 ? 0 : errno;
}

int open_error(const std::string& path, int flags) {
  const UniqueFd file(open(path.c_str(), flags | O_CLOEXEC));
  return file.valid() ? 0 : errno;
}

/// A memfd of four pages, which begin with a, b, c and d. Buffers have the two in the middle.
class MemfdRange : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    if (!pages_.available())
      GTEST_SKIP() << "this guest has no pages of " << page() / kMiB << " MiB to spare";
    memfd_ = make_memfd(4 * page(), page());
    write_file();
  }

  [[nodiscard]] static size_t page() { return GetParam(); }
  [[nodiscard]] static size_t length() { return 2 * page(); }

  void write_file() const {
    const AlignedMapping file(memfd_.get(), 4 * page(), page());
    ASSERT_EQ(file.error(), 0);
    for (size_t i = 0; i < 4; ++i)
      file.bytes()[i * page()] = static_cast<uint8_t>('a' + i);
  }
  [[nodiscard]] std::string read_file() const {
    const AlignedMapping file(memfd_.get(), 4 * page(), page(), 0, PROT_READ);
    if (file.error() != 0)
      return strerror(file.error());
    std::string first_bytes;
    for (size_t i = 0; i < 4; ++i)
      first_bytes += static_cast<char>(file.bytes()[i * page()]);
    return first_bytes;
  }
  void punch_everything() const {
    ASSERT_EQ(fallocate(memfd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        static_cast<off_t>(4 * page())),
              0);
  }

  [[nodiscard]] UniqueFd make(uint32_t direction = DMAWIRE_FROM_DEVICE, int access = O_RDWR) const {
    dmawire_create request = memfd_request(memfd_.get(), page(), length());
    request.direction = direction;
    request.fd_flags = static_cast<uint32_t>(access | O_CLOEXEC);
    return create(device_.get(), request);
  }
  [[nodiscard]] static AlignedMapping map(const UniqueFd& fd,
                                          int protection = PROT_READ | PROT_WRITE) {
    return {fd.get(), length(), page(), 0, protection};
  }
  [[nodiscard]] static AlignedMapping map_object(const UniqueFd& card, int protection) {
    return {card.get(), length(), page(), kFirstObject, protection};
  }

  HugePages pages_{page(), 8};  // a buffer keeps the pages that a hole removed from the file
  UniqueFd device_ = open_device();
  UniqueFd memfd_;
};

INSTANTIATE_TEST_SUITE_P(Pages, MemfdRange, testing::Values(kPage, 2 * kMiB),
                         [](const auto& instance) {
                           return std::string(instance.param == kPage ? "Small" : "Of2M");
                         });

TEST_P(MemfdRange, CannotBeLeftWithRemapFilePages) {
  const UniqueFd buffer = make();
  const AlignedMapping ours = map(buffer);
  ASSERT_EQ(ours.error(), 0);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(remap_error(ours.bytes().first(page()), i * page()), ENODEV) << i;
  EXPECT_EQ(ours.bytes()[0], 'b');
  EXPECT_EQ(ours.bytes()[page()], 'c');
}

TEST_P(MemfdRange, CannotBeLeftThroughTheMappingOfAnImporter) {
  const UniqueFd card = open_vgem();
  if (!card.valid())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  const UniqueFd buffer = make();
  const VgemHandle handle(card, buffer.get());
  ASSERT_EQ(handle.error(), 0);
  const AlignedMapping theirs = map_object(card, PROT_READ | PROT_WRITE);
  ASSERT_EQ(theirs.error(), 0) << strerror(theirs.error());
  EXPECT_EQ(theirs.bytes()[0], 'b');
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(remap_error(theirs.bytes().first(page()), i * page()), ENODEV) << i;
  EXPECT_EQ(theirs.bytes()[0], 'b');
}

TEST_P(MemfdRange, OfAReadOnlyDescriptorIsNotWrittenThroughTheMappingOfAnImporter) {
  const UniqueFd card = open_vgem();
  if (!card.valid())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  const UniqueFd buffer = make(DMAWIRE_FROM_DEVICE, O_RDONLY);
  const VgemHandle handle(card, buffer.get());
  ASSERT_EQ(handle.error(), 0);
  EXPECT_EQ(map_object(card, PROT_READ | PROT_WRITE).error(), EACCES);
  const AlignedMapping theirs = map_object(card, PROT_READ);
  ASSERT_EQ(theirs.error(), 0) << strerror(theirs.error());
  EXPECT_EQ(theirs.bytes()[0], 'b');
  EXPECT_EQ(protect_error(theirs.bytes(), PROT_READ | PROT_WRITE), EACCES);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(remap_error(theirs.bytes().first(page()), i * page()), ENODEV) << i;
  EXPECT_EQ(protect_error(theirs.bytes(), PROT_READ | PROT_WRITE), EACCES);
  EXPECT_EQ(theirs.bytes()[0], 'b');
}

TEST_P(MemfdRange, IsNotExceededByMremap) {
  const UniqueFd buffer = make();
  const AlignedMapping ours = map(buffer);
  ASSERT_EQ(ours.error(), 0);
  EXPECT_EQ(mremap(ours.bytes().data(), length(), length() + page(), MREMAP_MAYMOVE), MAP_FAILED);
  EXPECT_EQ(mremap(ours.bytes().data(), 0, length() + page(), MREMAP_MAYMOVE), MAP_FAILED);
}

TEST_P(MemfdRange, IsNotTakenFromTheFileThroughAMapping) {
  const UniqueFd buffer = make();
  const AlignedMapping ours = map(buffer);
  ASSERT_EQ(ours.error(), 0);
  EXPECT_EQ(madvise(ours.bytes().data(), length(), MADV_REMOVE), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(read_file(), "abcd");
}

TEST_P(MemfdRange, IsNotLeftByOpeningTheFileOfAMapping) {
  const UniqueFd buffer = make();
  const AlignedMapping ours = map(buffer);
  ASSERT_EQ(ours.error(), 0);
  EXPECT_EQ(open_error("/proc/self/fd/" + std::to_string(buffer.get()), O_RDWR), ENXIO);

  const auto begin = reinterpret_cast<uintptr_t>(ours.bytes().data());
  char path[64] = {};
  snprintf(path, sizeof(path), "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR, begin,
           begin + length());
  ASSERT_EQ(access(path, F_OK), 0) << path << " " << strerror(errno);
  for (const int flags : {O_RDONLY, O_RDWR, O_PATH})
    EXPECT_EQ(without_rights(0,
                             [&] {
                               prctl(PR_SET_DUMPABLE, 1);
                               return open_error(path, flags);
                             }),
              EPERM)
        << flags;
}

TEST_P(MemfdRange, OfAWritableBufferCannotBeSealedThoughItsPagesAreTheFilesNoMore) {
  for (const int access : {O_RDWR, O_RDONLY}) {
    const UniqueFd buffer = make(DMAWIRE_FROM_DEVICE, access);
    ASSERT_NO_FATAL_FAILURE(punch_everything());
    ASSERT_NO_FATAL_FAILURE(write_file());
    ASSERT_EQ(add_seal(memfd_, F_SEAL_WRITE), EBUSY);
  }
  EXPECT_EQ(add_seal(memfd_, F_SEAL_WRITE), 0) << "the buffers are gone";
}

TEST_P(MemfdRange, CanBeSealedAfterARefusal) {
  EXPECT_EQ(create_error(device_.get(), memfd_request(memfd_.get(), page(), 4 * page())), EINVAL);
  {
    const ModuleParameter limit("max_bytes_per_open", kPage);
    EXPECT_EQ(create_error(device_.get(), memfd_request(memfd_.get(), page(), length())), EDQUOT);
  }
  if (page() != kPage) {
    ASSERT_NO_FATAL_FAILURE(punch_everything());
    EXPECT_EQ(create_error(device_.get(), memfd_request(memfd_.get(), 0, page())), ENOMEM);
  }
  EXPECT_EQ(add_seal(memfd_, F_SEAL_WRITE), 0);
}

TEST_P(MemfdRange, OfABufferForReadingCanBeSealedAndIsNotWritten) {
  const UniqueFd buffer = make(DMAWIRE_TO_DEVICE, O_RDONLY);
  ASSERT_NO_FATAL_FAILURE(punch_everything());
  ASSERT_NO_FATAL_FAILURE(write_file());
  ASSERT_EQ(add_seal(memfd_, F_SEAL_WRITE), 0);
  EXPECT_EQ(map(buffer).error(), EACCES);
  const AlignedMapping ours = map(buffer, PROT_READ);
  ASSERT_EQ(ours.error(), 0);
  EXPECT_EQ(ours.bytes()[0], 'b');
  EXPECT_EQ(protect_error(ours.bytes(), PROT_READ | PROT_WRITE), EACCES);
}

TEST_P(MemfdRange, SealedAgainstFutureWritesHasNoNewMappingThatWrites) {
  const UniqueFd buffer = make();
  const AlignedMapping before = map(buffer);
  ASSERT_EQ(add_seal(memfd_, F_SEAL_FUTURE_WRITE), 0);
  EXPECT_EQ(map(buffer).error(), EPERM);
  const AlignedMapping ours = map(buffer, PROT_READ);
  ASSERT_EQ(ours.error(), 0);
  EXPECT_EQ(protect_error(ours.bytes(), PROT_READ | PROT_WRITE), EACCES);

  before.bytes()[0] = 'B';
  EXPECT_EQ(ours.bytes()[0], 'B') << "like a mapping of the memfd that was there before";
}

TEST_P(MemfdRange, SealedAgainstFutureWritesHasNoneThroughAnImporter) {
  const UniqueFd card = open_vgem();
  if (!card.valid())
    GTEST_SKIP() << "this kernel has no vgem to attach to";
  const UniqueFd buffer = make();
  const VgemHandle handle(card, buffer.get());
  ASSERT_EQ(handle.error(), 0);
  ASSERT_EQ(add_seal(memfd_, F_SEAL_FUTURE_WRITE), 0);
  EXPECT_EQ(map_object(card, PROT_READ | PROT_WRITE).error(), EPERM);
  const AlignedMapping theirs = map_object(card, PROT_READ);
  ASSERT_EQ(theirs.error(), 0);
  EXPECT_EQ(protect_error(theirs.bytes(), PROT_READ | PROT_WRITE), EACCES);
}

TEST_P(MemfdRange, StaysABuffersAsLongAsItIsMapped) {
  UniqueFd buffer = make();
  {
    const AlignedMapping ours = map(buffer);
    ASSERT_EQ(ours.error(), 0);
    buffer.reset();
    EXPECT_EQ(info(device_.get()).out_open_bytes, length());
    EXPECT_EQ(ours.bytes()[page()], 'c');
  }
  EXPECT_EQ(info(device_.get()).out_open_bytes, 0u);
  EXPECT_EQ(add_seal(memfd_, F_SEAL_WRITE), 0);
}

/// A setting of the kernel's for as long as it lives.
class HugePagesOfShmem {
 public:
  explicit HugePagesOfShmem(const std::string& setting) {
    const std::string all = read_text(path);
    const size_t begin = all.find('[') + 1;
    before_ = all.substr(begin, all.find(']') - begin);
    available_ = write_text(path, setting);
  }
  ~HugePagesOfShmem() { write_text(path, before_); }
  HugePagesOfShmem(const HugePagesOfShmem&) = delete;
  HugePagesOfShmem& operator=(const HugePagesOfShmem&) = delete;

  [[nodiscard]] bool available() const { return available_; }

 private:
  static constexpr const char* path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
  std::string before_;
  bool available_ = false;
};

/// A memfd with pages that fallocate(2) has reserved and no access has filled, small or transparent
/// huge ones.
class ReservedMemfd : public testing::TestWithParam<const char*> {
 protected:
  static constexpr size_t kLength = 4 * kMiB;

  void SetUp() override {
    if (!huge_pages_.available() && GetParam() != std::string{"never"})
      GTEST_SKIP() << "this kernel has no transparent huge pages of shmem";
    dirty_memory(free_memory() / 2);
    memfd_ = make_memfd(kLength);
    ASSERT_EQ(fallocate(memfd_.get(), 0, 0, kLength), 0);
    buffer_ = create(device_.get(), memfd_request(memfd_.get(), kPage, kLength - kPage));
  }

  HugePagesOfShmem huge_pages_{GetParam()};
  UniqueFd device_ = open_device();
  UniqueFd memfd_;
  UniqueFd buffer_;
};

INSTANTIATE_TEST_SUITE_P(Pages, ReservedMemfd, testing::Values("never", "force"),
                         [](const auto& instance) {
                           return std::string(instance.param[0] == 'n' ? "Small" : "Huge");
                         });

TEST_P(ReservedMemfd, HoldsZeroesBeforeAnythingIsWritten) {
  const std::string seen = read_through_slot(device_.get(), buffer_.get(), kLength - kPage);
  if (seen.empty())
    GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  EXPECT_EQ(std::ranges::count(seen, '\0'), static_cast<ptrdiff_t>(seen.size()));
}

TEST_P(ReservedMemfd, KeepsWhatADeviceWroteWhenItIsMapped) {
  const CaptureQueue queue{device_.get()};
  uint32_t index = 0;
  ASSERT_EQ(queue.attach(buffer_.get(), &index), 0);
  ASSERT_EQ(queue.enqueue(index, kPage, 3 * kPage), 0);
  ASSERT_EQ(queue.start(), 0);
  EXPECT_EQ(queue.dequeue().out_result, static_cast<int>(3 * kPage));
  EXPECT_EQ(queue.stop(), 0);
  EXPECT_EQ(queue.detach(index), 0);

  const Mapped ours(buffer_.get(), kLength - kPage);
  EXPECT_EQ(frame_fault(ours.bytes().subspan(kPage, 3 * kPage), 0), "");
  EXPECT_EQ(std::ranges::count(ours.bytes().subspan(4 * kPage), 0),
            static_cast<ptrdiff_t>(kLength - 5 * kPage));
  const Mapped file(memfd_.get(), kLength);
  EXPECT_EQ(frame_fault(file.bytes().subspan(2 * kPage, 3 * kPage), 0), "");
}

}  // namespace
}  // namespace dmawire::test
