// SPDX-License-Identifier: MIT
#include "run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <dmawire/error.hpp>
#include <dmawire/paths.hpp>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "../hash.hpp"
#include "machine.hpp"

namespace dmawire::commands::bench {
namespace {

/// Frames between two looks at the clock.
constexpr std::uint64_t look_interval = 256;

ChosenSender open_sender(const Case& what, const Peer& peer, FramePool& pool) {
  std::vector<int> sockets;
  for (const UniqueFd& socket : peer.sockets()) {
    sockets.push_back(socket.get());
  }
  Sender::Options options{.depth = what.depth, .batch = what.batch, .gather = what.gather};
  if (what.path) {
    return {make_sender(*what.path, sockets, pool, options), *what.path, ""};
  }
  options.may_copy = true;
  options.cached_data = what.data == Data::hot;
  return choose_sender(sockets, pool, options);
}

void throw_if(std::error_code error, const Sender& sender) {
  if (error) {
    throw Error(error.value(), fmt::format("sending, after {} bytes", sender.statistics().bytes));
  }
}

/// Keeps the sender in frames until it has had enough.
class Pump {
 public:
  Pump(const Case& what, const Amount& amount, FramePool& pool, Sender& sender, bool verify)
      : pool_(pool),
        sender_(sender),
        connections_(what.connections),
        in_a_row_(what.gather),
        frames_(amount.seconds ? std::numeric_limits<std::uint64_t>::max()
                               : std::max<std::uint64_t>(1, amount.bytes / what.size)),
        deadline_(amount.seconds ? clock_seconds() + *amount.seconds
                                 : std::numeric_limits<double>::infinity()),
        hashes_(verify ? what.connections : 0) {}

  void run(const OnProgress& on_progress) {
    for (std::uint64_t frame = 0; frame < frames_; ++frame) {
      if (frame % look_interval == 0) {
        on_progress(sender_.statistics().bytes);
        if (clock_seconds() >= deadline_) {
          break;
        }
      }
      // Neighbours go to one connection, as many as one request takes.
      send(static_cast<std::uint32_t>(frame / in_a_row_ % connections_));
    }
    throw_if(sender_.finish(), sender_);
  }

  /// The sum of the streams' hashes.
  [[nodiscard]] std::uint64_t hash() const {
    std::uint64_t sum = 0;
    for (const Hash& one : hashes_) {
      sum += one.value();
    }
    return sum;
  }

 private:
  void send(std::uint32_t connection) {
    std::optional<Frame> frame = pool_.take();
    while (!frame) {
      throw_if(sender_.wait(), sender_);
      frame = pool_.take();
    }
    if (!hashes_.empty()) {
      hashes_[connection].add(frame->bytes());
    }
    throw_if(sender_.send_to(connection, std::move(*frame), pool_.frame_length()), sender_);
  }

  FramePool& pool_;
  Sender& sender_;
  std::uint32_t connections_;
  std::uint32_t in_a_row_;
  std::uint64_t frames_;
  double deadline_;
  std::vector<Hash> hashes_;
};

bool is_intact(const Case& what, const Measurement& measured, std::uint64_t hash) {
  const Received& received = *measured.received;
  if (what.protocol == Protocol::udp) {
    return received.bytes > 0 && received.damaged == 0;  // some may be lost, that is UDP's right
  }
  return received.bytes == measured.statistics.bytes && received.hash == hash;
}

}  // namespace

Measurement run_once(const Case& what, const Amount& amount, const Place& place, Memory& memory,
                     bool verify, const OnProgress& on_progress) {
  FramePool& pool = memory.pool(what);
  const std::unique_ptr<Peer> peer = start_peer(
      place, {.protocol = what.protocol, .connections = what.connections, .verify = verify});
  const ChosenSender chosen = open_sender(what, *peer, pool);
  const std::string device = device_of(peer->sockets().front().get());
  Pump pump{what, amount, pool, *chosen.sender, verify};

  const Moment start = Moment::now();
  pump.run(on_progress);
  peer->wait_for_the_rest();
  const Moment end = Moment::now();

  Measurement measured{.statistics = chosen.sender->statistics(),
                       .seconds = end.wall - start.wall,
                       .busy_seconds = std::max(0.0, end.busy - start.busy),
                       .thread_seconds = end.thread - start.thread,
                       .received = peer->received(),
                       .device = device,
                       .chosen = std::string{dmawire::name(chosen.path)},
                       .reason = chosen.reason};
  if (verify && measured.received) {
    measured.intact = is_intact(what, measured, pump.hash());
  }
  return measured;
}

}  // namespace dmawire::commands::bench
