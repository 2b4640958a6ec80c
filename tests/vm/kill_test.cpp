// SPDX-License-Identifier: MIT
// Processes that do everything with buffers at once and are killed in the middle of it.
#include <drm/drm.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "abi.hpp"
#include "cards.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "leak_check.hpp"
#include "loopback.hpp"
#include "mapped.hpp"
#include "pass_fd.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Random = std::mt19937;

unsigned pick(Random& random, unsigned choices) {
  return static_cast<unsigned>(random() % choices);
}

enum Action : unsigned {
  create,
  map_and_touch,
  unmap,
  register_by_command,
  register_by_address,
  unregister,
  send,
  share,
  attach,
  detach,
  synchronize,
  release,
  renew_ring,
  actions,
};

constexpr std::array<const char*, actions> action_names = {"create",
                                                           "map and touch",
                                                           "unmap",
                                                           "register by command",
                                                           "register by address",
                                                           "unregister",
                                                           "send",
                                                           "share",
                                                           "attach",
                                                           "detach",
                                                           "synchronize",
                                                           "release",
                                                           "renew ring"};

/// Progress of the workers, in memory shared with the process that kills them.
struct Progress {
  std::atomic<unsigned> acts;                            ///< that this worker has done
  std::array<std::atomic<unsigned>, actions> successes;  ///< of every action, in all workers
};

/// Features of the machine that the workers use.
struct Offer {
  bool commands;     ///< whether the ring takes dma-bufs
  std::string vgem;  ///< the path of vgem's device node
};

/// Receives descriptors and maps them, until the socket is closed.
[[noreturn]] void be_sibling(int socket) {
  for (int fd; (fd = receive_fd(socket)) >= 0;) {
    Mapped mapping{fd, kPage};
    if (mapping.error() == 0)
      mapping.bytes()[0] = 1;
    close(fd);
  }
  _exit(0);
}

/// Uses buffers in random order until it is killed.
class Worker {
 public:
  Worker(unsigned seed, const Offer& offer, Progress& progress)
      : random_(seed), offer_(offer), progress_(progress) {
    start_sibling();
    make_ring();
    if (pick(random_, 4) == 0) {
      const CardsConnection connection;
      near_.reset(dup(connection.near.get()));
      far_.reset(dup(connection.far.get()));
    } else {
      const Loopback connection;
      near_.reset(dup(connection.near.get()));
      far_.reset(dup(connection.far.get()));
    }
    if (!offer_.vgem.empty())
      card_.reset(open(offer_.vgem.c_str(), O_RDWR | O_CLOEXEC));
    for (Item& item : items_) {
      item_ = &item;
      do_create();
    }
  }

  void act() {
    const auto action = static_cast<Action>(pick(random_, actions));
    slot_ = pick(random_, SlotRing::slots);
    item_ = &items_[pick(random_, static_cast<unsigned>(items_.size()))];
    if (perform(action))
      ++progress_.successes[action];
    take_completions();
    ++progress_.acts;
  }

 private:
  struct Item {
    UniqueFd dmabuf;
    size_t length = 0;
    Mapped mapping;
    uint32_t handle = 0;
  };

  void start_sibling() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
      throw std::runtime_error("no socket pair");
    if (fork() == 0) {
      close(ends[0]);
      be_sibling(ends[1]);
    }
    close(ends[1]);
    sibling_.reset(ends[0]);
  }

  void make_ring() {
    ring_.emplace();
    ring_->make_table();
  }

  bool perform(Action action) {
    switch (action) {
      case create:
        return do_create();
      case map_and_touch:
        return do_map_and_touch();
      case unmap:
        return std::exchange(item_->mapping, Mapped{}).data() != MAP_FAILED;
      case register_by_command:
        return offer_.commands && do_register_by_command();
      case register_by_address:
        return item_->mapping.data() != MAP_FAILED && do_register_by_address();
      case unregister:
        return do_unregister();
      case send:
        do_send();
        return false;  // not before its completion says so
      case share:
        return item_->dmabuf.valid() && send_fd(sibling_.get(), item_->dmabuf.get());
      case attach:
        return do_attach();
      case detach:
        return do_detach();
      case synchronize:
        return sync(item_->dmabuf.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW) == 0 &&
               sync(item_->dmabuf.get(), DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW) == 0;
      case release:
        item_->mapping.reset();
        return std::exchange(item_->dmabuf, UniqueFd{}).valid();
      default:
        return do_renew_ring();
    }
  }

  bool do_create() {
    dmawire_create request = create_request(kPage << pick(random_, 11));
    request.flags = layouts[pick(random_, 2)];
    if (call(device_.get(), DMAWIRE_IOC_CREATE, &request) != 0)
      return false;
    item_->mapping.reset();
    item_->dmabuf.reset(request.out_fd);
    item_->length = request.out_length;
    return true;
  }

  bool do_map_and_touch() {
    if (!item_->dmabuf.valid())
      return false;
    item_->mapping = Mapped{item_->dmabuf.get(), item_->length};
    if (item_->mapping.error() != 0)
      return false;
    for (size_t at = 0; at < item_->length; at += kPage)
      item_->mapping.bytes()[at] = 1;
    return true;
  }

  bool do_unregister() {
    if (offer_.commands && pick(random_, 2) == 0) {
      const dmawire_uring_unregister argument{.size = sizeof(argument), .slot = slot_};
      return ring_->command(device_.get(), DMAWIRE_URING_CMD_UNREGISTER, &argument) == 0;
    }
    return ring_->register_address(nullptr, 0, slot_) == 0;
  }

  bool do_register_by_command() {
    if (ring_->register_slot(device_.get(), item_->dmabuf.get(), slot_) != 0)
      return false;
    contents_[slot_] = {nullptr, item_->length};
    return true;
  }

  bool do_register_by_address() {
    if (ring_->register_address(item_->mapping.data(), item_->length, slot_) != 0)
      return false;
    contents_[slot_] = {item_->mapping.data(), item_->length};
    return true;
  }

  /// Sends the current or the last contents of the slot.
  void do_send() {
    discard_what_arrived();
    const iovec& range = contents_[slot_];
    ring_->submit([&](io_uring_sqe* sqe) {
      io_uring_prep_send_zc_fixed(sqe, near_.get(), range.iov_base, range.iov_len, MSG_WAITALL, 0,
                                  slot_);
    });
  }

  bool do_attach() {
    drm_prime_handle request = {.handle = 0, .flags = 0, .fd = item_->dmabuf.get()};
    if (!card_.valid() || call(card_.get(), DRM_IOCTL_PRIME_FD_TO_HANDLE, &request) != 0)
      return false;
    item_->handle = request.handle;
    return true;
  }

  bool do_detach() {
    drm_gem_close request = {.handle = std::exchange(item_->handle, 0), .pad = 0};
    return request.handle != 0 && call(card_.get(), DRM_IOCTL_GEM_CLOSE, &request) == 0;
  }

  /// Seldom, so that slots are in use.
  bool do_renew_ring() {
    if (pick(random_, 4) != 0)
      return false;
    make_ring();
    return true;
  }

  void discard_what_arrived() {
    while (recv(far_.get(), nullptr, kMiB, MSG_DONTWAIT | MSG_TRUNC) > 0) {
    }
  }

  void take_completions() {
    io_uring_cqe* cqe = nullptr;
    while (io_uring_peek_cqe(ring_->get(), &cqe) == 0) {
      if (cqe->res > 0)
        ++progress_.successes[send];
      io_uring_cqe_seen(ring_->get(), cqe);
    }
  }

  Random random_;
  const Offer& offer_;
  Progress& progress_;
  UniqueFd device_ = open_device();
  UniqueFd sibling_;
  UniqueFd card_;
  UniqueFd near_;
  UniqueFd far_;
  std::optional<SlotRing> ring_;
  std::array<iovec, SlotRing::slots> contents_ = {};
  std::array<Item, 6> items_;
  Item* item_ = nullptr;
  unsigned slot_ = 0;
};

[[noreturn]] void be_worker(unsigned seed, const Offer& offer, Progress& progress) {
  setpgid(0, 0);
  alarm(60);  // in case the process that is to kill us does not
  try {
    Worker worker{seed, offer, progress};
    for (;;)
      worker.act();
  } catch (const std::exception& error) {
    fprintf(stderr, "worker: %s\n", error.what());
    _exit(2);
  }
}

class Kill : public testing::Test {
 protected:
  void SetUp() override {
    // The workers' siblings become our children when the workers are gone.
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    void* const shared =
        mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(shared, MAP_FAILED);
    progress_ = new (shared) Progress{};

    const UniqueFd buffer = create_buffer(open_device().get(), kPage);
    offer_.commands = query(buffer.get()).out_direct == DMAWIRE_USABLE;
    offer_.vgem = vgem_path();
  }
  void TearDown() override {
    munmap(progress_, sizeof(Progress));
    prctl(PR_SET_CHILD_SUBREAPER, 0);
  }

  /// One life, and its end: by chance before it has begun to work, with its sibling or without.
  void kill_one(unsigned seed) {
    SCOPED_TRACE("DMAWIRE_SEED=" + std::to_string(seed));
    Random random{~seed};
    progress_->acts = 0;
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0)
      be_worker(seed, offer_, *progress_);
    setpgid(pid, pid);
    if (pick(random, 4) != 0)
      await_acts(1 + pick(random, 100));
    std::this_thread::sleep_for(std::chrono::microseconds{pick(random, 5'000)});
    kill(pick(random, 2) == 0 ? pid : -pid, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    while (waitpid(-pid, nullptr, 0) > 0) {
    }
  }

  void await_acts(unsigned count) const {
    EXPECT_TRUE(eventually([&] { return progress_->acts >= count; }))
        << "the worker does not get on";
  }

  void expect_nothing_left() {
    ASSERT_TRUE(eventually([] { return module_info().out_buffers == 0; }));
    ASSERT_EQ(module_info().out_bytes, 0U);
    expect_reloads();
  }

  Offer offer_ = {};
  Progress* progress_ = nullptr;
};

TEST_F(Kill, LeavesNothingWhateverTheProcessWasDoing) {
  constexpr unsigned round = 25;
  const unsigned kills = from_environment("DMAWIRE_KILLS", 100);
  const unsigned seed = from_environment("DMAWIRE_SEED", std::random_device{}());
  printf("kill: DMAWIRE_SEED=%u\n", seed);
  const uint64_t memory = free_memory();
  const auto begin = Clock::now();
  for (unsigned done = 0; done < kills; ++done) {
    kill_one(seed + done);
    if ((done + 1) % round == 0 || done + 1 == kills) {
      ASSERT_NO_FATAL_FAILURE(expect_nothing_left()) << "after kill " << done;
    }
  }
  const std::chrono::duration<double> took = Clock::now() - begin;
  expect_free_memory(memory, "the kills");
  printf("killed %u times in %.1f s, %.0f ms each\n", kills, took.count(),
         took.count() * 1000 / kills);
  for (unsigned action = 0; action < actions; ++action) {
    const unsigned count = progress_->successes[action];
    printf("  %s: %u\n", action_names[action], count);
    const bool offered = action == register_by_command          ? offer_.commands
                         : action == attach || action == detach ? !offer_.vgem.empty()
                                                                : true;
    if (offered && kills >= round) {
      EXPECT_GT(count, 0U) << action_names[action];
    }
  }
  fflush(stdout);
}

}  // namespace
}  // namespace dmawire::test
