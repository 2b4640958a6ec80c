// SPDX-License-Identifier: MIT
#include <dmawire/read_watch.hpp>

#include <poll.h>

#include "ring_host.hpp"

namespace dmawire {

/// A poll request at a time, and at the end one that cancels it. (IORING_OP_POLL_REMOVE would not
/// do: it leaves alone a request that has been woken and is about to look, which then finds nothing
/// if what woke it has been read, and stays.)
class ReadWatch::Engine final : public RingClient {
 public:
  Engine(RingHost& host, int fd) : host_(host), fd_(fd), number_(host.join(*this)) {}
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() {
    if (due_ > 0) {
      io_uring_sqe* const sqe = host_.next_sqe();
      io_uring_prep_cancel64(sqe, tag(poll), 0);
      sqe->user_data = tag(cancellation);
      ++due_;
    }
    while (due_ > 0 && host_.drive(1) == 0) {
    }
    host_.leave(number_);
  }

  void arm() noexcept {
    if (armed()) {
      return;
    }
    io_uring_sqe* const sqe = host_.next_open_ended_sqe();
    io_uring_prep_poll_add(sqe, fd_, POLLIN);
    sqe->user_data = tag(poll);
    ++due_;
  }

  [[nodiscard]] bool armed() const noexcept { return due_ > 0; }

  void handle(Completion completion) noexcept override {
    --due_;
    if (completion.request() == poll) {
      host_.open_ended_is_done();
    }
  }

 private:
  static constexpr std::uint32_t poll = 0;
  static constexpr std::uint32_t cancellation = 1;

  [[nodiscard]] std::uint64_t tag(std::uint32_t request) const noexcept {
    return RequestTag{request, 0, number_}.pack();
  }

  RingHost& host_;
  const int fd_;
  const std::uint32_t number_;
  std::uint32_t due_ = 0;
};

ReadWatch::ReadWatch(RingHost& host, int fd) : engine_(std::make_unique<Engine>(host, fd)) {}

ReadWatch::~ReadWatch() = default;

void ReadWatch::arm() noexcept {
  engine_->arm();
}

bool ReadWatch::armed() const noexcept {
  return engine_->armed();
}

}  // namespace dmawire
