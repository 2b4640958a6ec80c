// SPDX-License-Identifier: MIT
#include "abi_rules.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <numeric>
#include <string>

namespace dmawire::fuzz {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t folio = 65'536;

constexpr int for_open[] = {ENOMEM, EMFILE, ENFILE};
constexpr int for_info[] = {EINVAL, E2BIG, EFAULT};
constexpr int for_create[] = {EINVAL, E2BIG,  EFAULT, EOVERFLOW, EDQUOT, ENOMEM,     EINTR,
                              EMFILE, ENFILE, EBADF,  EACCES,    EPERM,  EOPNOTSUPP, ENODEV};
constexpr int for_query[] = {EINVAL, E2BIG, EFAULT, EBADF, EXDEV};
constexpr int for_sync[] = {EINVAL, E2BIG, EFAULT, EBADF, EXDEV, EACCES};
constexpr int for_attach[] = {EINVAL, EACCES,     E2BIG,  EFAULT, EBADF, EXDEV,
                              EBUSY,  EOPNOTSUPP, ENODEV, ENOMEM, EIO};
constexpr int for_detach[] = {EINVAL, EACCES, E2BIG, EFAULT, EBUSY};
constexpr int for_start[] = {EINVAL,     EACCES, E2BIG,  EFAULT, EBUSY,
                             EOPNOTSUPP, EINTR,  ENODEV, ENOMEM, EIO};
constexpr int for_stop[] = {EINVAL, EACCES, E2BIG, EFAULT, EBUSY, EINTR, ENODEV, EIO};
constexpr int for_give[] = {EINVAL, EACCES, E2BIG,  EFAULT, EBUSY,
                            EAGAIN, ENODEV, ENOMEM, EINTR,  EIO};
constexpr int for_take[] = {EINVAL, EACCES, E2BIG, EFAULT, EAGAIN, EBUSY, EINTR, ECANCELED, ENODEV};
constexpr int for_capture[] = {EINVAL, EACCES, E2BIG, EFAULT, EBUSY,    EAGAIN,
                               ENODEV, ENOMEM, EINTR, EIO,    ECANCELED};
// A request that is linked to one that failed is cancelled by io_uring.
constexpr int for_register[] = {EINVAL, E2BIG, EFAULT, EBADF,      EXDEV,
                                ENOMEM, EBUSY, EFBIG,  EOPNOTSUPP, ECANCELED};
constexpr int for_unregister[] = {EINVAL, E2BIG, EFAULT, EBUSY, EOPNOTSUPP, ECANCELED};
constexpr int for_odd_command[] = {EOPNOTSUPP, EINVAL, ECANCELED};
constexpr int for_odd_ioctl[] = {ENOTTY};
constexpr int for_map[] = {EINVAL, EACCES, ENOMEM, EOVERFLOW, EOPNOTSUPP, EAGAIN, EPERM};

int refusal(Sized sized, std::size_t first_version, std::size_t known) {
  if (sized.size < first_version) {
    return EINVAL;
  }
  if (sized.size > page || (sized.size > known && !sized.tail_is_zero)) {
    return E2BIG;
  }
  return 0;
}

bool node_exists(std::int32_t node) {
  const std::string path = "/sys/devices/system/node/node" + std::to_string(node);
  return node == -1 || node == 0 || (node > 0 && ::access(path.c_str(), F_OK) == 0);
}

bool fd_flags_are_good(std::uint32_t flags) {
  return flags == O_RDONLY || flags == O_RDWR || flags == (O_RDONLY | O_CLOEXEC) ||
         flags == (O_RDWR | O_CLOEXEC);
}

std::uint32_t flags_of(std::uint32_t backing) {
  switch (backing) {
    case DMAWIRE_BACKING_PAGES:
      return DMAWIRE_CREATE_FOLIOS_64K;
    case DMAWIRE_BACKING_CONTIG:
      return DMAWIRE_CREATE_CMA;
    default:
      return 0;
  }
}

int refusal_of_fd(Kind kind) {
  switch (kind) {
    case Kind::ours:
      return 0;
    case Kind::foreign:
      return EXDEV;
    case Kind::bad:
      return EBADF;
    default:
      return EINVAL;
  }
}

}  // namespace

const std::span<const int> open_errors = for_open;
const std::span<const int> info_errors = for_info;
const std::span<const int> create_errors = for_create;
const std::span<const int> query_errors = for_query;
const std::span<const int> sync_errors = for_sync;
const std::span<const int> attach_errors = for_attach;
const std::span<const int> detach_errors = for_detach;
const std::span<const int> start_errors = for_start;
const std::span<const int> stop_errors = for_stop;
const std::span<const int> enqueue_errors = for_give;
const std::span<const int> dequeue_errors = for_take;
const std::span<const int> capture_errors = for_capture;
const std::span<const int> register_errors = for_register;
const std::span<const int> unregister_errors = for_unregister;
const std::span<const int> odd_command_errors = for_odd_command;
const std::span<const int> odd_ioctl_errors = for_odd_ioctl;
const std::span<const int> map_errors = for_map;

int refusal(const dmawire_info& info, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_INFO_SIZE_V1, sizeof(info))) {
    return error;
  }
  return info.flags != 0 ? EINVAL : 0;
}

int refusal(const dmawire_create& argument, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_CREATE_SIZE_V1, sizeof(argument))) {
    return error;
  }
  dmawire_create create{};  // missing fields are 0
  std::memcpy(&create, &argument, std::min<std::size_t>(sized.size, sizeof(create)));
  if ((create.flags & ~flags_of(create.backing)) != 0 || create.reserved != 0 ||
      create.reserved2 != 0 || create.length == 0 || create.backing > DMAWIRE_BACKING_COHERENT ||
      create.direction > DMAWIRE_FROM_DEVICE || !node_exists(create.node) ||
      !fd_flags_are_good(create.fd_flags)) {
    return EINVAL;
  }
  const bool has_node = create.backing == DMAWIRE_BACKING_PAGES ||
                        (create.backing == DMAWIRE_BACKING_CONTIG && create.flags == 0);
  if (!has_node && create.node != -1) {
    return EINVAL;
  }
  switch (create.backing) {
    case DMAWIRE_BACKING_MEMFD:
      return create.start % page != 0 ? EINVAL : created_length(create) == 0 ? EOVERFLOW : 0;
    case DMAWIRE_BACKING_USER:
      return create.memfd != 0                                   ? EINVAL
             : create.start + (create.length - 1) < create.start ? EOVERFLOW
                                                                 : 0;
    default:
      return create.start != 0 || create.memfd != 0 ? EINVAL
             : created_length(create) == 0          ? EOVERFLOW
                                                    : 0;
  }
}

int refusal(const dmawire_query& query, Sized sized, Kind kind) {
  if (const int error = refusal(sized, DMAWIRE_QUERY_SIZE_V1, sizeof(query))) {
    return error;
  }
  return query.flags != 0 ? EINVAL : refusal_of_fd(kind);
}

int refusal(const dmawire_attach& attach, Sized sized, Kind kind) {
  if (const int error = refusal(sized, DMAWIRE_ATTACH_SIZE_V1, sizeof(attach))) {
    return error;
  }
  return (attach.flags & ~DMAWIRE_ATTACH_FENCES) != 0 ? EINVAL : refusal_of_fd(kind);
}

int refusal(const dmawire_detach& detach, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_DETACH_SIZE_V1, sizeof(detach))) {
    return error;
  }
  return detach.flags != 0 || detach.reserved != 0 ? EINVAL : 0;
}

int refusal(const dmawire_start& start, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_START_SIZE_V1, sizeof(start))) {
    return error;
  }
  return start.flags != 0 || start.reserved != 0 ? EINVAL : 0;
}

int refusal(const dmawire_stop& stop, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_STOP_SIZE_V1, sizeof(stop))) {
    return error;
  }
  return stop.flags != 0 ? EINVAL : 0;
}

int refusal(const dmawire_enqueue& enqueue, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_ENQUEUE_SIZE_V1, sizeof(enqueue))) {
    return error;
  }
  return enqueue.flags != 0 ? EINVAL : 0;
}

int refusal(const dmawire_dequeue& dequeue, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_DEQUEUE_SIZE_V1, sizeof(dequeue))) {
    return error;
  }
  return dequeue.flags != 0 ? EINVAL : 0;
}

int refusal(const dmawire_status& status, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_STATUS_SIZE_V1, sizeof(status))) {
    return error;
  }
  return status.flags != 0 ? EINVAL : 0;
}

int refusal(const dmawire_sync& sync, Sized sized, Kind kind, const BufferModel& buffer) {
  if (const int error = refusal(sized, DMAWIRE_SYNC_SIZE_V1, sizeof(sync))) {
    return error;
  }
  constexpr std::uint32_t known = DMAWIRE_SYNC_RW | DMAWIRE_SYNC_END;
  if ((sync.flags & ~known) != 0 || (sync.flags & DMAWIRE_SYNC_RW) == 0 || sync.reserved != 0) {
    return EINVAL;
  }
  if (const int error = refusal_of_fd(kind)) {
    return error;
  }
  return sync.offset >= buffer.length || sync.length > buffer.length - sync.offset ? EINVAL : 0;
}

int refusal(const dmawire_uring_capture& argument, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_URING_CAPTURE_SIZE_V1, sizeof(argument))) {
    return error;
  }
  return argument.flags != 0 ? EINVAL : 0;
}

int refusal(const dmawire_uring_register& argument, Sized sized, Kind kind,
            const BufferModel& buffer) {
  if (const int error = refusal(sized, DMAWIRE_URING_REGISTER_SIZE_V1, sizeof(argument))) {
    return error;
  }
  if (argument.flags != 0) {
    return EINVAL;
  }
  if (const int error = refusal_of_fd(kind)) {
    return error;
  }
  if (argument.offset >= buffer.length || argument.offset % page != 0) {
    return EINVAL;
  }
  const std::uint64_t rest = buffer.length - argument.offset;
  return argument.length > rest || (argument.length % page != 0 && argument.length != rest) ? EINVAL
                                                                                            : 0;
}

int refusal(const dmawire_uring_unregister& argument, Sized sized) {
  if (const int error = refusal(sized, DMAWIRE_URING_UNREGISTER_SIZE_V1, sizeof(argument))) {
    return error;
  }
  return argument.flags != 0 || argument.reserved != 0 ? EINVAL : 0;
}

std::uint64_t created_length(const dmawire_create& create) {
  if (create.backing == DMAWIRE_BACKING_USER) {
    return create.length;
  }
  const std::uint64_t granule = (create.flags & DMAWIRE_CREATE_FOLIOS_64K) != 0 ? folio : page;
  return (create.length + granule - 1) / granule * granule;  // 0: it went around
}

const char* complaint(const dmawire_query& answer, const BufferModel& buffer) {
  if (answer.out_length != buffer.length) {
    return "QUERY: not the length it was created with";
  }
  if (answer.out_direction != buffer.direction || answer.out_node != buffer.node) {
    return "QUERY: not the direction or node it was created with";
  }
  const bool is_user = buffer.backing == DMAWIRE_BACKING_USER;
  const std::uint64_t max_segments =
      buffer.backing == DMAWIRE_BACKING_CONTIG ? 1 : buffer.length / page + (is_user ? 2 : 0);
  if (answer.out_backing != buffer.backing || answer.out_segments == 0 ||
      answer.out_largest_segment == 0 || (!is_user && answer.out_largest_segment % page != 0) ||
      answer.out_largest_segment > buffer.length || answer.out_segments > max_segments ||
      std::accumulate(std::begin(answer.out_segments_of), std::end(answer.out_segments_of), 0U) !=
          answer.out_segments ||
      answer.out_folios > buffer.length / folio) {
    return "QUERY: a backing, segments or folios that such a buffer cannot have";
  }
  if (buffer.backing == DMAWIRE_BACKING_COHERENT && answer.out_register == DMAWIRE_NO_PAGES) {
    return nullptr;
  }
  const std::uint32_t verdict = is_user                                    ? DMAWIRE_USE_IN_PLACE
                                : (buffer.flags & DMAWIRE_CREATE_CMA) != 0 ? DMAWIRE_NO_LONGTERM_PIN
                                : buffer.writable                          ? DMAWIRE_USABLE
                                                                           : DMAWIRE_READ_ONLY;
  return answer.out_register != verdict ? "QUERY: wrong verdict on registering" : nullptr;
}

const char* complaint(const dmawire_info& answer) {
  constexpr std::uint32_t backings = 1U << DMAWIRE_BACKING_PAGES | 1U << DMAWIRE_BACKING_MEMFD |
                                     1U << DMAWIRE_BACKING_USER | 1U << DMAWIRE_BACKING_CONTIG;
  constexpr std::uint32_t some_have = 1U << DMAWIRE_BACKING_COHERENT;
  if ((answer.out_backings & ~some_have) != backings || answer.out_reserved != 0) {
    return "INFO: wrong backings, or out_reserved is not 0";
  }
  const bool fits = answer.out_open_bytes <= answer.out_bytes &&
                    answer.out_open_buffers <= answer.out_buffers &&
                    answer.out_bytes <= answer.out_max_bytes;
  return fits ? nullptr : "INFO: counts that contradict each other";
}

}  // namespace dmawire::fuzz
