// SPDX-License-Identifier: MIT
//
// The calls of an input by which others come into play: fences of another device, the device's
// driver, signals, and the memory cgroup.

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "struct_argument.hpp"

namespace dmawire::fuzz {
namespace {

constexpr std::span<const int> anything{};

// The ABI of the kernel's fences for tests (drivers/dma-buf/sw_sync.c), which has no header.
constexpr const char* timelines = "/sys/kernel/debug/sync/sw_sync";
struct SwSyncFence {
  std::uint32_t value;
  char name[32];
  std::int32_t fence;
};
constexpr std::uint32_t max_fence_value = 2;
constexpr unsigned long create_fence = _IOWR('W', 0, SwSyncFence);
constexpr unsigned long advance = _IOW('W', 1, std::uint32_t);

}  // namespace

void Executor::fence(const Call& call) {
  const std::scoped_lock lock{mutex_};
  const auto how = static_cast<std::uint64_t>(call.get("how")) % 4;
  if (timeline_ < 0) {
    timeline_ = ::open(timelines, O_RDWR | O_CLOEXEC);
  }
  if (how == 2) {
    std::uint32_t one = 1;
    ::ioctl(timeline_, advance, &one);
  } else if (how == 3) {
    close_timeline();
  } else if (SwSyncFence request{.value = how == 0 ? 1 : max_fence_value};
             ::ioctl(timeline_, create_fence, &request) == 0) {
    descriptors_.add({request.fence, Kind::other});
  }
}

// Closing a timeline deadlocks in Linux 7.3 if it has an unsignaled fence whose last reference is a
// poll(2) of a dma-buf: sw_sync_debugfs_release() holds the lock that the fence's release takes.
// Advancing the timeline is safe.
void Executor::close_timeline() {
  if (timeline_ < 0) {
    return;
  }
  std::uint32_t all = max_fence_value;
  ::ioctl(timeline_, advance, &all);
  ::close(timeline_);
  timeline_ = -1;
}

void Executor::change_driver(const Call& call) {
  if (!surroundings_.card.present()) {
    return;
  }
  const std::scoped_lock lock{mutex_};
  const auto how = static_cast<std::uint64_t>(call.get("how")) % 3;
  if (how != 1 && !unbound_) {
    unbound_ = surroundings_.card.driver().unbind();
  }
  if (how != 0 && unbound_) {
    unbound_ = !surroundings_.card.driver().bind();
  }
}

void Executor::signal(const Call& call) {
  const std::scoped_lock lock{mutex_};
  const auto how = static_cast<std::uint64_t>(call.get("how")) % 3;
  if (how == 0) {  // from now on again and again
    impatience_.emplace();
    return;
  }
  for (const pid_t child : children_) {
    if (how == 1) {
      ::kill(child, SIGSTOP);
      ::kill(child, SIGCONT);
    } else {
      ::kill(child, SIGKILL);
    }
  }
}

void Executor::limit(const Call& call) {
  constexpr std::uint64_t limits[] = {0, 64 << 10, 128 << 10, 256 << 10};
  const std::scoped_lock lock{mutex_};
  limit_ = limits[static_cast<std::uint64_t>(call.get("how")) % std::size(limits)];
}

}  // namespace dmawire::fuzz
