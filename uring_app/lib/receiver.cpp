// SPDX-License-Identifier: MIT
#include <dmawire/receiver.hpp>

#include <fmt/format.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>

#include <dmawire/error.hpp>

#include "ring.hpp"
#include "sys.hpp"

namespace dmawire {
namespace {

constexpr std::uint32_t chunk_length = 128 * 1024;
constexpr std::uint32_t chunk_count = 64;  // a power of two
constexpr int buffer_group = 0;
constexpr std::size_t ring_length = chunk_count * sizeof(io_uring_buf);

void* map_memory(std::size_t length) {
  void* address =
      sys().mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    const int code = errno;
    throw Error(code, fmt::format("allocating {} bytes to receive into", length));
  }
  return address;
}

struct Unmap {
  std::size_t length;
  void operator()(void* address) const noexcept { ::munmap(address, length); }
};
using Memory = std::unique_ptr<void, Unmap>;

}  // namespace

/// One multishot receive keeps taking buffers from a ring shared with the kernel; a buffer goes
/// back into it when the caller asks for the next bytes.
class Receiver::Engine {
 public:
  explicit Engine(int socket)
      : socket_(socket),
        chunks_(map_memory(std::size_t{chunk_count} * chunk_length),
                Unmap{std::size_t{chunk_count} * chunk_length}),
        buffer_ring_(map_memory(ring_length), Unmap{ring_length}),
        ring_(4, 4 * chunk_count) {
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uintptr_t>(buffer_ring_.get());
    registration.ring_entries = chunk_count;
    registration.bgid = buffer_group;
    if (const int status = io_uring_register_buf_ring(ring_.get(), &registration, 0); status < 0) {
      throw Error(-status, "providing buffers to an io_uring", "Linux 6.0 or later is needed",
                  Error::Kind::impossible);
    }
    io_uring_buf_ring_init(buffers());
    for (std::uint32_t index = 0; index < chunk_count; ++index) {
      provide(static_cast<std::uint16_t>(index));
    }
  }

  Received next() noexcept {
    if (held_) {
      provide(*held_);
      held_.reset();
    }
    for (;;) {
      while (taken_ < arrived_count_) {
        const Completion& completion = arrived_[taken_++];
        if (completion.has_buffer()) {
          held_ = completion.buffer();
          return {{}, {chunk(completion.buffer()), static_cast<std::size_t>(completion.result())}};
        }
        if (completion.result() == 0) {
          return {};
        }
        // Without a free buffer the receive ends; it is asked for again below.
        if (completion.result() != -ENOBUFS && completion.result() != -EINTR) {
          return {{-completion.result(), std::system_category()}, {}};
        }
      }
      if (const int status = take_more(); status < 0) {
        return {{-status, std::system_category()}, {}};
      }
    }
  }

 private:
  [[nodiscard]] io_uring_buf_ring* buffers() noexcept {
    return static_cast<io_uring_buf_ring*>(buffer_ring_.get());
  }
  [[nodiscard]] std::byte* chunk(std::uint16_t index) noexcept {
    auto* first = static_cast<std::byte*>(chunks_.get());
    return &first[std::size_t{index} * chunk_length];
  }

  void provide(std::uint16_t index) noexcept {
    io_uring_buf_ring_add(buffers(), chunk(index), chunk_length, index,
                          io_uring_buf_ring_mask(chunk_count), 0);
    io_uring_buf_ring_advance(buffers(), 1);
  }

  /// Waits for completions; every buffer is back with the kernel when this is called.
  int take_more() noexcept {
    if (!armed_) {
      io_uring_sqe* sqe = ring_.next_sqe();
      io_uring_prep_recv_multishot(sqe, socket_, nullptr, 0, 0);
      sqe->flags |= IOSQE_BUFFER_SELECT;
      sqe->buf_group = buffer_group;
      armed_ = true;
    }
    if (const int status = ring_.submit_and_wait(1); status < 0) {
      return status;
    }
    taken_ = 0;
    arrived_count_ = 0;
    ring_.for_each_completion([this](const Completion& completion) noexcept {
      armed_ = completion.more();
      arrived_[arrived_count_++] = completion;
    });
    return 0;
  }

  const int socket_;
  Memory chunks_;
  Memory buffer_ring_;
  /// Completions of one wait: a chunk each, and the one that ends a receive.
  std::array<Completion, std::size_t{4} * chunk_count> arrived_;
  std::size_t arrived_count_ = 0;
  std::size_t taken_ = 0;
  std::optional<std::uint16_t> held_;
  bool armed_ = false;
  /// Last, so that it goes first: the kernel may write to chunks until then.
  Ring ring_;
};

Receiver::Receiver(int socket) : engine_(std::make_unique<Engine>(socket)) {}
Receiver::~Receiver() = default;
Receiver::Received Receiver::next() noexcept {
  return engine_->next();
}

}  // namespace dmawire
