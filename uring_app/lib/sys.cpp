// SPDX-License-Identifier: MIT
#include "sys.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace dmawire {
namespace {

int wait_for_at_most(io_uring* ring, unsigned wait_for, unsigned microseconds) {
#ifdef DMAWIRE_HAVE_MIN_TIMEOUT
  // Nothing completes for an hour: then the caller looks, and waits again.
  __kernel_timespec longest{.tv_sec = 3600, .tv_nsec = 0};
  io_uring_cqe* first = nullptr;
  return ::io_uring_submit_and_wait_min_timeout(ring, &first, wait_for, &longest, microseconds,
                                                nullptr);
#else
  (void)microseconds;
  return ::io_uring_submit_and_wait(ring, wait_for);
#endif
}

}  // namespace

Sys& sys() noexcept {
  static Sys table{
      .open = [](const char* path, int flags) { return ::open(path, flags); },
      .create = [](const char* path, int flags,
                   mode_t mode) { return ::open(path, flags | O_CREAT, mode); },
      .ioctl = [](int fd, unsigned long request,
                  void* argument) { return ::ioctl(fd, request, argument); },
      .mmap = ::mmap,
      .memfd_create = ::memfd_create,
      .ftruncate = ::ftruncate,
      .sendmsg = ::sendmsg,
      .recvmsg = ::recvmsg,
      .poll = ::poll,
      .now = std::chrono::steady_clock::now,
      .ring_init = ::io_uring_queue_init_params,
      .ring_register_buffers = ::io_uring_register_buffers,
      .ring_submit_and_wait = ::io_uring_submit_and_wait,
      .ring_wait_for_at_most = wait_for_at_most,
      .ring_get_events = ::io_uring_get_events,
  };
  return table;
}

}  // namespace dmawire
