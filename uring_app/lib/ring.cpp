// SPDX-License-Identifier: MIT
#include "ring.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <dmawire/device.hpp>
#include <memory>
#include <vector>

#include <dmawire/error.hpp>

#include "io_uring_compat.hpp"
#include "sys.hpp"

namespace dmawire {
namespace {

const char* init_advice(int code) {
  switch (code) {
    case ENOSYS:
      return "this kernel has no io_uring";
    case EPERM:
      return "io_uring is forbidden here (sysctl kernel.io_uring_disabled, or a seccomp filter)";
    case ENOMEM:
      return "the limit of locked memory is too small (ulimit -l)";
    default:
      return "";
  }
}

std::string register_advice(int code, std::span<const iovec> buffers) {
  if (code == EFAULT || code == EOPNOTSUPP) {
    return "the mapping has no struct page that may be pinned; dmawire's buffers and memfds have";
  }
  if (code == ENOMEM || code == EPERM) {
    std::size_t bytes = 0;
    for (const iovec& buffer : buffers) {
      bytes += buffer.iov_len;
    }
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    return fmt::format("{} bytes must be locked and the limit is {} (ulimit -l, in KiB)", bytes,
                       limit.rlim_cur);
  }
  return {};
}

}  // namespace

Ring::Ring(unsigned submissions, unsigned completions, Submit submit) {
  const unsigned flags = submit == Submit::by_kernel_thread
                             ? IORING_SETUP_SQPOLL
                             : IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  int status =
      init(submissions, completions, flags | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER);
  if (status == -EINVAL) {  // before Linux 6.1
    status = init(submissions, completions, flags & IORING_SETUP_SQPOLL);
  }
  if (status < 0) {
    throw Error(-status, "setting up an io_uring", init_advice(-status), Error::Kind::impossible);
  }
  // Spares every system call the look-up of a descriptor; where it does not work, it is not needed.
  (void)io_uring_register_ring_fd(&ring_);
}

int Ring::init(unsigned submissions, unsigned completions, unsigned flags) noexcept {
  io_uring_params params{};
  params.cq_entries = completions;
  params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  const int status = sys().ring_init(submissions, &ring_, &params);
  features_ = params.features;
  return status;
}

Ring::~Ring() {
  io_uring_queue_exit(&ring_);
}

bool Ring::supports(int opcode) noexcept {
  const std::unique_ptr<io_uring_probe, decltype(&io_uring_free_probe)> probe{
      io_uring_get_probe_ring(&ring_), &io_uring_free_probe};
  return probe && io_uring_opcode_supported(probe.get(), opcode);
}

void Ring::register_buffers(std::span<const iovec> buffers) {
  const int status =
      sys().ring_register_buffers(&ring_, buffers.data(), static_cast<unsigned>(buffers.size()));
  if (status < 0) {
    throw Error(-status, fmt::format("registering {} buffers with an io_uring", buffers.size()),
                register_advice(-status, buffers), Error::Kind::impossible);
  }
}

void Ring::register_dma_bufs(const Device& device, std::span<const DmaBufRange> ranges) {
  const auto count = static_cast<unsigned>(ranges.size());
  if (const int status = io_uring_register_buffers_sparse(&ring_, count); status < 0) {
    throw Error(-status, fmt::format("making an io_uring's table of {} buffers", count), {},
                Error::Kind::impossible);
  }
  for (std::size_t done = 0; done < ranges.size();) {
    done += register_some(device, ranges, done);
  }
}

std::size_t Ring::register_some(const Device& device, std::span<const DmaBufRange> ranges,
                                std::size_t first) {
  std::vector<dmawire_uring_register> requests(
      std::min<std::size_t>(ranges.size() - first, *ring_.sq.kring_entries));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].size = sizeof(requests[i]);
    requests[i].fd = ranges[first + i].fd;
    requests[i].offset = ranges[first + i].offset;
    requests[i].length = ranges[first + i].length;
    requests[i].slot = static_cast<__u32>(first + i);
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, device.fd(), &requests[i], 0, 0);
    sqe->cmd_op = DMAWIRE_URING_CMD_REGISTER;
  }
  int failure = submit_and_wait(static_cast<unsigned>(requests.size()));
  for_each_completion(
      [&](Completion completion) noexcept { failure = std::min(failure, completion.result()); });
  if (failure < 0) {
    throw Error(-failure, fmt::format("registering {} dma-bufs with an io_uring", ranges.size()),
                failure == -EOPNOTSUPP ? "the kernel takes them since Linux 7.3" : "",
                Error::Kind::impossible);
  }
  return requests.size();
}

io_uring_sqe* Ring::wait_for_sqe() noexcept {
  io_uring_sqe* sqe = nullptr;
  while (sqe == nullptr) {
    if ((ring_.flags & IORING_SETUP_SQPOLL) != 0) {  // its thread has not taken them yet
      ++enters_;
      (void)io_uring_sqring_wait(&ring_);
    } else {
      (void)submit_and_wait(0);
    }
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

int Ring::submit_and_wait(unsigned wait_for) noexcept {
  ++enters_;
  const int status = sys().ring_submit_and_wait(&ring_, wait_for);
  return status < 0 && status != -EINTR ? status : 0;
}

int Ring::submit_and_wait(unsigned wait_for, std::chrono::microseconds patience) noexcept {
  if (wait_for < 2 || !has_min_wait()) {
    return submit_and_wait(wait_for);
  }
  ++enters_;
  const int status =
      sys().ring_wait_for_at_most(&ring_, wait_for, static_cast<unsigned>(patience.count()));
  return status < 0 && status != -EINTR && status != -ETIME ? status : 0;
}

bool Ring::has_min_wait() const noexcept {
#ifdef DMAWIRE_HAVE_MIN_TIMEOUT
  return (features_ & IORING_FEAT_MIN_TIMEOUT) != 0;
#else
  return false;
#endif
}

int Ring::get_events() noexcept {
  ++enters_;
  const int status = sys().ring_get_events(&ring_);
  return status < 0 && status != -EINTR ? status : 0;
}

bool Ring::has_events() const noexcept {
  return io_uring_cq_ready(&ring_) > 0 ||
         (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) != 0;
}

}  // namespace dmawire
