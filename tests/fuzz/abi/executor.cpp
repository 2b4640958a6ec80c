// SPDX-License-Identifier: MIT
#include "executor.hpp"

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <thread>

#include "struct_argument.hpp"

namespace dmawire::fuzz {
namespace {

/// For calls that are not ours to judge: every error is fine.
constexpr std::span<const int> anything{};

std::uint64_t bounded_length(std::int64_t value) {
  const auto length = static_cast<std::uint64_t>(value);
  return length < std::uint64_t{1} << 36 ? length % (512 << 10) : length;
}

template <typename T>
T as(std::int64_t value) {
  return static_cast<T>(value);
}

void* address(const Call& call) {
  return reinterpret_cast<void*>(arena::area(call.get("area")) +
                                 as<std::uint64_t>(call.get("offset")) % arena::area_size);
}

/// The part of an area that a call names; it stays within it.
std::size_t extent(const Call& call, std::string_view field = "length") {
  const std::uint64_t offset = as<std::uint64_t>(call.get("offset")) % arena::area_size;
  return std::min(bounded_length(call.get(field)), arena::area_size - offset);
}

/// Whether CREATE allocates the buffer's memory, so that the memory cgroup's limit applies to it:
/// the other backings use memory that is already in use.
bool is_allocated_for(const dmawire_create& create) {
  return (create.backing == DMAWIRE_BACKING_PAGES || create.backing == DMAWIRE_BACKING_CONTIG ||
          create.backing == DMAWIRE_BACKING_COHERENT) &&
         (create.flags & DMAWIRE_CREATE_CMA) == 0;
}

bool may_be_mapped(const Call& call, std::uint64_t length, const BufferModel& buffer) {
  if ((call.get("flags") & MAP_ANONYMOUS) != 0) {
    return true;
  }
  const auto offset = as<std::uint64_t>(call.get("offset"));
  return buffer.backing != DMAWIRE_BACKING_USER && (call.get("flags") & MAP_SHARED) != 0 &&
         offset < buffer.length && length <= buffer.length - offset &&
         (buffer.writable || (call.get("prot") & PROT_WRITE) == 0);
}

int error_of(long result) {
  return result < 0 ? errno : 0;
}

constexpr const char* first_node = "/dev/dmawire0";

/// A file on which nothing waits for a frame, unless it is to.
int open_device(const std::string& node, int mode, bool waits = false) {
  return ::open(node.c_str(), mode | O_CLOEXEC | (waits ? 0 : O_NONBLOCK));
}

/// In a child: captures with the first node, then ends as if killed.
void capture_elsewhere() {
  const int fd = ::open(first_node, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  dmawire_create create{.size = sizeof(create),
                        .length = 65'536,
                        .direction = DMAWIRE_FROM_DEVICE,
                        .node = -1,
                        .fd_flags = O_RDWR | O_CLOEXEC};
  ::ioctl(fd, DMAWIRE_IOC_CREATE, &create);
  tell(fd, DMAWIRE_IOC_ATTACH, dmawire_attach{.fd = create.out_fd});
  tell(fd, DMAWIRE_IOC_ENQUEUE, dmawire_enqueue{.length = 4096});
  tell(fd, DMAWIRE_IOC_START, dmawire_start{});
  tell(fd, DMAWIRE_IOC_ENQUEUE, dmawire_enqueue{.length = 4096, .offset = 4096});
  tell(fd, DMAWIRE_IOC_DEQUEUE, dmawire_dequeue{});
}

/// In a child: stops the captures that the parent runs on these files.
void stop_all(std::span<const Target> devices) {
  const Impatience impatience;  // a file may be one that waits
  for (const Target& device : devices) {
    tell(device.fd, DMAWIRE_IOC_STOP, dmawire_stop{});
    tell(device.fd, DMAWIRE_IOC_DEQUEUE, dmawire_dequeue{});
    tell(device.fd, DMAWIRE_IOC_DETACH, dmawire_detach{});
  }
}

}  // namespace

std::string Executor::run(const Input& input) {
  results_.clear();
  complaint_.clear();
  parallel_ = input.parallel;
  torn_ = input.torn;
  exact_ = !input.parallel && !input.torn;
  const std::span<const Call> calls{input.calls};
  if (input.parallel) {
    run_in_parallel(calls);
  } else {
    run_calls(calls);
  }
  clean_up();
  return complaint_;
}

void Executor::run_calls(std::span<const Call> calls) {
  for (const Call& call : calls) {
    (this->*handlers()[call.type])(call);
  }
}

void Executor::run_in_parallel(std::span<const Call> calls) {
  const std::size_t half = calls.size() / 2;
  const std::jthread second{[&] {
    coverage_[1].on();
    run_calls(calls.subspan(half));
    coverage_[1].off();
  }};
  run_calls(calls.first(half));
}

void Executor::clean_up() {
  for (const auto& ring : rings_) {
    finish(*ring);
  }
  rings_.clear();
  impatience_.reset();
  for (const OwnMemfd& file : memfds_) {
    check_sealed(file);
  }
  first_memfd_ += memfds_.size();
  memfds_.clear();
  for (const std::uint32_t handle : gem_handles_) {
    drmCloseBufferHandle(surroundings_.vgem.get(), handle);
  }
  gem_handles_.clear();
  arena::clear();
  close_timeline();
  descriptors_.clear();
  limit_ = 0;
  if (unbound_ && !surroundings_.card.driver().bind()) {
    complain("driver: it cannot be bound again");
  }
  unbound_ = false;
  has_user_memory_ = false;
  for (const pid_t child : children_) {
    ::waitpid(child, nullptr, 0);
  }
  children_.clear();
  for (std::size_t i = 0; i < Surroundings::pairs; ++i) {
    surroundings_.drain(i);
  }
  arguments_.clear();
}

void Executor::complain(const std::string& what) {
  const std::scoped_lock lock{mutex_};
  complaint_ += what + '\n';
}

void Executor::judge(std::size_t type, int error, std::span<const int> allowed, int refusal,
                     bool other_file) {
  {
    const std::scoped_lock lock{mutex_};
    results_.push_back(static_cast<Result>(type << 8 | static_cast<unsigned>(error & 0xff)));
  }
  const char* name = grammar()[type].name;
  if (refusal != 0 && error != refusal) {
    complain(std::string{name} + ": " + strerror(error) + " where uapi.h says " +
             strerror(refusal));
  } else if (error != 0 && !is_allowed(error, allowed, other_file)) {
    complain(std::string{name} + ": " + strerror(error) + " is no error of this call");
  }
}

bool Executor::is_allowed(int error, std::span<const int> allowed, bool other_file) const {
  // Meanwhile the other thread may close the device, or put another file in its place.
  const bool of_another = error == EBADF || error == ENOTTY || error == EOPNOTSUPP;
  return allowed.empty() || std::ranges::find(allowed, error) != allowed.end() ||
         ((parallel_ || other_file) && of_another);
}

int Executor::expected(Pointer pointer, int refusal) const {
  return exact_ && is_as_written(pointer) ? refusal : 0;
}

/// A file that is not open for reading and writing is refused before its argument is read.
int Executor::expected_on(int device, const Call& call, int error, int refusal) const {
  const bool may_write = (::fcntl(device, F_GETFL) & O_ACCMODE) == O_RDWR;
  return error == EACCES && !may_write ? 0 : expected(pointer_of(call), refusal);
}

Target Executor::device(const Call& call) {
  const std::int64_t reference = call.get("dev");
  switch (reference) {
    case -1:
      return {};
    case -2:
      return descriptors_.find(Kind::ours, 0);
    case -3:
      return {surroundings_.file.get(), Kind::other};
    default:
      break;
  }
  Target found = descriptors_.find(Kind::device, reference);
  if (found.kind == Kind::bad) {
    found = {open_device(first_node, O_RDWR), Kind::device};
    descriptors_.add(found);
  }
  return found;
}

Target Executor::buffer(const Call& call) {
  const std::int64_t reference = call.get("fd");
  switch (reference) {
    case -1:
      return {};
    case -2:
      return {surroundings_.file.get(), Kind::other};
    case -3:
      return surroundings_.foreign.empty()
                 ? Target{}
                 : Target{surroundings_.foreign.front().get(), Kind::foreign};
    default:
      return descriptors_.find(Kind::ours, reference);
  }
}

Target Executor::memfd(const Call& call) {
  constexpr std::int64_t first_own = 5;
  switch (const std::int64_t reference = call.get("memfd")) {
    case 0:
      return {0, Kind::bad};
    case 1:
      return {surroundings_.memfd.get(), Kind::other};
    case 2:
      return {surroundings_.file.get(), Kind::other};
    case 3:
      return {surroundings_.zeros.get(), Kind::other};
    case 4:
      return descriptors_.find(Kind::ours, 0);
    default:
      return own_memfd(reference - first_own);
  }
}

Target Executor::any(const Call& call) {
  return descriptors_.find(static_cast<Kind>(as<std::uint64_t>(call.get("kind")) % kinds),
                           call.get("fd"));
}

template <typename T>
int Executor::ioctl_with(const Call& call, int fd, unsigned long command, T& argument) {
  const Pointer pointer = pointer_of(call);
  const std::uint64_t at = place(call, argument);
  const bool torn = torn_ && pointer == Pointer::good && tearer_.try_begin(at, sizeof(argument));
  const int error = error_of(::ioctl(fd, command, at));
  if (torn) {
    tearer_.end();
  }
  if (error == 0 && is_as_written(pointer)) {
    std::memcpy(&argument, reinterpret_cast<const void*>(at), sizeof(argument));
  }
  return error;
}

template <typename T>
void Executor::ioctl_of_capture(const Call& call, unsigned long command, T& argument,
                                std::span<const int> errors, int refused) {
  const Target on = device(call);
  const int error = ioctl_with(call, on.fd, command, argument);
  if (on.kind == Kind::device) {
    judge(call.type, error, errors, expected_on(on.fd, call, error, refused));
  }
}

void Executor::open(const Call& call) {
  const bool of_card = call.get("node") % 2 != 0 && surroundings_.card.present();
  const int fd = open_device(of_card ? surroundings_.card.node() : first_node,
                             as<int>(call.get("mode") & O_ACCMODE), call.get("waits") % 2 != 0);
  judge(call.type, error_of(fd), of_card ? anything : open_errors);
  descriptors_.add({fd, Kind::device});
}

/// Reopens a descriptor by its name in /proc: a path of its own to the same file or, with O_PATH,
/// to the dentry that remains after the file is closed.
void Executor::reopen(const Call& call) {
  const Target from = any(call);
  const int mode = as<int>(call.get("mode")) & (O_PATH | O_ACCMODE);
  const std::string path = "/proc/self/fd/" + std::to_string(from.fd);
  const int fd = ::open(path.c_str(), mode | O_CLOEXEC | O_NONBLOCK);
  judge(call.type, error_of(fd), anything);
  Target made = from;
  made.fd = fd;
  if (mode == O_PATH || (from.kind != Kind::device && from.kind != Kind::memfd)) {
    made.kind = Kind::other;
  }
  descriptors_.add(made);
}

void Executor::close(const Call& call) {
  const Kind kind = static_cast<Kind>(as<std::uint64_t>(call.get("kind")) % kinds);
  const Target target = descriptors_.take(kind, call.get("fd"));
  judge(call.type, error_of(::close(target.fd)), anything);
}

void Executor::create(const Call& call) {
  const Target memory = memfd(call);
  dmawire_create argument{.size = size_of_struct<dmawire_create>(call),
                          .flags = as<std::uint32_t>(call.get("flags")),
                          .length = bounded_length(call.get("length")),
                          .backing = as<std::uint32_t>(call.get("backing")),
                          .direction = as<std::uint32_t>(call.get("direction")),
                          .node = as<std::int32_t>(call.get("node")),
                          .fd_flags = as<std::uint32_t>(call.get("fd_flags")),
                          .out_length = 0,
                          .out_fd = -1,
                          .reserved = as<std::uint32_t>(call.get("reserved")),
                          .start = as<std::uint64_t>(call.get("start")),
                          .memfd = memory.fd,
                          .reserved2 = 0};
  const int refused = refusal(argument, sized<dmawire_create>(call));
  const Target on = device(call);
  const int error = create_within_limit(call, on.fd, argument);
  if (on.kind != Kind::device) {
    return;
  }
  judge(call.type, error, create_errors, expected_on(on.fd, call, error, refused));
  if (error == 0 && is_as_written(pointer_of(call))) {
    check_created(argument, memory.file);
  }
}

int Executor::create_within_limit(const Call& call, int fd, dmawire_create& argument) {
  // The cgroup limits the whole process: a second thread's calls would be charged, too.
  const bool limited =
      limit_ != 0 && exact_ && is_allocated_for(argument) && surroundings_.limited.enter(limit_);
  const int error = ioctl_with(call, fd, DMAWIRE_IOC_CREATE, argument);
  if (limited) {
    surroundings_.limited.leave();
    if (error == 0 && is_as_written(pointer_of(call)) && argument.out_length > limit_) {
      complain("create: more memory than the memory cgroup may have");
    }
  }
  return error;
}

void Executor::check_created(const dmawire_create& answer, std::size_t file) {
  const Target made{answer.out_fd,
                    Kind::ours,
                    {.length = answer.out_length,
                     .direction = answer.direction,
                     .node = answer.node,
                     .writable = (answer.fd_flags & O_ACCMODE) == O_RDWR,
                     .backing = answer.backing,
                     .flags = answer.flags},
                    file};
  if (exact_ && answer.out_length != created_length(answer)) {
    complain("create: wrong out_length");
  }
  if (exact_ && (is_allocated_for(answer) || answer.backing == DMAWIRE_BACKING_CONTIG)) {
    check_zeros(made);
  }
  if (exact_) {
    has_user_memory_ = has_user_memory_ || answer.backing == DMAWIRE_BACKING_USER;
    if (file != no_memfd) {
      memfds_.at(file - first_memfd_).expose(answer.start, answer.out_length);
    }
  }
  descriptors_.add(made);
}

void Executor::check_zeros(const Target& buffer) {
  // Coverage of this check is not credited to the input.
  const std::uint64_t before = coverage_[0].position();
  void* data = ::mmap(nullptr, buffer.buffer.length, PROT_READ, MAP_SHARED, buffer.fd, 0);
  const auto begin = reinterpret_cast<std::uint64_t>(data);
  if (data == MAP_FAILED) {
    complain(std::string{"a fresh buffer cannot be mapped: "} + strerror(errno));
  } else if (!is_zero(begin, begin + buffer.buffer.length)) {
    complain("a fresh buffer is not zero");
  }
  ::munmap(data, buffer.buffer.length);
  coverage_[0].rewind(before);
}

void Executor::info(const Call& call) {
  dmawire_info argument{.size = size_of_struct<dmawire_info>(call),
                        .flags = as<std::uint32_t>(call.get("flags"))};
  const int refused = refusal(argument, sized<dmawire_info>(call));
  const Target on = device(call);
  const int error = ioctl_with(call, on.fd, DMAWIRE_IOC_INFO, argument);
  if (on.kind != Kind::device) {
    return;
  }
  judge(call.type, error, info_errors, expected(pointer_of(call), refused));
  if (error == 0 && exact_ && is_as_written(pointer_of(call)) && complaint(argument)) {
    complain(complaint(argument));
  }
}

void Executor::query(const Call& call) {
  const Target asked = buffer(call);
  dmawire_query argument{.size = size_of_struct<dmawire_query>(call),
                         .flags = as<std::uint32_t>(call.get("flags")),
                         .fd = asked.fd};
  const int refused = refusal(argument, sized<dmawire_query>(call), asked.kind);
  const Target on = device(call);
  const int error = ioctl_with(call, on.fd, DMAWIRE_IOC_QUERY, argument);
  if (on.kind != Kind::device) {
    return;
  }
  judge(call.type, error, query_errors, expected(pointer_of(call), refused));
  if (error == 0 && exact_ && is_as_written(pointer_of(call)) &&
      complaint(argument, asked.buffer)) {
    complain(complaint(argument, asked.buffer));
  }
}

void Executor::odd_ioctl(const Call& call) {
  const auto number = as<unsigned>(call.get("nr") & 0xff);
  const auto magic = as<unsigned>(call.get("magic") & 0xff);
  const auto shape = as<unsigned>(call.get("shape") & 0xffff);  // direction and size
  if (magic != DMAWIRE_IOC_MAGIC || (number <= _IOC_NR(DMAWIRE_IOC_SYNC) && shape == 0)) {
    return;  // the kernel's own, for any file; or one that there is
  }
  const std::array<std::byte, 128> bytes{};
  const std::uint64_t at = arguments_.place(bytes, pointer_of(call), arena::area(0));
  const Target on = device(call);
  const int error = error_of(::ioctl(on.fd, shape << 16 | magic << 8 | number, at));
  if (on.kind == Kind::device) {
    judge(call.type, error, odd_ioctl_errors, exact_ ? ENOTTY : 0);
  }
}

void Executor::attach(const Call& call) {
  const Target attached = buffer(call);
  dmawire_attach argument{.size = size_of_struct<dmawire_attach>(call),
                          .flags = as<std::uint32_t>(call.get("flags")),
                          .fd = attached.fd,
                          .out_index = 0};
  const int refused = refusal(argument, sized<dmawire_attach>(call), attached.kind);
  ioctl_of_capture(call, DMAWIRE_IOC_ATTACH, argument, attach_errors, refused);
}

void Executor::detach(const Call& call) {
  dmawire_detach argument{.size = size_of_struct<dmawire_detach>(call),
                          .flags = as<std::uint32_t>(call.get("flags")),
                          .index = as<std::uint32_t>(call.get("index")),
                          .reserved = as<std::uint32_t>(call.get("reserved"))};
  const int refused = refusal(argument, sized<dmawire_detach>(call));
  ioctl_of_capture(call, DMAWIRE_IOC_DETACH, argument, detach_errors, refused);
}

void Executor::start(const Call& call) {
  dmawire_start argument{.size = size_of_struct<dmawire_start>(call),
                         .flags = as<std::uint32_t>(call.get("flags")),
                         .rate = as<std::uint32_t>(call.get("rate")),
                         .reserved = as<std::uint32_t>(call.get("reserved"))};
  const int refused = refusal(argument, sized<dmawire_start>(call));
  ioctl_of_capture(call, DMAWIRE_IOC_START, argument, start_errors, refused);
}

void Executor::stop(const Call& call) {
  dmawire_stop argument{.size = size_of_struct<dmawire_stop>(call),
                        .flags = as<std::uint32_t>(call.get("flags"))};
  const int refused = refusal(argument, sized<dmawire_stop>(call));
  ioctl_of_capture(call, DMAWIRE_IOC_STOP, argument, stop_errors, refused);
}

void Executor::enqueue(const Call& call) {
  dmawire_enqueue argument{.size = size_of_struct<dmawire_enqueue>(call),
                           .flags = as<std::uint32_t>(call.get("flags")),
                           .index = as<std::uint32_t>(call.get("index")),
                           .length = as<std::uint32_t>(call.get("length")),
                           .offset = as<std::uint64_t>(call.get("offset")),
                           .user_data = 0};
  const int refused = refusal(argument, sized<dmawire_enqueue>(call));
  ioctl_of_capture(call, DMAWIRE_IOC_ENQUEUE, argument, enqueue_errors, refused);
}

void Executor::dequeue(const Call& call) {
  dmawire_dequeue argument{};
  argument.size = size_of_struct<dmawire_dequeue>(call);
  argument.flags = as<std::uint32_t>(call.get("flags"));
  const int refused = refusal(argument, sized<dmawire_dequeue>(call));
  const Impatience impatience;  // the file may be one that waits
  ioctl_of_capture(call, DMAWIRE_IOC_DEQUEUE, argument, dequeue_errors, refused);
}

void Executor::status(const Call& call) {
  dmawire_status argument{};
  argument.size = size_of_struct<dmawire_status>(call);
  argument.flags = as<std::uint32_t>(call.get("flags"));
  const int refused = refusal(argument, sized<dmawire_status>(call));
  ioctl_of_capture(call, DMAWIRE_IOC_STATUS, argument, info_errors, refused);
}

void Executor::foreign(const Call& call) {
  if (!surroundings_.foreign.empty()) {
    const std::size_t which = as<std::uint64_t>(call.get("how")) % surroundings_.foreign.size();
    descriptors_.add({::dup(surroundings_.foreign[which].get()), Kind::foreign});
  }
}

void Executor::other(const Call& call) {
  const auto make = [&] {
    switch (as<std::uint64_t>(call.get("how")) % 4) {
      case 0:
        return ::memfd_create("other", MFD_CLOEXEC);
      case 1:
        return ::eventfd(0, EFD_CLOEXEC);
      case 2:
        return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      default:
        return ::open("/dev/dmawire0", O_PATH | O_CLOEXEC);
    }
  };
  descriptors_.add({make(), Kind::other});
}

void Executor::dup(const Call& call) {
  const Target from = buffer(call);
  if (from.kind == Kind::bad) {
    return;
  }
  switch (as<std::uint64_t>(call.get("how")) % 3) {
    case 0:
      descriptors_.add({::dup(from.fd), from.kind, from.buffer});
      break;
    case 1:
      descriptors_.add({::fcntl(from.fd, F_DUPFD_CLOEXEC, first_fd), from.kind, from.buffer});
      break;
    default:
      // Over a device that may be in use at this moment.
      if (const Target onto = descriptors_.take(Kind::device, 0); onto.kind != Kind::bad) {
        ::dup2(from.fd, onto.fd);
        descriptors_.replace(onto.fd, from);
      }
  }
}

void Executor::pass(const Call& call) {
  const Target passed = buffer(call);
  std::array<int, 2> ends{-1, -1};
  judge(call.type, error_of(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data())),
        anything);
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &passed.fd, sizeof(int));
  judge(call.type, error_of(::sendmsg(ends[0], &message, MSG_DONTWAIT)), anything);
  if (call.get("receive") == 0) {
    return;  // it stays under way until the sockets are closed, at the end
  }
  if (::recvmsg(ends[1], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) > 0 &&
      message.msg_controllen >= CMSG_LEN(sizeof(int)) && exact_) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    descriptors_.add({fd, passed.kind, passed.buffer});
  }
}

void Executor::sync(const Call& call) {
  dma_buf_sync argument{.flags = as<__u64>(call.get("flags"))};
  const Impatience impatience;
  judge(call.type, ioctl_with(call, buffer(call).fd, DMA_BUF_IOCTL_SYNC, argument), anything);
}

void Executor::sync_part(const Call& call) {
  const Target synced = buffer(call);
  dmawire_sync argument{.size = size_of_struct<dmawire_sync>(call),
                        .flags = as<std::uint32_t>(call.get("flags")),
                        .fd = synced.fd,
                        .reserved = as<std::uint32_t>(call.get("reserved")),
                        .offset = as<std::uint64_t>(call.get("offset")),
                        .length = as<std::uint64_t>(call.get("length"))};
  const int refused = refusal(argument, sized<dmawire_sync>(call), synced.kind, synced.buffer);
  ioctl_of_capture(call, DMAWIRE_IOC_SYNC, argument, sync_errors, refused);
}

void Executor::set_name(const Call& call) {
  std::array<char, 256> name{};
  std::fill_n(name.begin(), as<std::uint64_t>(call.get("length")) % (name.size() - 1), 'n');
  judge(call.type, ioctl_with(call, buffer(call).fd, DMA_BUF_SET_NAME_B, name), anything);
}

void Executor::export_sync(const Call& call) {
  dma_buf_export_sync_file argument{.flags = as<__u32>(call.get("flags")), .fd = -1};
  const int error = ioctl_with(call, buffer(call).fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, argument);
  judge(call.type, error, anything);
  if (error == 0 && exact_) {
    descriptors_.add({argument.fd, Kind::other});
  }
}

void Executor::import_sync(const Call& call) {
  dma_buf_import_sync_file argument{.flags = static_cast<__u32>(call.get("flags")),
                                    .fd = descriptors_.find(Kind::other, call.get("fence")).fd};
  judge(call.type, ioctl_with(call, buffer(call).fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, argument),
        anything);
}

void Executor::seek(const Call& call) {
  const off_t at = ::lseek(buffer(call).fd, call.get("offset"), as<int>(call.get("whence")));
  judge(call.type, error_of(at), anything);
}

void Executor::poke(const Call& call) {
  const int fd = any(call).fd;
  std::array<char, 64> bytes{};
  pollfd asked{.fd = fd, .events = POLLIN | POLLOUT | POLLPRI, .revents = 0};
  struct stat status {};
  const std::string fdinfo = "/proc/self/fdinfo/" + std::to_string(fd);
  const auto act = [&]() -> long {
    switch (as<std::uint64_t>(call.get("how")) % 7) {
      case 0:
        return ::pread(fd, bytes.data(), bytes.size(), 0);
      case 1:
        return ::pwrite(fd, bytes.data(), bytes.size(), 0);
      case 2:
        return ::poll(&asked, 1, 0);
      case 3:
        return ::fstat(fd, &status);
      case 4:
        return ::ftruncate(fd, 4096);
      case 5:
        return ::fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC | O_DIRECT);
      default: {
        const UniqueFd file{::open(fdinfo.c_str(), O_RDONLY | O_CLOEXEC)};
        return ::read(file.get(), bytes.data(), bytes.size());
      }
    }
  };
  judge(call.type, error_of(act()), anything);
}

void Executor::map(const Call& call) {
  const Target target = buffer(call);
  const std::uint64_t length = std::min(bounded_length(call.get("length")), arena::area_size);
  void* data = ::mmap(reinterpret_cast<void*>(arena::area(call.get("area"))), length,
                      as<int>(call.get("prot")), as<int>(call.get("flags")) | MAP_FIXED, target.fd,
                      call.get("offset"));
  const bool ours = target.kind == Kind::ours && exact_;
  judge(call.type, data == MAP_FAILED ? errno : 0, ours ? map_errors : anything);
  if (ours && data != MAP_FAILED && !may_be_mapped(call, length, target.buffer)) {
    complain("map: done, though uapi.h forbids it");
  }
  if (data != MAP_FAILED) {
    check_exposed(reinterpret_cast<std::uint64_t>(data), length);
  }
}

void Executor::touch_area(const Call& call) {
  const auto begin = reinterpret_cast<std::uint64_t>(address(call));
  const std::uint64_t end = begin + extent(call);
  const auto* data = address(call);
  const auto act = [&]() -> int {
    switch (as<std::uint64_t>(call.get("how")) % 4) {
      case 0:
        return touch(begin, end, false) ? 0 : EFAULT;
      case 1:
        return touch(begin, end, true) ? 0 : EFAULT;
      case 2:  // the kernel reads, and
        return error_of(::pwrite(surroundings_.file.get(), data, end - begin, 0));
      default:  // the kernel writes
        return error_of(::read(surroundings_.zeros.get(), address(call), end - begin));
    }
  };
  judge(call.type, act(), anything);
}

void Executor::unmap(const Call& call) {
  judge(call.type, error_of(::munmap(address(call), extent(call))), anything);
}

void Executor::remap(const Call& call) {
  const bool moves = call.get("move") % 2 != 0;
  void* to = reinterpret_cast<void*>(arena::area(call.get("to")));
  void* data = ::mremap(address(call), extent(call), extent(call, "new_length"),
                        moves ? MREMAP_MAYMOVE | MREMAP_FIXED : 0, to);
  judge(call.type, data == MAP_FAILED ? errno : 0, anything);
  if (data != MAP_FAILED) {
    check_exposed(reinterpret_cast<std::uint64_t>(data), extent(call, "new_length"));
  }
}

void Executor::remap_pages(const Call& call) {
  const int error = error_of(::syscall(SYS_remap_file_pages, address(call), extent(call), 0,
                                       call.get("page"), as<int>(call.get("flags"))));
  judge(call.type, error, anything);
  check_exposed(reinterpret_cast<std::uint64_t>(address(call)), extent(call));
}

void Executor::protect(const Call& call) {
  judge(call.type, error_of(::mprotect(address(call), extent(call), as<int>(call.get("prot")))),
        anything);
}

void Executor::advise(const Call& call) {
  judge(call.type, error_of(::madvise(address(call), extent(call), as<int>(call.get("advice")))),
        anything);
}

void Executor::fork_here(const Call& call) {
  constexpr useconds_t beside_what_follows = 2'000;
  const std::uint64_t begin = arena::area(call.get("area"));
  // A child has the locks as they were, held by a thread that it does not have.
  const std::vector<Target> devices = descriptors_.all(Kind::device);
  const pid_t child = ::fork();
  if (child == 0) {
    ::usleep(beside_what_follows);
    switch (as<std::uint64_t>(call.get("how")) % 7) {
      case 0:
        touch(begin, begin + arena::area_size, false);
        break;
      case 1:
        touch(begin, begin + arena::area_size, true);
        break;
      case 2:
        arena::clear();
        break;
      case 3:
        stop_all(devices);
        break;
      case 4:
        capture_elsewhere();
        break;
      case 5:
        ::usleep(10 * beside_what_follows);  // no event: the parent kills it meanwhile
        break;
      default:
        ::close_range(first_fd, ~0U, 0);
    }
    ::_exit(0);
  }
  judge(call.type, error_of(child), anything);
  if (child > 0 && call.get("wait") != 0) {
    ::waitpid(child, nullptr, 0);
  } else if (child > 0) {
    const std::scoped_lock lock{mutex_};
    children_.push_back(child);
  }
}

void Executor::import(const Call& call) {
  const Target imported = buffer(call);
  const int card = surroundings_.vgem.get();
  std::uint32_t handle = 0;
  const int error = error_of(drmPrimeFDToHandle(card, imported.fd, &handle));
  judge(call.type, error, anything);
  if (error != 0) {
    return;
  }
  {
    const std::scoped_lock lock{mutex_};
    gem_handles_.push_back(handle);
  }
  if (int fd = -1; call.get("how") % 2 != 0 &&
                   drmPrimeHandleToFD(card, handle, DRM_CLOEXEC | DRM_RDWR, &fd) == 0) {
    descriptors_.add({fd, imported.kind, imported.buffer});
  }
}

const std::vector<Executor::Handler>& Executor::handlers() {
  // In the order of grammar().
  static const std::vector<Handler> all{
      &Executor::open,        &Executor::reopen,
      &Executor::close,       &Executor::create,
      &Executor::info,        &Executor::query,
      &Executor::odd_ioctl,   &Executor::attach,
      &Executor::detach,      &Executor::start,
      &Executor::stop,        &Executor::enqueue,
      &Executor::dequeue,     &Executor::lend,
      &Executor::status,      &Executor::foreign,
      &Executor::other,       &Executor::make_memfd,
      &Executor::seal,        &Executor::allocate,
      &Executor::dup,         &Executor::pass,
      &Executor::sync,        &Executor::sync_part,
      &Executor::set_name,    &Executor::export_sync,
      &Executor::fence,       &Executor::import_sync,
      &Executor::seek,        &Executor::poke,
      &Executor::map,         &Executor::touch_area,
      &Executor::unmap,       &Executor::remap,
      &Executor::remap_pages, &Executor::protect,
      &Executor::advise,      &Executor::fork_here,
      &Executor::make_ring,   &Executor::end_ring,
      &Executor::make_table,  &Executor::register_range,
      &Executor::unregister,  &Executor::capture,
      &Executor::odd_command, &Executor::register_address,
      &Executor::send,        &Executor::file,
      &Executor::reap,        &Executor::drain,
      &Executor::import,      &Executor::change_driver,
      &Executor::signal,      &Executor::limit,
  };
  return all;
}

}  // namespace dmawire::fuzz
