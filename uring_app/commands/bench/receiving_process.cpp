// SPDX-License-Identifier: MIT
#include "receiving_process.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <dmawire/error.hpp>
#include <dmawire/receiver.hpp>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "../hash.hpp"
#include "machine.hpp"
#include "message.hpp"
#include "pattern.hpp"

namespace dmawire::commands::bench {
namespace {

void tell(int control, const Message& message) {
  // Who is gone does not want to know.
  (void)!::send(control, &message, sizeof(message), MSG_NOSIGNAL);
}

double process_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

Received receive_stream(int socket, bool verify) {
  Receiver receiver{socket};
  Received received;
  Hash hash;
  for (;;) {
    const Receiver::Received next = receiver.next();
    if (next.error) {
      throw Error(next.error.value(), fmt::format("receiving, after {} bytes", received.bytes));
    }
    if (next.bytes.empty()) {
      break;
    }
    received.bytes += next.bytes.size();
    if (verify) {
      hash.add(next.bytes);
    }
  }
  received.hash = verify ? hash.value() : 0;
  return received;
}

/// A ring belongs to one thread, so each connection has its own.
Received receive_streams(const std::vector<UniqueFd>& connections, bool verify) {
  if (connections.size() == 1) {
    return receive_stream(connections.front().get(), verify);
  }
  std::vector<Received> parts(connections.size());
  std::vector<std::exception_ptr> failures(connections.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        parts[i] = receive_stream(connections[i].get(), verify);
      } catch (...) {
        failures[i] = std::current_exception();
        // What nobody reads would hold up the sender for ever.
        ::shutdown(connections[i].get(), SHUT_RDWR);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  Received sum;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    if (failures[i]) {
      std::rethrow_exception(failures[i]);
    }
    sum.bytes += parts[i].bytes;
    sum.hash += parts[i].hash;
  }
  return sum;
}

void serve_streams(int control, const std::string& address, const Traffic& traffic) {
  const UniqueFd listener = listen_stream({address, "0"});
  ::listen(listener.get(), static_cast<int>(traffic.connections));
  Message message{.kind = Message::Kind::listening, .port = local_port(listener.get())};
  set_text(message, address);
  tell(control, message);

  std::vector<UniqueFd> connections;
  while (connections.size() < traffic.connections) {
    connections.push_back(accept_stream(listener.get()));
  }
  tell(control, {.kind = Message::Kind::connected});
  const double start = process_seconds();
  message = {.kind = Message::Kind::received,
             .received = receive_streams(connections, traffic.verify)};
  message.received.cpu_seconds = process_seconds() - start;
  tell(control, message);
}

/// Datagrams as they come. Who only counts them has one byte of each copied.
class DatagramDrain {
 public:
  explicit DatagramDrain(bool verify)
      : verify_(verify), length_(verify ? 65'536 : 1), memory_(count * length_) {
    for (std::size_t i = 0; i < count; ++i) {
      vectors_[i] = {.iov_base = memory_.data() + i * length_, .iov_len = length_};
      headers_[i].msg_hdr.msg_iov = &vectors_[i];
      headers_[i].msg_hdr.msg_iovlen = 1;
    }
  }

  /// Takes what there is; false if nothing came for a while.
  bool take(int socket, Received& received) {
    const int got = ::recvmmsg(socket, headers_.data(), count, MSG_WAITFORONE | MSG_TRUNC, nullptr);
    for (int i = 0; i < got; ++i) {
      const std::size_t length = headers_[static_cast<std::size_t>(i)].msg_len;
      received.bytes += length;
      if (verify_ &&
          !is_pattern({memory_.data() + static_cast<std::size_t>(i) * length_, length})) {
        ++received.damaged;
      }
    }
    return got > 0;
  }

 private:
  static constexpr std::size_t count = 64;
  bool verify_;
  std::size_t length_;
  std::vector<std::byte> memory_;
  std::array<iovec, count> vectors_{};
  std::array<mmsghdr, count> headers_{};
};

void serve_datagrams(int control, const std::string& address, const Traffic& traffic) {
  const UniqueFd socket = bind_datagram({address, "0"});
  const int buffer = 64 * 1024 * 1024;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) < 0) {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
  }
  const timeval quiet{.tv_sec = 0, .tv_usec = 50'000};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet));
  DatagramDrain drain{traffic.verify};

  Message message{.kind = Message::Kind::listening, .port = local_port(socket.get())};
  set_text(message, address);
  tell(control, message);
  tell(control, {.kind = Message::Kind::connected});

  message = {.kind = Message::Kind::received};
  const double start = process_seconds();
  for (Message last; drain.take(socket.get(), message.received) ||
                     ::recv(control, &last, sizeof(last), MSG_DONTWAIT) != sizeof(last);) {
  }
  message.received.cpu_seconds = process_seconds() - start;
  tell(control, message);
}

std::string address_to_listen_at(const std::string& netns, const std::string& address) {
  if (!address.empty()) {
    return address;
  }
  if (netns.empty()) {
    return "127.0.0.1";
  }
  std::string own = own_address();
  if (own.empty()) {
    throw Error(0, fmt::format("the network namespace {} has no IPv4 address", netns),
                "name one with --peer-address");
  }
  return own;
}

/// The child, from its first to its last instruction.
[[noreturn]] void be_receiver(int control, pid_t parent, const std::string& netns,
                              const std::string& wanted_address, const Traffic& traffic) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(1);  // it died before we asked to be told
  }
  try {
    if (!netns.empty()) {
      enter_namespace(netns);
    }
    const std::string address = address_to_listen_at(netns, wanted_address);
    if (traffic.protocol == Protocol::tcp) {
      serve_streams(control, address, traffic);
    } else {
      serve_datagrams(control, address, traffic);
    }
  } catch (const std::exception& error) {
    Message message{.kind = Message::Kind::failed};
    const auto* ours = dynamic_cast<const Error*>(&error);
    message.impossible = ours != nullptr && ours->kind() == Error::Kind::impossible ? 1 : 0;
    set_text(message, error.what());
    tell(control, message);
  }
  ::_exit(0);
}

Message hear(int control, Message::Kind wanted) {
  std::array<std::byte, sizeof(Message) + 1> packet;  // one byte more: too long is no message
  ssize_t size;
  do {
    size = ::recv(control, packet.data(), packet.size(), 0);
  } while (size < 0 && errno == EINTR);
  const std::optional<Message> message =
      parse_message({packet.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))});
  if (!message) {
    throw Error(size < 0 ? errno : 0, "the receiving process ended without a word");
  }
  if (message->kind != wanted) {
    throw Error(0, fmt::format("the receiver: {}", message->text_string()), {},
                message->impossible != 0 ? Error::Kind::impossible : Error::Kind::failed);
  }
  return *message;
}

}  // namespace

ReceivingProcess::ReceivingProcess(const std::string& netns, const std::string& address,
                                   const Traffic& traffic)
    : protocol_(traffic.protocol) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    throw Error(errno, "making a pair of sockets");
  }
  control_.reset(ends[0]);
  UniqueFd theirs{ends[1]};
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) {
    throw Error(errno, "starting a process that receives");
  }
  if (pid_ == 0) {
    control_.reset();
    be_receiver(theirs.get(), parent, netns, address, traffic);
  }
  theirs.reset();
  try {
    const Message listening = hear(control_.get(), Message::Kind::listening);
    endpoint_ = {listening.text_string(), std::to_string(listening.port)};
  } catch (...) {
    end();
    throw;
  }
}

ReceivingProcess::~ReceivingProcess() {
  end();
}

void ReceivingProcess::end() noexcept {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void ReceivingProcess::wait_until_connected() {
  hear(control_.get(), Message::Kind::connected);
}

Received ReceivingProcess::finish() {
  if (protocol_ == Protocol::udp) {
    // Only to one who listens: a packet that nobody has read when he goes makes his last one lost.
    tell(control_.get(), {.kind = Message::Kind::stop});
  }
  return hear(control_.get(), Message::Kind::received).received;
}

}  // namespace dmawire::commands::bench
