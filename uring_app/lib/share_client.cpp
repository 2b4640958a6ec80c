// SPDX-License-Identifier: MIT
#include <dmawire/share_client.hpp>

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>
#include <vector>

#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/packet_socket.hpp>

#include "received_buffer.hpp"
#include "share_message.hpp"
#include "sys.hpp"

namespace dmawire {
namespace {

/// An owner answers at once, or it is stuck.
constexpr std::chrono::seconds patience{10};

/// Without the module there is nothing to ask.
std::optional<Device> open_device() {
  try {
    return std::make_optional<Device>();
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// What an owner says of itself before it lends anything.
class Introduction {
 public:
  Introduction(int socket, const std::string& name, const ShareClient::Options& options)
      : socket_(socket), name_(name), options_(options) {
    greet();
    take_welcome();
    while (buffers_.size() < welcome_.buffers) {
      take_buffers();
    }
    if (places_.size() != welcome_.frames) {
      throw broken("the buffers have other frames than were announced");
    }
  }

  [[nodiscard]] std::uint32_t hold() const noexcept { return welcome_.hold; }
  [[nodiscard]] FramePool make_pool() {
    return FramePool::at(std::move(places_), std::move(buffers_), welcome_.frame_length,
                         welcome_.stride);
  }
  [[nodiscard]] std::vector<ShareClient::SharedBuffer> take_descriptions() noexcept {
    return std::move(descriptions_);
  }

 private:
  void greet() {
    const dmawire_share_hello hello{.header = {},
                                    .magic = DMAWIRE_SHARE_MAGIC,
                                    .version = DMAWIRE_SHARE_VERSION,
                                    .hold = options_.hold,
                                    .flags = 0};
    const std::error_code error = share::Outgoing{DMAWIRE_SHARE_HELLO, hello}.send(socket_);
    // An owner that has no room says so and closes without reading.
    if (error && error.value() != EPIPE) {
      throw Error(error.value(), fmt::format("greeting the owner of {}", name_));
    }
  }

  void take_welcome() {
    receive(DMAWIRE_SHARE_WELCOME);
    welcome_ = message_.as<dmawire_share_welcome>();
    if (welcome_.version != DMAWIRE_SHARE_VERSION || welcome_.hold == 0 || welcome_.buffers == 0 ||
        welcome_.buffers > DMAWIRE_SHARE_MAX_BUFFERS || welcome_.frames == 0 ||
        welcome_.frames > DMAWIRE_SHARE_MAX_FRAMES || welcome_.frame_length == 0 ||
        welcome_.frame_length > welcome_.stride ||
        welcome_.stride > std::numeric_limits<std::uint32_t>::max()) {
      throw broken("it announces what cannot be");
    }
  }

  void take_buffers() {
    receive(DMAWIRE_SHARE_BUFFERS);
    if (message_.descriptor_count() != message_.count()) {
      throw broken("it hands over more or fewer descriptors than buffers");
    }
    for (std::uint32_t i = 0; i < message_.count(); ++i) {
      take_buffer(message_.entry<dmawire_share_buffer>(i), message_.take_descriptor(i));
    }
  }

  void take_buffer(const dmawire_share_buffer& buffer, UniqueFd fd) {
    const std::uint64_t room = buffer.length - std::min(buffer.offset, buffer.length);
    if (buffer.id != buffers_.size() || buffer.id >= welcome_.buffers || buffer.flags != 0 ||
        buffer.first_frame != places_.size() || buffer.frames > welcome_.frames - places_.size() ||
        buffer.length > std::numeric_limits<std::uint32_t>::max() ||
        (buffer.frames > 0 &&
         (room < welcome_.frame_length ||
          (room - welcome_.frame_length) / welcome_.stride < buffer.frames - 1))) {
      throw broken("a buffer cannot be what it says");
    }
    for (std::uint32_t frame = 0; frame < buffer.frames; ++frame) {
      places_.push_back(
          {buffer.id, static_cast<std::uint32_t>(buffer.offset + frame * welcome_.stride)});
    }
    try {
      ReceivedBuffer handed =
          take_handed(std::move(fd), buffer.length, device_ ? &*device_ : nullptr, options_.memfds);
      buffers_.push_back(std::move(handed.buffer));
      descriptions_.push_back({std::move(handed.exporter), handed.foreign});
    } catch (const Error& error) {
      throw Error(0, fmt::format("buffer {} of {}: {}", buffer.id, name_, error.what()), {},
                  error.kind());
    }
  }

  /// Waits for a message and demands that it is of this type.
  void receive(dmawire_share_type type) {
    for (;;) {
      const std::error_code error = message_.receive(socket_, share::Incoming::Descriptors::some);
      if (error.value() == EAGAIN) {
        wait();
      } else if (error.value() == EMFILE) {
        throw Error(EMFILE, fmt::format("taking the buffers of {}", name_),
                    "raise the limit of open files (ulimit -n)");
      } else if (error.value() == EPROTO) {
        throw broken("it sends what is no message");
      } else if (error) {
        throw Error(error.value(), fmt::format("taking what {} shares", name_),
                    "its owner closed the connection");
      } else {
        break;
      }
    }
    if (message_.type() == DMAWIRE_SHARE_END) {
      const auto end = message_.as<dmawire_share_end>();
      throw Error(0, fmt::format("the owner of {} shares nothing: {}", name_,
                                 describe(static_cast<dmawire_share_reason>(end.reason))));
    }
    if (message_.type() != type) {
      throw broken("it sends messages out of order");
    }
  }

  void wait() {
    pollfd entry{.fd = socket_, .events = POLLIN, .revents = 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline_ - std::chrono::steady_clock::now());
    const int ready =
        sys().poll(&entry, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready == 0) {
      throw Error(ETIMEDOUT, fmt::format("taking what {} shares", name_),
                  "its owner does not answer");
    }
    if (ready < 0 && errno != EINTR) {
      const int code = errno;
      throw Error(code, fmt::format("waiting for {}", name_));
    }
  }

  [[nodiscard]] Error broken(std::string_view how) const {
    return {EPROTO, fmt::format("taking what {} shares: {}", name_, how),
            "the owner does not keep to the protocol of share.h"};
  }

  const int socket_;
  const std::string& name_;
  const ShareClient::Options& options_;
  const std::optional<Device> device_ = open_device();
  const std::chrono::steady_clock::time_point deadline_ =
      std::chrono::steady_clock::now() + patience;
  share::Incoming message_;
  dmawire_share_welcome welcome_{};
  std::vector<FramePool::Place> places_;
  std::vector<Buffer> buffers_;
  std::vector<ShareClient::SharedBuffer> descriptions_;
};

}  // namespace

/// The frames that are at their owner are held here, so that nobody else has them.
class ShareClient::Engine {
 public:
  Engine(UniqueFd socket, Introduction& introduction)
      : socket_(std::move(socket)),
        hold_(introduction.hold()),
        descriptions_(introduction.take_descriptions()),
        pool_(introduction.make_pool()),
        away_(pool_.size()),
        lent_(pool_.size()),
        arrived_(pool_.size()) {
    while (std::optional<Frame> frame = pool_.take()) {
      away_[frame->index()].emplace(std::move(*frame));
    }
    done_.reserve(share::max_entries);
  }

  std::optional<LentFrame> next() noexcept {
    if (arrived_count_ == 0) {
      receive();
    }
    if (arrived_count_ == 0) {
      return std::nullopt;
    }
    const dmawire_share_frame told = arrived_[first_arrived_];
    first_arrived_ = first_arrived_ + 1 == arrived_.size() ? 0 : first_arrived_ + 1;
    --arrived_count_;
    ++statistics_.frames;
    statistics_.bytes += told.length;
    statistics_.lost += told.lost;
    statistics_.skipped += told.skipped;
    LentFrame lent{.frame = std::move(*away_[told.id]),
                   .length = static_cast<std::size_t>(told.length),
                   .sequence = told.sequence,
                   .timestamp = std::chrono::nanoseconds{told.timestamp},
                   .lost = told.lost,
                   .skipped = told.skipped};
    away_[told.id].reset();
    return lent;
  }

  std::error_code give_back() noexcept {
    for (;;) {
      while (done_.size() < share::max_entries) {
        std::optional<Frame> frame = pool_.take();
        if (!frame) {
          break;
        }
        const std::uint32_t id = frame->index();
        away_[id].emplace(std::move(*frame));
        done_.push_back(id);
      }
      if (done_.empty()) {
        break;
      }
      share::Outgoing message{DMAWIRE_SHARE_DONE};
      for (const std::uint32_t id : done_) {
        message.add(__u32{id});
      }
      if (message.send(socket_.get())) {
        // That an owner has gone is learnt by reading.
        break;
      }
      for (const std::uint32_t id : done_) {
        lent_[id] = false;
      }
      done_.clear();
    }
    return failure();
  }

  std::error_code wait() noexcept {
    (void)give_back();
    if (arrived_count_ == 0) {
      receive();
    }
    if (arrived_count_ == 0 && !end_) {
      const short room = done_.empty() ? short{0} : POLLOUT;
      pollfd entry{.fd = socket_.get(), .events = static_cast<short>(POLLIN | room), .revents = 0};
      if (sys().poll(&entry, 1, -1) < 0 && errno != EINTR) {
        fail(errno);
      }
      receive();
    }
    return failure();
  }

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] std::error_code failure() const noexcept {
    return arrived_count_ == 0 ? end_ : std::error_code{};
  }
  [[nodiscard]] dmawire_share_reason reason() const noexcept { return reason_; }
  [[nodiscard]] FramePool& pool() noexcept { return pool_; }
  [[nodiscard]] std::span<const SharedBuffer> buffers() const noexcept { return descriptions_; }
  [[nodiscard]] std::uint32_t hold() const noexcept { return hold_; }
  [[nodiscard]] const ShareClientStatistics& statistics() const noexcept { return statistics_; }

 private:
  /// Takes in what has come.
  void receive() noexcept {
    while (!end_) {
      const int code = message_.receive(socket_.get(), share::Incoming::Descriptors::none).value();
      if (code == EAGAIN) {
        return;
      }
      if (code != 0) {
        fail(code);
      } else if (message_.type() == DMAWIRE_SHARE_FRAMES) {
        for (std::uint32_t i = 0; i < message_.count(); ++i) {
          arrive(message_.entry<dmawire_share_frame>(i));
        }
      } else if (message_.type() == DMAWIRE_SHARE_END) {
        const auto end = message_.as<dmawire_share_end>();
        reason_ = static_cast<dmawire_share_reason>(end.reason);
        statistics_.skipped += end.skipped;
        fail(ENODATA);
      } else {
        fail(EPROTO);
      }
    }
  }

  void arrive(const dmawire_share_frame& told) noexcept {
    if (end_) {
      return;
    }
    if (told.id >= pool_.size() || lent_[told.id] || told.buffer != pool_.place(told.id).buffer ||
        told.offset != pool_.place(told.id).offset || told.length == 0 ||
        told.length > pool_.frame_length() || told.flags != 0 || told.reserved != 0) {
      fail(EPROTO);
      return;
    }
    lent_[told.id] = true;
    const std::size_t end = first_arrived_ + arrived_count_++;
    arrived_[end < arrived_.size() ? end : end - arrived_.size()] = told;
  }

  void fail(int code) noexcept { end_ = {code, std::system_category()}; }

  UniqueFd socket_;
  const std::uint32_t hold_;
  std::vector<SharedBuffer> descriptions_;
  FramePool pool_;
  std::vector<std::optional<Frame>> away_;    ///< by frame: those that we do not hold
  std::vector<bool> lent_;                    ///< by frame: until the owner is told
  std::vector<dmawire_share_frame> arrived_;  ///< a ring of what next() will yield
  std::size_t first_arrived_ = 0;
  std::size_t arrived_count_ = 0;
  std::vector<std::uint32_t> done_;  ///< to be told
  share::Incoming message_;
  std::error_code end_;
  dmawire_share_reason reason_ = DMAWIRE_SHARE_FINISHED;
  ShareClientStatistics statistics_;
};

ShareClient::ShareClient(const std::string& path, const Options& options)
    : ShareClient(connect_packets(path), path, options) {}

ShareClient::ShareClient(UniqueFd socket, const std::string& name, const Options& options) {
  Introduction introduction{socket.get(), name, options};
  engine_ = std::make_unique<Engine>(std::move(socket), introduction);
}

ShareClient::~ShareClient() = default;

std::optional<LentFrame> ShareClient::next() noexcept {
  return engine_->next();
}

std::error_code ShareClient::give_back() noexcept {
  return engine_->give_back();
}

std::error_code ShareClient::wait() noexcept {
  return engine_->wait();
}

int ShareClient::fd() const noexcept {
  return engine_->fd();
}

std::error_code ShareClient::failure() const noexcept {
  return engine_->failure();
}

dmawire_share_reason ShareClient::reason() const noexcept {
  return engine_->reason();
}

FramePool& ShareClient::pool() noexcept {
  return engine_->pool();
}

std::span<const ShareClient::SharedBuffer> ShareClient::buffers() const noexcept {
  return engine_->buffers();
}

std::uint32_t ShareClient::hold() const noexcept {
  return engine_->hold();
}

const ShareClientStatistics& ShareClient::statistics() const noexcept {
  return engine_->statistics();
}

std::string_view describe(dmawire_share_reason reason) noexcept {
  switch (reason) {
    case DMAWIRE_SHARE_FINISHED:
      return "it has come to its end";
    case DMAWIRE_SHARE_FAILED:
      return "its device or file failed";
    case DMAWIRE_SHARE_FULL:
      return "it has as many clients as it takes";
    case DMAWIRE_SHARE_BAD_VERSION:
      return "it speaks another version of the protocol";
    case DMAWIRE_SHARE_PROTOCOL_ERROR:
      return "it says that we broke a rule of the protocol";
    case DMAWIRE_SHARE_NO_DESCRIPTORS:
      return "it could not hand its buffers over, its limit of open files may be too small";
    case DMAWIRE_SHARE_TIMED_OUT:
      return "it says that we did not read, or were not done, in time";
  }
  return "it does not say why";
}

}  // namespace dmawire
