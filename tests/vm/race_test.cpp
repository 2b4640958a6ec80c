// SPDX-License-Identifier: MIT
// Every pair of calls at the same time, on one device and one dma-buf.
#include <drm/drm.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/dma-buf.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "abi.hpp"
#include "capture_queue.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "resource_snapshot.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kLength = 64 * kPage;
constexpr unsigned kSlot = 1;

std::chrono::milliseconds time_for_a_pair() {
  return std::chrono::milliseconds{from_environment("DMAWIRE_RACE_MS", 100)};
}

/// A ring that threads take turns to use: io_uring's own memory wants that.
class SharedRing {
 public:
  SharedRing() { EXPECT_EQ(ring_.make_table(), 0); }

  int command(int device, unsigned op, const void* argument) {
    const std::lock_guard lock{mutex_};
    return ring_.command(device, op, argument);
  }

 private:
  std::mutex mutex_;
  SlotRing ring_;
};

/// The objects that the threads race for.
struct Ground {
  int card;  ///< vgem, or -1
  UniqueFd device{open("/dev/dmawire0", O_RDWR | O_CLOEXEC | O_NONBLOCK)};
  UniqueFd dmabuf = create_buffer(device.get(), kLength);
  /// The number that is closed and reused: far from the numbers that the kernel assigns by itself.
  UniqueFd number{fcntl(dmabuf.get(), F_DUPFD_CLOEXEC, 512)};
  SharedRing ring;
};

/// One of the two threads.
struct Racer {
  Ground& ground;
  SharedRing& own_ring;
};

int race_info(Racer& racer) {
  dmawire_info request = {};
  request.size = sizeof(request);
  return call(racer.ground.device.get(), DMAWIRE_IOC_INFO, &request);
}

int race_create(Racer& racer) {
  return try_create(racer.ground.device.get(), kLength);
}

int race_query(Racer& racer) {
  dmawire_query request = {};
  request.size = sizeof(request);
  request.fd = racer.ground.number.get();
  return call(racer.ground.device.get(), DMAWIRE_IOC_QUERY, &request);
}

int race_sync(Racer& racer) {
  const int error = sync(racer.ground.dmabuf.get(), DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
  return error != 0 ? error : sync(racer.ground.dmabuf.get(), DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
}

int race_map(Racer& racer) {
  const Mapped mapping{racer.ground.dmabuf.get(), kLength};
  if (mapping.error() == 0)
    std::atomic_ref{mapping.bytes()[kLength / 2]}.store(1);
  return mapping.error();
}

int register_in(SharedRing& ring, Racer& racer) {
  const dmawire_uring_register argument{.size = sizeof(argument),
                                        .fd = racer.ground.number.get(),
                                        .slot = kSlot,
                                        .offset = 0,
                                        .length = 0};
  return ring.command(racer.ground.device.get(), DMAWIRE_URING_CMD_REGISTER, &argument);
}

int unregister_in(SharedRing& ring, Racer& racer) {
  const dmawire_uring_unregister argument{.size = sizeof(argument), .slot = kSlot};
  return ring.command(racer.ground.device.get(), DMAWIRE_URING_CMD_UNREGISTER, &argument);
}

int race_own_ring(Racer& racer) {
  const int error = register_in(racer.own_ring, racer);
  return error != 0 ? error : unregister_in(racer.own_ring, racer);
}

int race_register(Racer& racer) {
  return register_in(racer.ground.ring, racer);
}

int race_unregister(Racer& racer) {
  return unregister_in(racer.ground.ring, racer);
}

int race_reopen(Racer& racer) {
  const int number = racer.ground.number.get();
  close(number);
  return dup3(racer.ground.dmabuf.get(), number, O_CLOEXEC) < 0 ? errno : 0;
}

/// The capture calls share one ground, too: the same dma-buf, attached or not, queued or not.
int race_capture_attach(Racer& racer) {
  const CaptureQueue queue{racer.ground.device.get()};
  uint32_t index = 0;
  const int error = queue.attach(racer.ground.dmabuf.get(), &index);
  return error != 0 ? error : queue.detach(index);
}

int race_capture_enqueue(Racer& racer) {
  return CaptureQueue{racer.ground.device.get()}.enqueue(0, 0, kPage);
}

int race_capture_dequeue(Racer& racer) {
  dmawire_dequeue taken;
  return CaptureQueue{racer.ground.device.get()}.dequeue(&taken);
}

int race_capture_start(Racer& racer) {
  return CaptureQueue{racer.ground.device.get()}.start();
}

int race_capture_stop(Racer& racer) {
  return CaptureQueue{racer.ground.device.get()}.stop();
}

/// Captures in a ring that ends: its exit cancels its queued captures.
int race_capture_ring(Racer& racer) {
  SlotRing ring;
  dmawire_uring_capture capture{};
  capture.size = sizeof(capture);
  capture.length = kPage;
  ring.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, racer.ground.device.get(), &capture, 0, 0);
    sqe->cmd_op = DMAWIRE_URING_CMD_CAPTURE;
  });
  return 0;
}

int race_attach(Racer& racer) {
  drm_prime_handle request = {.handle = 0, .flags = 0, .fd = racer.ground.dmabuf.get()};
  if (const int error = call(racer.ground.card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &request))
    return error;
  drm_gem_close handle = {.handle = request.handle, .pad = 0};
  return call(racer.ground.card, DRM_IOCTL_GEM_CLOSE, &handle);
}

/// While it lives, changes the fields that decide whether a struct is accepted.
class Tearer {
 public:
  explicit Tearer(dmawire_create& request) : thread_([this, &request] { tear(request); }) {}
  ~Tearer() {
    over_ = true;
    thread_.join();
  }
  Tearer(const Tearer&) = delete;
  Tearer& operator=(const Tearer&) = delete;

 private:
  void tear(dmawire_create& request) const {
    constexpr uint32_t sizes[] = {0, sizeof(request), sizeof(request) + 8, ~uint32_t{0}};
    for (uint32_t i = 0; !over_; ++i) {
      std::atomic_ref{request.size}.store(sizes[i % 4]);
      std::atomic_ref{request.flags}.store(i / 4 % 3);
      reinterpret_cast<std::atomic<uint64_t>&>(request.length).store(i % 5 * kLength);
    }
  }

  std::atomic<bool> over_ = false;
  std::thread thread_;
};

int race_torn_struct(Racer& racer) {
  struct {
    dmawire_create request;
    uint64_t beyond;  // included by a size that is too large
  } torn = {create_request(kLength), 0};
  const Tearer tearer{torn.request};
  for (int i = 0; i < 20; ++i) {
    const int error = call(racer.ground.device.get(), DMAWIRE_IOC_CREATE, &torn.request);
    if (error == 0)
      close(torn.request.out_fd);
    else if (error != EINVAL && error != E2BIG)
      return error;
  }
  return 0;
}

/// Something to do over and over.
struct Call {
  const char* name;
  int (*perform)(Racer& racer);  ///< its errno, or 0
  std::vector<int> errors;       ///< that it may give
  bool uring = false;
};

// QUERY and REGISTER may find the number closed. Handles of one DRM file are shared, so that the
// other thread may have closed the one that this one got. A capture finds the dma-buf attached or
// not.
const std::vector<Call> kCalls = {
    {"Info", race_info, {}},
    {"Create", race_create, {}},
    {"Query", race_query, {EBADF}},
    {"Sync", race_sync, {}},
    {"Map", race_map, {}},
    {"RegisterAndUnregisterInItsOwnRing", race_own_ring, {EBADF}, true},
    {"RegisterInTheCommonRing", race_register, {EBADF, EBUSY}, true},
    {"UnregisterInTheCommonRing", race_unregister, {EINVAL}, true},
    {"Reopen", race_reopen, {}},
    {"Attach", race_attach, {EINVAL}},
    {"TornStruct", race_torn_struct, {}},
    {"CaptureAttachAndDetach", race_capture_attach, {EBUSY, EINVAL}},
    {"CaptureGive", race_capture_enqueue, {EBUSY, EINVAL, EAGAIN}},
    {"CaptureTake", race_capture_dequeue, {EAGAIN, ECANCELED}},
    {"CaptureStart", race_capture_start, {EBUSY}},
    {"CaptureStop", race_capture_stop, {}},
    {"CaptureInARingThatEnds", race_capture_ring, {}},
};

/// Each call with itself and with the later ones.
class Race : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    has_direct_ = has_direct();
    if (!possible(kCalls[GetParam()]))
      GTEST_SKIP() << "this kernel has no vgem to attach to";
  }

  bool possible(const Call& call) const { return call.perform != race_attach || card_.valid(); }

  void race(const Call& one, const Call& other) {
    Ground ground{.card = card_.get()};
    SharedRing rings[2];
    const Call* const both[] = {&one, &other};
    std::barrier start{2};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        Racer racer{ground, rings[i]};
        start.arrive_and_wait();
        repeat(*both[i], racer);
      });
    }
    for (std::thread& thread : threads)
      thread.join();
  }

 private:
  void repeat(const Call& call, Racer& racer) const {
    const Clock::time_point end = Clock::now() + time_for_a_pair();
    do {
      const int error = call.perform(racer);
      if (!may_give(call, error)) {
        ADD_FAILURE() << call.name << ": " << strerrorname_np(error);
        return;
      }
    } while (Clock::now() < end);
  }

  bool may_give(const Call& call, int error) const {
    if (call.uring && !has_direct_)
      return error == EOPNOTSUPP;
    return error == 0 || std::ranges::find(call.errors, error) != call.errors.end();
  }

  UniqueFd card_ = open_vgem();
  bool has_direct_ = false;
};

TEST_P(Race, GivesOnlyWhatIsDocumentedAndLeavesNothing) {
  const Call& one = kCalls[GetParam()];
  const ResourceSnapshot before = ResourceSnapshot::now();
  for (size_t i = GetParam(); i < kCalls.size(); ++i) {
    SCOPED_TRACE(std::string("against ") + kCalls[i].name);
    if (!possible(kCalls[i]))
      continue;  // its own instance says why
    race(one, kCalls[i]);
    ASSERT_EQ(before.settled(), before);
  }
}

INSTANTIATE_TEST_SUITE_P(Pairs, Race, testing::Range(size_t{0}, kCalls.size()),
                         [](const auto& instance) {
                           return std::string(kCalls[instance.param].name);
                         });

}  // namespace
}  // namespace dmawire::test
