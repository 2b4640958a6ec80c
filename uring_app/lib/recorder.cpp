// SPDX-License-Identifier: MIT
#include <dmawire/recorder.hpp>

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <dmawire/error.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/unique_fd.hpp>

#include "own_ring.hpp"
#include "ring_host.hpp"
#include "sys.hpp"

namespace dmawire {
namespace {

/// What O_DIRECT takes on every disk that is known of: offsets, lengths and addresses.
constexpr std::size_t block = 4096;

FramePool& recordable(FramePool& pool) {
  if (std::any_of(pool.buffers().begin(), pool.buffers().end(),
                  [](const Buffer& one) { return one.pages() == Buffer::Pages::none; })) {
    throw Error(0, "the memory's mapping has no pages to write to a disk from",
                "dmawire's has, but for --backing coherent", Error::Kind::impossible);
  }
  for (std::uint32_t frame = 0; frame < pool.size(); ++frame) {
    if (pool.place(frame).offset % block != 0) {
      throw Error(0, "frames that do not begin on a page cannot be written past the page cache",
                  fmt::format("they do if their size is a multiple of {}", block),
                  Error::Kind::impossible);
    }
  }
  return pool;
}

UniqueFd create_file(const std::string& path) {
  UniqueFd fd{sys().create(path.c_str(), O_WRONLY | O_TRUNC | O_DIRECT | O_CLOEXEC, 0666)};
  if (!fd.valid()) {
    const int code = errno;
    throw Error(code, fmt::format("opening {} for direct writing", path),
                code == EINVAL ? "its file system has no O_DIRECT; choose a file on a disk" : "",
                code == EINVAL ? Error::Kind::impossible : Error::Kind::failed);
  }
  return fd;
}

}  // namespace

/// The writes under way; a frame's is at the frame's index.
class Recorder::Engine final : public RingClient {
 public:
  Engine(const std::string& path, FramePool& pool, std::unique_ptr<OwnRing> own, RingHost& host)
      : own_(std::move(own)),
        host_(host),
        file_(create_file(path)),
        writes_(pool.size()),
        number_(host.join(*this)) {}
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() {
    drain();
    host_.leave(number_);
  }

  std::error_code write(Frame frame, std::size_t length) noexcept {
    if (failure_) {
      return failure_;
    }
    const std::uint32_t index = frame.index();
    Write& write = writes_[index];
    write.frame.emplace(std::move(frame));
    write.offset = next_offset_;
    write.length = length;
    write.written = 0;
    end_ = next_offset_ + length;
    next_offset_ += (length + block - 1) / block * block;
    ++due_;
    submit(index);
    return {};
  }

  std::error_code wait() noexcept {
    if (host_.clients_due() > 0 && !failure_) {
      if (const int status = host_.drive(1); status < 0) {
        fail(-status);
      }
    }
    return failure_;
  }

  std::error_code finish() noexcept {
    drain();
    if (!failure_ && sys().ftruncate(file_.get(), static_cast<off_t>(end_)) < 0) {
      fail(errno);
    }
    return failure_;
  }

  void handle(Completion completion) noexcept override {
    const std::uint32_t index = completion.request();
    Write& write = writes_[index];
    const int result = completion.result();
    if (result == -EINTR || result == -EAGAIN) {
      submit(index);
      return;
    }
    write.written += static_cast<std::size_t>(std::max(result, 0));
    if (result > 0 && write.written < write.length) {
      submit(index);
      return;
    }
    if (result > 0) {
      bytes_ += write.length;
    } else {
      fail(result == 0 ? EIO : -result);
    }
    write.frame.reset();
    --due_;
  }

  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::error_code failure() const noexcept { return failure_; }
  [[nodiscard]] RingHost& host() noexcept { return host_; }

 private:
  struct Write {
    std::optional<Frame> frame;
    std::uint64_t offset = 0;
    std::size_t length = 0;
    std::size_t written = 0;
  };

  void submit(std::uint32_t index) noexcept {
    const Write& write = writes_[index];
    const auto rest =
        static_cast<unsigned>((write.length + block - 1) / block * block - write.written);
    const std::uint64_t offset = write.offset + write.written;
    io_uring_sqe* const sqe = host_.next_sqe();
    if (const auto place = host_.fixed_place(index)) {
      // The kernel counts the address from the slot's beginning: it is none of ours.
      io_uring_prep_rw(IORING_OP_WRITE_FIXED, sqe, file_.get(), nullptr, rest, offset);
      sqe->addr = place->address + write.written;
      sqe->buf_index = place->slot;
    } else {
      io_uring_prep_write(sqe, file_.get(), write.frame->bytes().data() + write.written, rest,
                          offset);
    }
    sqe->user_data = RequestTag{index, 0, number_}.pack();
  }

  void drain() noexcept {
    while (due_ > 0) {
      if (const int status = host_.drive(1); status < 0) {
        fail(-status);
        break;
      }
    }
  }

  void fail(int code) noexcept {
    if (!failure_) {
      failure_ = {code, std::system_category()};
    }
  }

  std::unique_ptr<OwnRing> own_;  ///< if it is no sender's
  RingHost& host_;
  const UniqueFd file_;
  std::vector<Write> writes_;  ///< by frame
  const std::uint32_t number_;
  std::uint32_t due_ = 0;
  std::uint64_t next_offset_ = 0;
  std::uint64_t end_ = 0;
  std::uint64_t bytes_ = 0;
  std::error_code failure_;
};

Recorder::Recorder(const std::string& path, FramePool& pool, Sender& sender)
    : engine_(std::make_unique<Engine>(path, recordable(pool), nullptr,
                                       RingHost::of(sender, "to record with"))) {}

Recorder::Recorder(const std::string& path, FramePool& pool) {
  auto own = std::make_unique<OwnRing>(pool.size() + RingHost::max_watches);
  RingHost& host = *own;
  engine_ = std::make_unique<Engine>(path, recordable(pool), std::move(own), host);
}

Recorder::~Recorder() = default;

std::error_code Recorder::write(Frame frame, std::size_t length) noexcept {
  return engine_->write(std::move(frame), length);
}

std::error_code Recorder::wait() noexcept {
  return engine_->wait();
}

std::error_code Recorder::finish() noexcept {
  return engine_->finish();
}

std::uint64_t Recorder::bytes() const noexcept {
  return engine_->bytes();
}

std::error_code Recorder::failure() const noexcept {
  return engine_->failure();
}

RingHost& Recorder::ring_host() noexcept {
  return engine_->host();
}

}  // namespace dmawire
