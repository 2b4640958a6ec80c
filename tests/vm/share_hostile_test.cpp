// SPDX-License-Identifier: MIT
//
// Clients of `uring_app share` that try to stop it: docs/sharing.md, "Trust", is the contract.
// tests/unit/share_hostile_test.cpp has the tests that need no dma-buf.

#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <chrono>
#include <dmawire/drm_device.hpp>
#include <dmawire/packet_socket.hpp>
#include <dmawire/share_client.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eventually.hpp"
#include "process.hpp"
#include "transfer.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

using namespace std::chrono_literals;

const std::string place = "/tmp/hostile.socket";
const std::string sample = "/usr/bin/dmawire_vm_test";

/// `uring_app share`, while it is to run and to its end.
class Owner {
 public:
  explicit Owner(const Words& options)
      : process_{words({"uring_app", "share", place, "--json"}, options)} {
    process_.wait_for_line("sharing ");
  }
  Process& process() { return process_; }

  nlohmann::json finish() {
    const Process::Result result = process_.wait(40s);
    EXPECT_EQ(result.status, 0) << result.err;
    nlohmann::json report = nlohmann::json::parse(result.out, nullptr, false);
    EXPECT_FALSE(report.is_discarded()) << result.err;
    return report;
  }

 private:
  Process process_;
};

/// Work of a device that ends ten seconds after it has begun, on a buffer of that device: imported,
/// its fence is one of another dma-buf.
class ForeignFence {
 public:
  explicit ForeignFence(const UniqueFd& card)
      : buffer_(DrmDevice{vgem_path()}.create(4096).to_buffer()),
        handle_(card, buffer_.fd()),
        fence_(card, handle_.number(), VgemFence::Access::kWrite) {
    EXPECT_EQ(fence_.error(), 0);
    dma_buf_export_sync_file request{.flags = DMA_BUF_SYNC_RW, .fd = -1};
    EXPECT_EQ(::ioctl(buffer_.fd(), DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &request), 0);
    sync_file_.reset(request.fd);
  }

  void import_into(int dmabuf) const {
    dma_buf_import_sync_file request{.flags = DMA_BUF_SYNC_WRITE, .fd = sync_file_.get()};
    EXPECT_EQ(::ioctl(dmabuf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &request), 0);
  }
  [[nodiscard]] bool pending() const {
    pollfd entry{.fd = sync_file_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) == 0;
  }

 private:
  Buffer buffer_;
  VgemHandle handle_;
  VgemFence fence_;
  UniqueFd sync_file_;
};

class ShareFence : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    card_ = open_vgem();
    if (!card_.valid()) {
      GTEST_SKIP() << "this kernel has no vgem";
    }
  }
  UniqueFd card_;
};
INSTANTIATE_TEST_SUITE_P(Every, ShareFence, testing::Values("pages", "memfd", "contig"),
                         [](const auto& parameter) { return std::string{parameter.param}; });

TEST_P(ShareFence, OfAClientStopsNeitherFramesNorSignals) {
  Owner owner{{"--file", sample, "--buffers", "4", "--clients", "1", "--backing", GetParam()}};
  ShareClient client{place};
  const ForeignFence fence{card_};
  for (const Buffer& buffer : client.pool().buffers()) {
    fence.import_into(buffer.fd());
  }
  std::uint64_t frames = 0;
  while (frames < 12 && fence.pending()) {
    while (client.next()) {
      ++frames;
    }
    client.give_back();
    pollfd entry{.fd = client.fd(), .events = POLLIN, .revents = 0};
    ::poll(&entry, 1, 100);
  }
  EXPECT_GE(frames, 12U) << "the owner waits for the fence";
  ASSERT_EQ(::kill(owner.process().pid(), SIGINT), 0);
  EXPECT_TRUE(eventually([&] {
    client.wait();
    while (client.next()) {
    }
    client.give_back();
    return client.failure() == std::error_code{ENODATA, std::system_category()};
  }));
  const nlohmann::json shared = owner.finish();
  EXPECT_TRUE(fence.pending()) << "the owner ended because the fence did, or the guest is slow";
  EXPECT_EQ(shared["home"], shared["pool"]);
}

TEST(ShareHostile, SilentClientsKeepNobodyOut) {
  Owner owner{{"--device", "0", "--rate", "100", "--size", "4K", "--clients", "2"}};
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 6; ++i) {
    silent.push_back(connect_packets(place));
  }
  std::unique_ptr<ShareClient> client;
  ASSERT_NO_THROW(client = std::make_unique<ShareClient>(place));
  EXPECT_TRUE(eventually([&] { return client->next().has_value(); }));
  client.reset();
  ASSERT_EQ(::kill(owner.process().pid(), SIGINT), 0);
  (void)owner.finish();
}

TEST(ShareHostile, AClientThatNeverReadsDoesNotKeepItFromEnding) {
  Owner owner{
      {"--device", "0", "--rate", "500", "--size", "4K", "--clients", "2", "--frames", "100"}};
  const UniqueFd client = connect_packets(place);
  const dmawire_share_hello hello{
      .header = {.type = DMAWIRE_SHARE_HELLO, .size = sizeof(hello), .count = 0, .reserved = 0},
      .magic = DMAWIRE_SHARE_MAGIC,
      .version = DMAWIRE_SHARE_VERSION,
      .hold = 0,
      .flags = 0};
  ASSERT_EQ(::send(client.get(), &hello, sizeof(hello), 0), static_cast<ssize_t>(sizeof(hello)));
  const nlohmann::json shared = owner.finish();
  EXPECT_EQ(shared["frames"], 100);
  EXPECT_EQ(shared["home"], shared["pool"]);
  EXPECT_GT(shared["reclaimed"], 0);
}

TEST(ShareHostile, AClientThatKeepsItsFramesDoesNotKeepItFromEnding) {
  Owner owner{
      {"--device", "0", "--rate", "500", "--size", "4K", "--clients", "2", "--frames", "100"}};
  ShareClient client{place};
  std::vector<LentFrame> kept;
  while (!client.wait()) {
    while (auto lent = client.next()) {
      kept.push_back(std::move(*lent));
    }
  }
  EXPECT_GT(kept.size(), 0U);
  const nlohmann::json shared = owner.finish();
  EXPECT_EQ(shared["home"], shared["pool"]);
  EXPECT_GE(shared["reclaimed"], kept.size());
}

}  // namespace
}  // namespace dmawire::test
