// SPDX-License-Identifier: MIT
//
// The calls of an input that go through an io_uring.

#include <fcntl.h>
#include <liburing.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "executor.hpp"
#include "struct_argument.hpp"

namespace dmawire::fuzz {
namespace {

constexpr unsigned entries = 32;  // more than an input has calls
constexpr std::size_t max_rings = 3;
constexpr unsigned tables_slots = 4;
constexpr std::span<const int> anything{};

/// Whether io_uring has no reason of its own to refuse a request.
bool is_usual(const io_uring_sqe& sqe) {
  constexpr unsigned usual =
      IOSQE_ASYNC | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_IO_DRAIN | IOSQE_CQE_SKIP_SUCCESS;
  return (sqe.flags & ~usual) == 0;
}

unsigned unsigned_of(const Call& call, const char* field) {
  return static_cast<unsigned>(call.get(field));
}

}  // namespace

FuzzRing& Executor::new_ring(unsigned flags, unsigned slots) {
  const std::scoped_lock lock{mutex_};
  if (rings_.size() == max_rings) {
    return *rings_.back();
  }
  FuzzRing& made = *rings_.emplace_back(std::make_unique<FuzzRing>());
  io_uring_params parameters{};
  parameters.flags = flags;
  parameters.sq_thread_idle = 10;
  made.plain = (flags & (IORING_SETUP_SQPOLL | IORING_SETUP_IOPOLL)) == 0;
  if (io_uring_queue_init_params(entries, &made.ring, &parameters) != 0) {
    made.ring.ring_fd = -1;
  } else if (slots != 0) {
    io_uring_register_buffers_sparse(&made.ring, slots);
  }
  return made;
}

FuzzRing& Executor::ring(const Call& call) {
  {
    const std::scoped_lock lock{mutex_};
    if (!rings_.empty()) {
      return *rings_[static_cast<std::uint64_t>(call.get("ring")) % rings_.size()];
    }
  }
  return new_ring(0, tables_slots);
}

void Executor::make_ring(const Call& call) {
  const FuzzRing& made = new_ring(unsigned_of(call, "flags"), unsigned_of(call, "slots") % 64);
  judge(call.type, made.alive() ? 0 : EINVAL, anything);
}

void Executor::end_ring(const Call& call) {
  FuzzRing& on = ring(call);
  const std::scoped_lock lock{on.mutex};
  on.end();
}

void Executor::make_table(const Call& call) {
  FuzzRing& on = ring(call);
  const std::scoped_lock lock{on.mutex};
  if (!on.alive()) {
    return;
  }
  io_uring_enable_rings(&on.ring);  // of use to one made disabled
  io_uring_unregister_buffers(&on.ring);
  const unsigned slots = unsigned_of(call, "slots") % 64;
  if (slots != 0) {
    judge(call.type, -io_uring_register_buffers_sparse(&on.ring, slots), anything);
  }
}

template <typename Prepare>
void Executor::request(const Call& call, const Request& request, Prepare prepare) {
  FuzzRing& on = ring(call);
  const std::scoped_lock lock{on.mutex};
  io_uring_sqe* sqe = on.alive() ? io_uring_get_sqe(&on.ring) : nullptr;
  if (sqe == nullptr) {
    return;
  }
  prepare(sqe);
  sqe->flags = static_cast<__u8>(call.get("sqe_flags"));
  sqe->user_data = on.requests.size();
  on.plain = on.plain && sqe->flags == 0 && call.get("submit") != 0;
  on.requests.push_back({request.type, is_usual(*sqe) ? request.errors : anything,
                         on.plain ? request.refusal : 0, !on.plain});
  if (call.get("submit") != 0) {
    io_uring_submit(&on.ring);
    take_completions(on);
  }
}

void Executor::take_completions(FuzzRing& ring) {
  if ((ring.ring.flags & IORING_SETUP_DEFER_TASKRUN) != 0) {
    io_uring_get_events(&ring.ring);
  }
  for (io_uring_cqe* cqe = nullptr; io_uring_peek_cqe(&ring.ring, &cqe) == 0;) {
    if ((cqe->flags & IORING_CQE_F_NOTIF) == 0 && cqe->user_data < ring.requests.size()) {
      const Request& done = ring.requests[cqe->user_data];
      judge(done.type, std::max(0, -cqe->res), done.errors, done.refusal, done.other_file);
      ++ring.completed;
    }
    io_uring_cqe_seen(&ring.ring, cqe);
  }
}

void Executor::finish(FuzzRing& ring) {
  if (!ring.alive()) {
    return;
  }
  io_uring_submit(&ring.ring);
  take_completions(ring);
  if (ring.completed < ring.requests.size()) {
    __kernel_timespec pause{.tv_sec = 0, .tv_nsec = 2'000'000};
    io_uring_cqe* cqe = nullptr;
    io_uring_wait_cqe_timeout(&ring.ring, &cqe, &pause);
    take_completions(ring);
  }
  ring.end();
}

void Executor::register_range(const Call& call) {
  const Target registered = buffer(call);
  const Target on = device(call);
  const dmawire_uring_register argument{.size = size_of_struct<dmawire_uring_register>(call),
                                        .flags = unsigned_of(call, "flags"),
                                        .fd = registered.fd,
                                        .slot = unsigned_of(call, "slot"),
                                        .offset = static_cast<std::uint64_t>(call.get("offset")),
                                        .length = static_cast<std::uint64_t>(call.get("length"))};
  const int refused =
      refusal(argument, sized<dmawire_uring_register>(call), registered.kind, registered.buffer);
  const bool sure = on.kind == Kind::device && surroundings_.uring_takes_buffers;
  const std::uint64_t at = place(call, argument);
  const bool torn =
      torn_ && pointer_of(call) == Pointer::good && tearer_.try_begin(at, sizeof(argument));
  request(call,
          {call.type, on.kind == Kind::device ? register_errors : anything,
           sure ? expected(pointer_of(call), refused) : 0},
          [&](io_uring_sqe* sqe) {
            io_uring_prep_rw(IORING_OP_URING_CMD, sqe, on.fd, nullptr, 0, 0);
            sqe->addr = at;
            sqe->cmd_op = DMAWIRE_URING_CMD_REGISTER;
          });
  if (torn) {
    tearer_.end();
  }
}

void Executor::unregister(const Call& call) {
  const Target on = device(call);
  const dmawire_uring_unregister argument{.size = size_of_struct<dmawire_uring_unregister>(call),
                                          .flags = unsigned_of(call, "flags"),
                                          .slot = unsigned_of(call, "slot"),
                                          .reserved = unsigned_of(call, "reserved")};
  const int refused = refusal(argument, sized<dmawire_uring_unregister>(call));
  const bool sure = on.kind == Kind::device && surroundings_.uring_takes_buffers;
  const std::uint64_t at = place(call, argument);
  request(call,
          {call.type, on.kind == Kind::device ? unregister_errors : anything,
           sure ? expected(pointer_of(call), refused) : 0},
          [&](io_uring_sqe* sqe) {
            io_uring_prep_rw(IORING_OP_URING_CMD, sqe, on.fd, nullptr, 0, 0);
            sqe->addr = at;
            sqe->cmd_op = DMAWIRE_URING_CMD_UNREGISTER;
          });
}

void Executor::capture(const Call& call) {
  const Target on = device(call);
  dmawire_uring_capture argument{};
  argument.size = size_of_struct<dmawire_uring_capture>(call);
  argument.flags = unsigned_of(call, "flags");
  argument.index = unsigned_of(call, "index");
  argument.length = unsigned_of(call, "length");
  argument.offset = static_cast<std::uint64_t>(call.get("offset"));
  const int refused = refusal(argument, sized<dmawire_uring_capture>(call));
  const std::uint64_t at = place(call, argument);
  request(call,
          {call.type, on.kind == Kind::device ? capture_errors : anything,
           on.kind == Kind::device ? expected(pointer_of(call), refused) : 0},
          [&](io_uring_sqe* sqe) {
            io_uring_prep_rw(IORING_OP_URING_CMD, sqe, on.fd, nullptr, 0, 0);
            sqe->addr = at;
            sqe->cmd_op = DMAWIRE_URING_CMD_CAPTURE;
          });
}

void Executor::odd_command(const Call& call) {
  const Target on = device(call);
  const unsigned op = unsigned_of(call, "op");
  const std::array<std::byte, 64> bytes{};
  const std::uint64_t at = arguments_.place(bytes, pointer_of(call), arena::area(0));
  const bool is_odd = op > DMAWIRE_URING_CMD_CAPTURE && on.kind == Kind::device;
  request(call, {call.type, is_odd ? odd_command_errors : anything, 0}, [&](io_uring_sqe* sqe) {
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, on.fd, nullptr, unsigned_of(call, "len"), 0);
    sqe->off = std::uint64_t{unsigned_of(call, "off")} << 32;
    sqe->cmd_op = op;
    sqe->addr = at;
    sqe->uring_cmd_flags = unsigned_of(call, "uring_flags");
  });
}

void Executor::register_address(const Call& call) {
  FuzzRing& on = ring(call);
  const std::scoped_lock lock{on.mutex};
  if (on.alive()) {
    const std::uint64_t offset = static_cast<std::uint64_t>(call.get("offset")) % arena::area_size;
    const iovec range{reinterpret_cast<void*>(arena::area(call.get("area")) + offset),
                      static_cast<std::uint64_t>(call.get("length")) % (arena::area_size - offset)};
    judge(call.type,
          std::max(0, -io_uring_register_buffers_update_tag(&on.ring, unsigned_of(call, "slot"),
                                                            &range, nullptr, 1)),
          anything);
  }
}

void Executor::send(const Call& call) {
  const std::size_t pair = static_cast<std::uint64_t>(call.get("socket")) % Surroundings::pairs;
  request(call, {call.type, anything, 0}, [&](io_uring_sqe* sqe) {
    io_uring_prep_send_zc_fixed(sqe, surroundings_.senders.at(pair).get(), nullptr,
                                unsigned_of(call, "length") % (1 << 20),
                                static_cast<int>(call.get("flags")), 0, unsigned_of(call, "slot"));
    sqe->addr = static_cast<std::uint64_t>(call.get("offset"));
  });
}

void Executor::file(const Call& call) {
  const unsigned slot = unsigned_of(call, "slot") & 0xffff;
  const unsigned length = unsigned_of(call, "length") % (1 << 20);
  request(call, {call.type, anything, 0}, [&](io_uring_sqe* sqe) {
    if (call.get("how") % 2 == 0) {
      io_uring_prep_write_fixed(sqe, surroundings_.file.get(), nullptr, length, 0,
                                static_cast<int>(slot));
    } else {
      io_uring_prep_read_fixed(sqe, surroundings_.zeros.get(), nullptr, length, 0,
                               static_cast<int>(slot));
    }
    sqe->addr = static_cast<std::uint64_t>(call.get("offset"));
  });
}

void Executor::reap(const Call& call) {
  FuzzRing& on = ring(call);
  const std::scoped_lock lock{on.mutex};
  if (on.alive()) {
    io_uring_submit(&on.ring);
    take_completions(on);
  }
}

void Executor::drain(const Call& call) {
  surroundings_.drain(static_cast<std::uint64_t>(call.get("socket")) % Surroundings::pairs);
}

}  // namespace dmawire::fuzz
