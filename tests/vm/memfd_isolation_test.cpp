// SPDX-License-Identifier: MIT
// What a buffer of a memfd gives nobody: other processes' memory in pages that are only reserved.
// They hold it where the kernel does not clear them: ci/vm --append init_on_alloc=0, or machine
// `debug`.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>

#include "abi.hpp"
#include "capturing.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"

namespace dmawire::test {
namespace {

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

/// A memfd whose pages fallocate(2) has reserved and nobody has touched, of small pages, or
/// of transparent huge ones.
class ReservedMemfd : public testing::TestWithParam<const char*> {
 protected:
  static constexpr size_t kLength = 4 * kMiB;

  void SetUp() override {
    if (!huge_pages_.available())
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
  ASSERT_EQ(queue.give(index, kPage, 3 * kPage), 0);
  ASSERT_EQ(queue.start(), 0);
  EXPECT_EQ(queue.take().out_result, static_cast<int>(3 * kPage));
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
