// SPDX-License-Identifier: MIT
#pragma once

#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <chrono>
#include <cstddef>

namespace dmawire {

/// The system calls the library makes, as a table that a unit test can replace entries of to reach
/// an error branch. All answer as the system does: -1 and errno, or, from liburing, -errno.
struct Sys {
  int (*open)(const char* path, int flags);
  int (*create)(const char* path, int flags, mode_t mode);
  int (*ioctl)(int fd, unsigned long request, void* argument);
  void* (*mmap)(void* address, std::size_t length, int protection, int flags, int fd, off_t offset);
  int (*memfd_create)(const char* name, unsigned int flags);
  int (*ftruncate)(int fd, off_t length);
  ssize_t (*sendmsg)(int socket, const msghdr* message, int flags);
  ssize_t (*recvmsg)(int socket, msghdr* message, int flags);
  int (*poll)(pollfd* fds, nfds_t count, int timeout_ms);
  std::chrono::steady_clock::time_point (*now)();
  int (*ring_init)(unsigned entries, io_uring* ring, io_uring_params* params);
  int (*ring_register_buffers)(io_uring* ring, const iovec* buffers, unsigned count);
  int (*ring_submit_and_wait)(io_uring* ring, unsigned wait_for);
  int (*ring_wait_for_at_most)(io_uring* ring, unsigned wait_for, unsigned microseconds);
  int (*ring_get_events)(io_uring* ring);
};

/// The table in use. Not to be changed while another thread uses the library.
[[nodiscard]] Sys& sys() noexcept;

}  // namespace dmawire
