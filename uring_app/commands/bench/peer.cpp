// SPDX-License-Identifier: MIT
#include "peer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <dmawire/error.hpp>
#include <utility>
#include <vector>

#include "receiving_process.hpp"

namespace dmawire::commands::bench {
namespace {

/// How long a remote receiver may take to close its end after the last byte.
constexpr int patience_ms = 5000;

std::vector<UniqueFd> connect_all(const Endpoint& peer, const Traffic& traffic) {
  std::vector<UniqueFd> sockets;
  for (std::uint32_t i = 0; i < traffic.connections; ++i) {
    sockets.push_back(traffic.protocol == Protocol::tcp ? connect_stream(peer)
                                                        : connect_datagram(peer));
  }
  return sockets;
}

/// Ends the streams. A receiver that has everything closes its end, which comes as end of file.
void end_streams(std::span<const UniqueFd> sockets) {
  for (const UniqueFd& socket : sockets) {
    ::shutdown(socket.get(), SHUT_WR);
  }
}

/// A program somewhere else, or, for UDP, nobody.
class RemotePeer : public Peer {
 public:
  RemotePeer(const Endpoint& remote, const Traffic& traffic)
      : protocol_(traffic.protocol), sockets_(connect_all(remote, traffic)) {}

  [[nodiscard]] std::span<const UniqueFd> sockets() const noexcept override { return sockets_; }

  void wait_for_the_rest() override {
    if (protocol_ == Protocol::udp) {
      return;
    }
    end_streams(sockets_);
    for (const UniqueFd& socket : sockets_) {
      pollfd entry{.fd = socket.get(), .events = POLLIN | POLLRDHUP, .revents = 0};
      if (::poll(&entry, 1, patience_ms) <= 0) {
        throw Error(0, "the receiver did not close its end in time",
                    "it has to read to the end and close, as `uring_app recv --again` does");
      }
    }
  }

  [[nodiscard]] std::optional<Received> received() override { return std::nullopt; }

 private:
  Protocol protocol_;
  std::vector<UniqueFd> sockets_;
};

/// A process of our own that receives.
class OwnPeer : public Peer {
 public:
  OwnPeer(const Place& place, const Traffic& traffic)
      : protocol_(traffic.protocol),
        process_(place.netns, place.address, traffic),
        sockets_(connect_all(process_.endpoint(), traffic)) {
    process_.wait_until_connected();
  }

  [[nodiscard]] std::span<const UniqueFd> sockets() const noexcept override { return sockets_; }

  void wait_for_the_rest() override {
    if (protocol_ == Protocol::tcp) {
      end_streams(sockets_);
      received_ = process_.finish();
    }
    // Datagrams are on their own: who waits for them cannot know whether they were lost.
  }

  [[nodiscard]] std::optional<Received> received() override {
    if (protocol_ == Protocol::udp) {
      received_ = process_.finish();
    }
    return received_;
  }

 private:
  Protocol protocol_;
  ReceivingProcess process_;
  std::vector<UniqueFd> sockets_;
  std::optional<Received> received_;
};

}  // namespace

std::unique_ptr<Peer> start_peer(const Place& place, const Traffic& traffic) {
  if (place.remote) {
    return std::make_unique<RemotePeer>(*place.remote, traffic);
  }
  return std::make_unique<OwnPeer>(place, traffic);
}

void enter_namespace(const std::string& name) {
  const std::string path = "/run/netns/" + name;
  const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd.valid()) {
    const int code = errno;
    throw Error(code, fmt::format("opening {}", path), "`ip netns list` names those there are");
  }
  if (::setns(fd.get(), CLONE_NEWNET) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("entering the network namespace {}", name),
                code == EPERM ? "that needs CAP_SYS_ADMIN: run it as root" : "",
                code == EPERM ? Error::Kind::impossible : Error::Kind::failed);
  }
}

}  // namespace dmawire::commands::bench
