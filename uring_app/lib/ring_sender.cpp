// SPDX-License-Identifier: MIT
#include "ring_sender.hpp"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/stream.hpp>

#include "io_uring_compat.hpp"
#include "sys.hpp"

namespace dmawire {
namespace {

/// What the kernel lets one ring register and queue.
constexpr std::uint32_t max_in_flight = 16'384;

/// A frame is named by one request at a time; what a broken chain leaves behind, still waiting for
/// its notification, doubles it.
constexpr std::uint32_t requests_per_frame = 2;
/// A result and a notification: with room for both of every request the ring cannot overflow.
constexpr std::uint32_t completions_per_request = 2;

/// What a request must not exceed: of UDP's 65,535 bytes headers take some, and the datagrams that
/// it is cut into are limited too.
constexpr std::uint32_t max_datagram_bytes = 65'000;
constexpr std::uint32_t max_fragments = 17;
constexpr std::uint32_t page_length = 4096;
/// A stream's request is kept short enough that its memory comes back soon.
constexpr std::uint32_t max_stream_bytes = 1024 * 1024;

/// Up to here copying data that is in the CPU's caches is cheaper than a request with a
/// notification (docs/sending.md).
constexpr std::uint32_t cheaper_to_copy = 16 * 1024;

/// So many notifications decide whether a route copies.
constexpr std::uint64_t enough_to_judge = 4;

/// How long a wait insists on more than one completion: usually, and while there is nothing to be
/// started anyway.
constexpr std::chrono::microseconds usual_patience{200};
constexpr std::chrono::microseconds long_patience{100'000};

/// Completions of others that are worth a system call.
constexpr std::uint32_t enough_of_clients = 32;

std::uint32_t share_of(std::uint32_t depth, std::size_t connections) noexcept {
  return std::max(depth / static_cast<std::uint32_t>(connections), 1U);
}

bool is_stream(int socket) {
  int type = 0;
  socklen_t size = sizeof(type);
  if (::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) < 0) {
    throw Error(errno, "asking a socket for its type");
  }
  return type == SOCK_STREAM;
}

}  // namespace

RingSender::RingSender(Path path, std::span<const int> sockets, FramePool& pool,
                       const Options& options)
    : path_(path),
      pool_(pool),
      options_(options),
      ledger_(pool, options.observer),
      connections_(sockets.size()),
      slots_(FrameSlots::of_mappings(pool)),
      window_(share_of(std::min({options.depth, pool.size(), max_in_flight}), sockets.size())),
      requests_(connections_.size() * window_ * requests_per_frame),
      ring_(static_cast<unsigned>(connections_.size()) * window_ + options.client_requests,
            static_cast<unsigned>(requests_.size()) * completions_per_request +
                options.client_requests,
            options.sq_poll ? Ring::Submit::by_kernel_thread : Ring::Submit::by_system_call) {
  for (auto index = static_cast<std::uint32_t>(requests_.size()); index > 0; --index) {
    requests_[index - 1].next_free = std::exchange(free_request_, index - 1);
  }
  ready_.reserve(sockets.size());
  starting_.reserve(sockets.size());
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    describe(connections_[i], sockets[i]);
  }
  probe_features();
  register_frames();
  set_up_calls_ = ring_.enters();
}

/// Learns what the socket is. Frames of a datagram socket share a request only if they can be cut
/// apart again.
void RingSender::describe(Connection& connection, int socket) {
  connection.socket = socket;
  connection.stream = is_stream(socket);
  set_socket_full(connection, false);
  // A request must leave room in the window for others, or each would wait for the one before.
  connection.gather = std::clamp(window_ / 4, 1U, std::clamp(options_.gather, 1U, max_gathered));
  if (connection.stream || connection.gather == 1) {
    return;
  }
  const std::size_t length = pool_.frame_length();
  const auto segment = static_cast<int>(length);
  if (length > longest_datagram(socket) || 2 * length > max_datagram_bytes ||
      ::setsockopt(socket, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)) < 0) {
    connection.gather = 1;
  } else {
    connection.gather =
        std::min(connection.gather, static_cast<std::uint32_t>(max_datagram_bytes / length));
  }
}

void RingSender::register_frames() {
  if (path_ == Path::fixed) {
    std::vector<iovec> buffers;
    for (const Mapping& mapping : pool_.mappings()) {
      buffers.push_back({mapping.bytes().data(), mapping.bytes().size()});
    }
    ring_.register_buffers(buffers);
  } else if (path_ == Path::direct) {
    std::uint32_t most = 1;  // frames of a request
    for (const Connection& connection : connections_) {
      most = std::max(most, connection.gather);
    }
    most = std::clamp(static_cast<std::uint32_t>(max_stream_bytes / pool_.stride()), 1U, most);
    slots_ = FrameSlots::of_dma_bufs(pool_, most);
    // Which device node asks does not matter: dma-bufs of all of them are one exporter's.
    ring_.register_dma_bufs(Device{}, slots_.ranges());
  }
}

void RingSender::probe_features() {
  if (path_ == Path::copy) {
    vectored_ = takes(IORING_SEND_VECTORIZED, 0);  // sends that copy had it first
    return;
  }
  if (!ring_.supports(IORING_OP_SEND_ZC)) {
    throw Error(0, "this kernel has no IORING_OP_SEND_ZC", "it came with Linux 6.0",
                Error::Kind::impossible);
  }
  if (takes(IORING_SEND_ZC_REPORT_USAGE, 0)) {  // Linux 6.2
    zero_copy_flags_ = IORING_SEND_ZC_REPORT_USAGE;
    statistics_.usage_reported = true;
  }
  own_notification_tags_ = takes(zero_copy_flags_, RequestTag{}.pack_notification());
  if (path_ != Path::plain) {
    zero_copy_flags_ |= IORING_RECVSEND_FIXED_BUF;
  }
  vectored_ = takes(static_cast<std::uint16_t>(zero_copy_flags_ | IORING_SEND_VECTORIZED), 0);
}

/// Tries a request on no file: one that is refused for its flags (EINVAL) is told from one that is
/// refused for its descriptor (EBADF).
bool RingSender::takes(std::uint16_t send_flags, std::uint64_t addr3) noexcept {
  char byte = 0;
  const iovec range{&byte, sizeof(byte)};
  io_uring_sqe* sqe = ring_.next_sqe();
  io_uring_prep_send_zc(sqe, -1, &range, 1, 0, send_flags);
  sqe->addr3 = addr3;
  bool taken = false;
  for (unsigned due = 1; due > 0;) {
    if (ring_.submit_and_wait(1) < 0) {
      return false;
    }
    ring_.for_each_completion([&](Completion completion) noexcept {
      --due;
      if (!completion.notification()) {
        taken = completion.result() == -EBADF;
        due += completion.more() ? 1 : 0;
      }
    });
  }
  return taken;
}

/// A stream's request waits until all of it is sent. Datagrams are not linked, and one that waited
/// for room in the socket would be passed by others: so only one that goes out alone waits.
inline void RingSender::set_socket_full(Connection& connection, bool full) noexcept {
  connection.socket_full = full;
  const int waiting = connection.stream ? MSG_WAITALL : full ? 0 : MSG_DONTWAIT;
  connection.message_flags = static_cast<std::uint32_t>(MSG_NOSIGNAL | waiting);
}

inline void RingSender::make_ready(std::uint32_t connection) noexcept {
  if (!connections_[connection].ready) {
    connections_[connection].ready = true;
    ready_.push_back(connection);
  }
}

std::error_code RingSender::send_to(std::uint32_t connection, Frame frame,
                                    std::size_t length) noexcept {
  Connection& to = connections_[connection];
  if (ring_failed_ || to.failure) {
    return to.failure ? to.failure : failure_;
  }
  ledger_.push(to.unsent, std::move(frame), static_cast<std::uint32_t>(length));
  ++unsent_frames_;
  make_ready(connection);
  // While the network is busy enough, wait() starts what is queued: its system call does both.
  if (++queued_ % options_.batch == 0 && to.in_flight < (window_ + 1) / 2) {
    (void)progress();
  }
  return ring_failed_ ? failure_ : to.failure;
}

std::error_code RingSender::progress() noexcept {
  start();
  if (!ring_failed_ && waits_for_something() && ring_.has_events()) {
    ring_status(ring_.get_events());
    start();
  }
  return failure_;
}

void RingSender::start() noexcept {
  reap();
  while (prepare_ready()) {
    enter(0);  // what is done at once makes its connection ready again
  }
}

/// Notifications that nothing waits for are left to gather.
bool RingSender::waits_for_something() const noexcept {
  return results_due_ > 0 || unsent_frames_ > 0;
}

std::error_code RingSender::wait() noexcept {
  if (!ring_failed_ && clients_due() > 0) {
    prepare_ready();
    enter(worth_waiting_for_with_clients(), nothing_can_start() ? long_patience : usual_patience);
    return failure_;
  }
  while (pool_.available() == 0 && something_to_wait_for()) {
    prepare_ready();
    enter(worth_waiting_for());
  }
  return failure_;
}

std::error_code RingSender::finish() noexcept {
  while (something_to_wait_for()) {
    prepare_ready();
    enter(worth_waiting_for(), long_patience);
  }
  return failure_;
}

/// What is in flight on a connection that failed may stay there for as long as the peer likes.
bool RingSender::something_to_wait_for() const noexcept {
  return !ring_failed_ &&
         std::any_of(connections_.begin(), connections_.end(), [](const Connection& connection) {
           return !connection.failure && (connection.in_flight > 0 || !connection.unsent.empty());
         });
}

Sender::Wakeup RingSender::wakeup() const noexcept {
  return {ring_.fd(), POLLIN};
}

int RingSender::drive(unsigned wait_for) noexcept {
  if (!ring_failed_) {
    prepare_ready();
    enter(wait_for);
  }
  return ring_failed_ ? -failure_.value() : 0;
}

std::optional<RingHost::FixedPlace> RingSender::fixed_place(std::uint32_t frame) const noexcept {
  if (path_ != Path::direct && path_ != Path::fixed) {
    return std::nullopt;
  }
  const std::uint32_t slot = slots_.of(frame);
  const auto address = reinterpret_cast<std::uintptr_t>(pool_.bytes(frame).data());
  return FixedPlace{static_cast<std::uint16_t>(slot), address - slots_.origin(slot)};
}

std::uint32_t RingSender::completions_due() const noexcept {
  const std::uint32_t per_request = path_ == Path::copy || copying_ ? 1 : 2;
  return per_request * results_due_ + notifications_due_;
}

/// Half of what is to come: so each system call is worth it, whatever the batch, and the network
/// does not run dry meanwhile.
unsigned RingSender::worth_waiting_for() const noexcept {
  const std::uint32_t due = completions_due();
  return failure_ || due < 2 ? 1 : due / 2;
}

/// Others' completions are counted on only where a wait for them can be cut short: the next frame
/// of a device may be long in coming.
unsigned RingSender::worth_waiting_for_with_clients() const noexcept {
  if (failure_ || !ring_.has_min_wait()) {
    return 1;
  }
  return std::max(completions_due() / 2 + std::min(clients_expected(), enough_of_clients), 1U);
}

/// A further frame of the device would only queue up behind those that wait for room in the window.
/// Of several connections one might be stuck, and the others must not wait for it.
bool RingSender::nothing_can_start() const noexcept {
  return connections_.size() == 1 && ledger_.waiting() > 0;
}

void RingSender::enter(unsigned wait_for) noexcept {
  enter(wait_for, usual_patience);
}

void RingSender::enter(unsigned wait_for, std::chrono::microseconds patience) noexcept {
  ring_status(ring_.submit_and_wait(wait_for, patience));
  reap();
}

void RingSender::ring_status(int status) noexcept {
  if (status < 0) {
    ring_failed_ = true;
    failure_ = {-status, std::system_category()};
  }
}

/// Queues requests for every connection that is ready; the next system call starts them.
bool RingSender::prepare_ready() noexcept {
  if (ring_failed_) {
    return false;
  }
  ledger_.tick();
  starting_.swap(ready_);
  bool any = false;
  for (const std::uint32_t connection : starting_) {
    connections_[connection].ready = false;
    any |= start_chain(connection);
  }
  starting_.clear();
  return any;
}

bool RingSender::start_chain(std::uint32_t number) noexcept {
  Connection& connection = connections_[number];
  if (connection.failure || connection.refusal != 0 || connection.results_due > 0) {
    return false;
  }
  io_uring_sqe* previous = nullptr;
  std::uint32_t frame = connection.unsent.head;
  while (frame != none) {
    const std::uint32_t index = free_request_;
    if (index == none) {
      make_ready(number);  // as soon as another connection is done with one
      break;
    }
    Request& request = requests_[index];
    request.connection = number;
    frame = gather(request, frame);
    if (request.frame_count == 0) {
      break;
    }
    free_request_ = request.next_free;
    if (previous != nullptr && connection.stream) {
      previous->flags |= IOSQE_IO_LINK;
    }
    previous = ring_.next_sqe();
    prepare(*previous, index);
    ++connection.results_due;
    ++results_due_;
    if (connection.socket_full) {
      break;  // the first waits for room; behind it there would be none
    }
  }
  return previous != nullptr;
}

/// Fills a request with frames from `first` on, as many as the window has room for. Returns the
/// first frame that the request does not take.
inline std::uint32_t RingSender::gather(Request& request, std::uint32_t first) noexcept {
  Connection& connection = connections_[request.connection];
  request.frame_count = 0;
  request.range_count = 0;
  request.length = 0;
  request.failed = false;
  request.notification_due = false;
  // Datagrams that went out while one before them was refused are still queued.
  while (first != none && ledger_[first].unsent() == 0) {
    first = ledger_[first].next;
  }
  request.first = first;
  std::uint32_t frame = first;
  if (frame != none) {
    request.slot = slots_.of(frame);
  }
  if (frame != none && add(connection, request, frame)) {
    std::uint32_t previous = frame;
    frame = ledger_[frame].next;
    while (frame != none && request.frame_count < connection.gather &&
           joins(connection, request, previous, frame) && add(connection, request, frame)) {
      previous = frame;
      frame = ledger_[frame].next;
    }
  }
  return frame;
}

/// Whether a request can take one more frame, behind `previous`.
bool RingSender::joins(const Connection& connection, const Request& request, std::uint32_t previous,
                       std::uint32_t frame) const noexcept {
  if (ledger_[frame].unsent() == 0 || !slots_.holds(request.slot, frame)) {
    return false;
  }
  const FrameLedger::Entry& before = ledger_[previous];
  const std::uint32_t length = request.length + ledger_[frame].unsent();
  const bool adjacent = before.length == pool_.stride() && frame == previous + 1;
  if (!connection.stream) {
    // All datagrams of a request but the last have the same length. The kernel makes one packet of
    // them; its fragments are pages at worst.
    const std::uint32_t fragments = length / page_length + 2 * (request.range_count + 1);
    if (before.length != pool_.frame_length() || length > max_datagram_bytes ||
        (fragments > max_fragments && !adjacent)) {
      return false;
    }
  } else if (length > max_stream_bytes) {
    return false;
  }
  return adjacent || (vectored_ && request.range_count < max_ranges);
}

/// Adds what is left to send of a frame, by its address in our memory. False if the window is full.
inline bool RingSender::add(Connection& connection, Request& request,
                            std::uint32_t frame) noexcept {
  const FrameLedger::Entry& entry = ledger_[frame];
  if (entry.holds == 0 && connection.in_flight >= window_) {
    return false;
  }
  std::byte* const start = pool_.bytes(frame).data() + entry.sent;
  const std::uint32_t length = entry.unsent();
  iovec* const last = request.ranges.data() + request.range_count - 1;
  if (request.range_count > 0 && static_cast<std::byte*>(last->iov_base) + last->iov_len == start) {
    last->iov_len += length;
  } else {
    request.ranges[request.range_count++] = {start, length};
  }
  request.length += length;
  ++request.frame_count;
  if (ledger_.hold(frame)) {
    ++connection.in_flight;
  }
  return true;
}

inline bool RingSender::better_copied(const Request& request) const noexcept {
  return path_ == Path::copy ||
         (options_.may_copy &&
          (copying_ || (options_.cached_data && request.length < cheaper_to_copy)));
}

inline void RingSender::prepare(io_uring_sqe& sqe, std::uint32_t index) noexcept {
  Request& request = requests_[index];
  const Connection& connection = connections_[request.connection];
  const RequestTag tag{index, request.sequence = sequence_++};
  std::uintptr_t origin = slots_.origin(request.slot);
  if (better_copied(request)) {
    io_uring_prep_send(&sqe, connection.socket, nullptr, 0, 0);
    origin = 0;
    statistics_.copying_sends += path_ == Path::copy ? 0 : 1;
  } else {
    io_uring_prep_send_zc(&sqe, connection.socket, nullptr, 0, 0, zero_copy_flags_);
    sqe.buf_index = static_cast<std::uint16_t>(request.slot);
    sqe.addr3 = own_notification_tags_ ? tag.pack_notification() : 0;
  }
  sqe.user_data = tag.pack();
  sqe.msg_flags = connection.message_flags;
  if (request.range_count == 1) {
    sqe.addr = reinterpret_cast<std::uintptr_t>(request.ranges[0].iov_base) - origin;
    sqe.len = static_cast<std::uint32_t>(request.ranges[0].iov_len);
    return;
  }
  for (std::uint32_t i = 0; i < request.range_count; ++i) {
    const auto address = reinterpret_cast<std::uintptr_t>(request.ranges[i].iov_base);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): for io_uring, which takes it for an offset
    request.ranges[i].iov_base = reinterpret_cast<void*>(address - origin);
  }
  sqe.addr = reinterpret_cast<std::uintptr_t>(request.ranges.data());
  sqe.len = request.range_count;
  sqe.ioprio |= IORING_SEND_VECTORIZED;
}

/// The kernel has let go of a request's memory.
inline void RingSender::done_with(std::uint32_t index) noexcept {
  Request& request = requests_[index];
  Connection& connection = connections_[request.connection];
  std::uint32_t frame = request.first;
  for (std::uint32_t left = request.frame_count; left > 0; --left) {
    const std::uint32_t next = ledger_[frame].next;  // from here on it may be queued again
    if (ledger_.let_go(frame)) {
      --connection.in_flight;
    }
    frame = next;
  }
  request.next_free = std::exchange(free_request_, index);
  if (refused_ > 0 && !request.failed) {
    retry_refused(true);
  }
  if (!connection.unsent.empty()) {
    make_ready(request.connection);
  }
}

inline void RingSender::count_sent(const Request& request, std::uint32_t bytes) noexcept {
  Connection& connection = connections_[request.connection];
  statistics_.bytes += bytes;
  if (connection.failure) {
    return;
  }
  std::uint32_t frame = request.first;
  for (std::uint32_t left = request.frame_count; left > 0 && bytes > 0; --left) {
    const std::uint32_t part = std::min(bytes, ledger_[frame].unsent());
    bytes -= part;
    const std::uint32_t complete = ledger_.sent(connection.unsent, frame, part);
    unsent_frames_ -= complete;
    statistics_.frames += complete;
    frame = ledger_[frame].next;
  }
}

[[gnu::always_inline]] inline void RingSender::handle_result(Completion completion) noexcept {
  Request& request = requests_[completion.request()];
  Connection& connection = connections_[request.connection];
  const std::uint32_t number = request.connection;
  --results_due_;
  --connection.results_due;
  tally_.end_run();
  request.failed = completion.result() < 0;
  if (completion.result() >= 0) {
    if (connection.socket_full) {
      set_socket_full(connection, false);
    }
    ++statistics_.sends;
    count_sent(request, static_cast<std::uint32_t>(completion.result()));
  } else if (completion.result() == -EAGAIN) {
    set_socket_full(connection, true);
  } else if (completion.result() != -ECANCELED && completion.result() != -EINTR) {
    // Cancelled: the chain broke before it, its cause is in another completion.
    handle_refusal(connection, number, -completion.result());
  }
  if (completion.more()) {
    request.notification_due = true;
    ++notifications_due_;
  } else {
    done_with(completion.request());
  }
  if (connection.results_due == 0 && !connection.unsent.empty()) {
    make_ready(number);
  }
}

inline void RingSender::handle_notification(Completion completion) noexcept {
  Request& request = requests_[completion.request()];
  // When a chain breaks the kernel completes the rest of it without announcing the notifications
  // that come all the same; nothing was sent, and the record may serve another request by now.
  if (!request.notification_due || request.sequence != completion.sequence()) {
    return;
  }
  request.notification_due = false;
  --notifications_due_;
  if (request.failed) {
    tally_.end_run();
  } else {
    ++statistics_.notifications;
    if (statistics_.usage_reported) {
      tally_.add(completion.sequence(), completion.flagged_copied(), statistics_);
      if (options_.may_copy && !copying_ && statistics_.copied >= enough_to_judge) {
        copying_ = statistics_.copied > 4 * statistics_.zero_copied;
      }
    }
  }
  done_with(completion.request());
}

void RingSender::reap() noexcept {
  ledger_.tick();
  ring_.for_each_completion([this](Completion completion) noexcept {
    if (completion.client() != 0) {
      dispatch(completion);
    } else if (completion.notification()) {
      handle_notification(completion);
    } else {
      handle_result(completion);
    }
  });
  statistics_.system_calls = ring_.enters() - set_up_calls_;
  if (refused_ > 0 && results_due_ + notifications_due_ == 0) {
    retry_refused(false);
  }
}

/// A request that found no memory is made again when another one has ended and freed some.
void RingSender::handle_refusal(Connection& connection, std::uint32_t number, int code) noexcept {
  if (code != ENOBUFS && code != ENOMEM) {
    fail(number, code);
  } else if (connection.refusal == 0) {
    connection.refusal = code;
    ++refused_;
  }
}

void RingSender::retry_refused(bool memory_was_freed) noexcept {
  for (std::uint32_t number = 0; number < connections_.size(); ++number) {
    const int code = std::exchange(connections_[number].refusal, 0);
    if (code == 0) {
      continue;
    }
    if (memory_was_freed) {
      ++statistics_.retries;
      make_ready(number);
    } else {
      fail(number, code);
    }
  }
  refused_ = 0;
}

void RingSender::fail(std::uint32_t number, int code) noexcept {
  Connection& connection = connections_[number];
  if (connection.failure) {
    return;
  }
  connection.failure = {code, std::system_category()};
  if (!failure_) {
    failure_ = connection.failure;
  }
  for (std::uint32_t frame = connection.unsent.head; frame != none; frame = ledger_[frame].next) {
    --unsent_frames_;
  }
  ledger_.clear(connection.unsent);
}

}  // namespace dmawire
