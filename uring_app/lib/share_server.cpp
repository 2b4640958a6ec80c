// SPDX-License-Identifier: MIT
#include <dmawire/share_server.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <dmawire/error.hpp>
#include <dmawire/packet_socket.hpp>

#include "share_message.hpp"
#include "sys.hpp"

namespace dmawire {
namespace {

using Clock = std::chrono::steady_clock;

/// Bounds of one call of serve(): ready descriptors, messages of each, and connections accepted.
constexpr std::size_t max_ready = 32;
constexpr int max_in_a_row = 64;
constexpr int max_accepted = 16;

constexpr std::chrono::seconds time_to_greet{DMAWIRE_SHARE_HELLO_SECONDS};
constexpr std::chrono::seconds time_to_read{DMAWIRE_SHARE_READ_SECONDS};
constexpr std::chrono::seconds time_to_end{DMAWIRE_SHARE_END_SECONDS};

FramePool& checked(FramePool& pool, std::uint32_t max_clients) {
  if (pool.buffers().size() > DMAWIRE_SHARE_MAX_BUFFERS || pool.size() > DMAWIRE_SHARE_MAX_FRAMES) {
    throw Error(
        0,
        fmt::format("{} frames in {} buffers are too many to share", pool.size(),
                    pool.buffers().size()),
        fmt::format("most are {} in {}", DMAWIRE_SHARE_MAX_FRAMES, DMAWIRE_SHARE_MAX_BUFFERS));
  }
  if (max_clients == 0 || max_clients >= pool.size()) {
    throw Error(0, fmt::format("{} frames are too few for {} clients", pool.size(), max_clients),
                "there must be one for each, and one more");
  }
  return pool;
}

/// What a name stands for.
std::pair<dev_t, ino_t> place_of(const std::string& path) noexcept {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 ? std::pair{status.st_dev, status.st_ino}
                                             : std::pair<dev_t, ino_t>{};
}

}  // namespace

class ShareServer::Engine {
 public:
  Engine(FramePool& pool, std::uint32_t max_clients, std::string path)
      : pool_(checked(pool, max_clients)),
        path_(std::move(path)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
        max_held_(pool.size() / (max_clients + 1)),
        clients_(max_clients) {
    if (!epoll_.valid() || !timer_.valid() ||
        !watch(EPOLL_CTL_ADD, timer_.get(), EPOLLIN, timer_number)) {
      throw Error(errno, "creating an epoll instance with a timer");
    }
    describe_buffers();
    for (Client& client : clients_) {
      client.leases.resize(pool.size());
      client.untold.reserve(max_held_);
    }
    if (!path_.empty()) {
      listener_ = listen_packets(path_);
      place_ = place_of(path_);
      spare_ = UniqueFd{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
      watch(EPOLL_CTL_ADD, listener_.get(), EPOLLIN, listener_number);
    }
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() { stop_listening(); }

  void add(UniqueFd socket) noexcept {
    auto place = std::find_if(newcomers_.begin(), newcomers_.end(),
                              [](const Newcomer& one) { return !one.socket.valid(); });
    if (place == newcomers_.end()) {
      // Perhaps some have said hello by now.
      for (Newcomer& newcomer : newcomers_) {
        listen_to(newcomer);
      }
      place = std::min_element(newcomers_.begin(), newcomers_.end(), comes_before);
      if (place->socket.valid()) {
        turn_away(*place, DMAWIRE_SHARE_FULL);
      }
    }
    const auto number = first_newcomer + static_cast<std::uint32_t>(place - newcomers_.begin());
    if (!watch(EPOLL_CTL_ADD, socket.get(), EPOLLIN, number)) {
      ++statistics_.refused;
      say_end(socket.get(), DMAWIRE_SHARE_FULL, 0);
      return;
    }
    // What it does not read must be little: descriptors on their way count against our user.
    constexpr int room = share::longest;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    place->socket = std::move(socket);
    place->since = sys().now();
    set_timer();
  }

  void publish(CapturedFrame captured) noexcept {
    ++statistics_.published;
    statistics_.bytes += captured.length;
    const std::uint32_t id = captured.frame.index();
    const FramePool::Place place = pool_.place(id);
    dmawire_share_frame told{.id = id,
                             .buffer = place.buffer,
                             .offset = place.offset,
                             .length = captured.length,
                             .sequence = captured.sequence,
                             .timestamp = static_cast<__u64>(captured.timestamp.count()),
                             .skipped = 0,
                             .lost = captured.lost,
                             .flags = 0,
                             .reserved = 0};
    bool seen = false;
    for (Client& client : clients_) {
      if (client.state != Client::State::receiving) {
        continue;
      }
      if (client.held >= client.max_held) {
        ++client.skipped;
        ++statistics_.skipped;
        continue;
      }
      told.skipped = std::exchange(client.skipped, 0);
      client.leases[id].frame.emplace(captured.frame.share());
      client.leases[id].told = false;
      client.untold.push_back(told);
      ++client.held;
      ++held_;
      ++statistics_.lent;
      seen = true;
    }
    statistics_.unseen += seen ? 0 : 1;
  }

  [[nodiscard]] bool wanted() const noexcept {
    return std::any_of(clients_.begin(), clients_.end(), [](const Client& client) {
      return client.state == Client::State::receiving && client.held < client.max_held;
    });
  }

  void serve() noexcept {
    part_with_the_late();
    for (Client& client : clients_) {
      send_due(client);
    }
    std::array<epoll_event, max_ready> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    const std::size_t ready = count > 0 ? static_cast<std::size_t>(count) : 0;
    for (const epoll_event& event : std::span{events}.first(ready)) {
      const std::uint32_t number = event.data.u32;
      if (number == listener_number) {
        accept_some();
      } else if (number == timer_number) {
        // It may have run out since we looked: it is set anew, and then runs out at once.
        timer_set_to_ = Clock::time_point::min();
      } else if (number >= first_newcomer) {
        listen_to(newcomers_[number - first_newcomer]);
      } else {
        attend_to(clients_[number], event.events);
      }
    }
    set_timer();
  }

  void end(dmawire_share_reason reason) noexcept {
    ended_ = reason;
    deadline_ = sys().now() + time_to_end;
    stop_listening();
    set_timer();
  }

  [[nodiscard]] int fd() const noexcept { return epoll_.get(); }
  [[nodiscard]] std::uint32_t clients() const noexcept {
    return static_cast<std::uint32_t>(
        std::count_if(clients_.begin(), clients_.end(),
                      [](const Client& one) { return one.state != Client::State::absent; }));
  }
  [[nodiscard]] std::uint64_t held() const noexcept { return held_; }
  [[nodiscard]] bool all_released() const noexcept {
    return held_ == 0 && std::all_of(clients_.begin(), clients_.end(), [](const Client& client) {
             return client.state == Client::State::absent || client.state == Client::State::leaving;
           });
  }
  [[nodiscard]] const ShareStatistics& statistics() const noexcept { return statistics_; }

 private:
  /// epoll data: clients have their index; newcomers begin here.
  static constexpr std::uint32_t first_newcomer = 1U << 16;
  static constexpr std::uint32_t listener_number = 1U << 17;
  static constexpr std::uint32_t timer_number = listener_number + 1;

  /// A connection without a hello.
  struct Newcomer {
    UniqueFd socket;
    Clock::time_point since;
  };

  struct Lease {
    std::optional<Frame> frame;
    bool told = false;  ///< whether the client can know of it
  };

  struct Client {
    enum class State {
      absent,
      introducing,  ///< it is being told of the buffers
      receiving,
      leaving,  ///< it has been told that this is the end, and may hold frames
    };
    State state = State::absent;
    UniqueFd socket;
    std::uint32_t max_held = 0;
    std::uint32_t held = 0;
    std::uint32_t skipped = 0;       ///< since the last one that it was lent
    std::uint32_t buffers_told = 0;  ///< while introducing
    bool welcomed = false;
    bool blocked = false;  ///< it has to read before it is sent more
    Clock::time_point blocked_since;
    std::vector<Lease> leases;                ///< by frame
    std::vector<dmawire_share_frame> untold;  ///< of those that it holds
  };

  void describe_buffers() {
    std::uint32_t frame = 0;
    for (std::uint32_t id = 0; id < pool_.buffers().size(); ++id) {
      dmawire_share_buffer& buffer = descriptions_.emplace_back();
      buffer = {.id = id,
                .flags = 0,
                .first_frame = frame,
                .frames = 0,
                .length = pool_.buffers()[id].length(),
                .offset = frame < pool_.size() ? pool_.place(frame).offset : 0};
      for (; frame < pool_.size() && pool_.place(frame).buffer == id; ++frame) {
        ++buffer.frames;
      }
    }
  }

  bool watch(int operation, int fd, std::uint32_t events, std::uint32_t number) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.u32 = number;
    return ::epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
  }

  /// The listener stays readable while more connections wait.
  void accept_some() noexcept {
    for (int left = max_accepted; left > 0; --left) {
      UniqueFd socket{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
      if (socket.valid()) {
        add(std::move(socket));
        continue;
      }
      if (errno == EMFILE || errno == ENFILE) {
        // Left alone it would wake us for ever: what is kept back for this lets us turn it away.
        spare_.reset();
        socket.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        socket.reset();
        spare_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        ++statistics_.refused;
      }
      return;
    }
  }

  /// Free places come first, then the oldest connection.
  static bool comes_before(const Newcomer& one, const Newcomer& other) noexcept {
    return one.socket.valid() != other.socket.valid() ? !one.socket.valid()
                                                      : one.since < other.since;
  }

  void turn_away(Newcomer& newcomer, dmawire_share_reason reason) noexcept {
    ++(reason == DMAWIRE_SHARE_PROTOCOL_ERROR || reason == DMAWIRE_SHARE_TIMED_OUT
           ? statistics_.dropped
           : statistics_.refused);
    say_end(newcomer.socket.get(), reason, 0);
    newcomer.socket.reset();
  }

  void listen_to(Newcomer& newcomer) noexcept {
    if (!newcomer.socket.valid()) {
      return;
    }
    const int code =
        incoming_.receive(newcomer.socket.get(), share::Incoming::Descriptors::none).value();
    if (code == EAGAIN) {
      return;
    }
    if (code != 0 && code != EPROTO) {
      newcomer.socket.reset();
    } else if (code == 0 && incoming_.type() == DMAWIRE_SHARE_HELLO) {
      take_hello(newcomer);
    } else {
      turn_away(newcomer, DMAWIRE_SHARE_PROTOCOL_ERROR);
    }
  }

  void take_hello(Newcomer& newcomer) noexcept {
    const auto hello = incoming_.as<dmawire_share_hello>();
    if (hello.magic != DMAWIRE_SHARE_MAGIC || hello.flags != 0) {
      turn_away(newcomer, DMAWIRE_SHARE_PROTOCOL_ERROR);
    } else if (hello.version == 0) {
      turn_away(newcomer, DMAWIRE_SHARE_BAD_VERSION);
    } else if (Client* const client = find_place();
               client == nullptr ||
               !watch(EPOLL_CTL_MOD, newcomer.socket.get(), EPOLLIN, number_of(*client))) {
      turn_away(newcomer, DMAWIRE_SHARE_FULL);
    } else {
      client->socket = std::move(newcomer.socket);
      client->state = Client::State::introducing;
      client->max_held = hello.hold == 0 ? max_held_ : std::min(hello.hold, max_held_);
      client->buffers_told = 0;
      client->welcomed = false;
      client->blocked = false;
      client->skipped = 0;
      send_due(*client);
    }
  }

  /// A free place, or that of a client that does not read.
  Client* find_place() noexcept {
    const auto free = std::find_if(clients_.begin(), clients_.end(), [](const Client& client) {
      return client.state == Client::State::absent;
    });
    if (free != clients_.end()) {
      return &*free;
    }
    const auto deaf = std::min_element(
        clients_.begin(), clients_.end(), [](const Client& one, const Client& other) {
          return one.blocked != other.blocked ? one.blocked
                                              : one.blocked_since < other.blocked_since;
        });
    if (!deaf->blocked || sys().now() < deaf->blocked_since + time_to_read) {
      return nullptr;
    }
    drop(*deaf, DMAWIRE_SHARE_TIMED_OUT);
    return &*deaf;
  }

  void part_with_the_late() noexcept {
    const Clock::time_point now = sys().now();
    for (Newcomer& newcomer : newcomers_) {
      if (newcomer.socket.valid() && now >= newcomer.since + time_to_greet) {
        listen_to(newcomer);  // it may have come in time
        if (newcomer.socket.valid()) {
          turn_away(newcomer, DMAWIRE_SHARE_TIMED_OUT);
        }
      }
    }
    if (!ended_ || now < deadline_) {
      return;
    }
    for (Client& client : clients_) {
      if (client.state != Client::State::absent) {
        drop(client, DMAWIRE_SHARE_TIMED_OUT);
      }
    }
  }

  /// Sets the timer to the next deadline.
  void set_timer() noexcept {
    Clock::time_point next = Clock::time_point::max();
    for (const Newcomer& newcomer : newcomers_) {
      if (newcomer.socket.valid()) {
        next = std::min(next, newcomer.since + time_to_greet);
      }
    }
    if (ended_ && clients() > 0) {
      next = std::min(next, deadline_);
    }
    if (next == timer_set_to_) {
      return;
    }
    timer_set_to_ = next;
    itimerspec time{};  // none
    if (next != Clock::time_point::max()) {
      const auto since_boot = next.time_since_epoch();
      const auto seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
      time.it_value = {.tv_sec = seconds.count(), .tv_nsec = (since_boot - seconds).count()};
    }
    ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &time, nullptr);
  }

  void attend_to(Client& client, std::uint32_t events) noexcept {
    if ((events & EPOLLOUT) != 0) {
      client.blocked = false;
      watch(EPOLL_CTL_MOD, client.socket.get(), EPOLLIN, number_of(client));
      send_due(client);
    }
    if ((events & ~std::uint32_t{EPOLLOUT}) != 0) {
      take_in(client);
    }
  }

  /// Sending goes on once the client has read.
  void wait_for(Client& client) noexcept {
    client.blocked = true;
    client.blocked_since = sys().now();
    watch(EPOLL_CTL_MOD, client.socket.get(), EPOLLIN | EPOLLOUT, number_of(client));
  }

  void stop_listening() noexcept {
    if (listener_.valid()) {
      listener_.reset();
      if (place_ == place_of(path_)) {  // else somebody else shares there by now
        ::unlink(path_.c_str());
      }
    }
  }

  static void say_end(int socket, dmawire_share_reason reason, std::uint32_t skipped) noexcept {
    const dmawire_share_end end{.header = {}, .reason = reason, .skipped = skipped};
    (void)share::Outgoing{DMAWIRE_SHARE_END, end}.send(socket);
  }

  /// Sends what there is room for.
  void send_due(Client& client) noexcept {
    bool more = true;
    while (more && !client.blocked) {
      switch (client.state) {
        case Client::State::introducing:
          more = introduce(client);
          break;
        case Client::State::receiving:
          more = client.untold.empty() ? tell_of_the_end(client) : tell_of_frames(client);
          break;
        default:
          more = false;
      }
    }
  }

  /// False if it did not go out, and then perhaps the client neither.
  bool send(Client& client, const share::Outgoing& message) noexcept {
    const int code = message.send(client.socket.get()).value();
    switch (code) {
      case 0:
        return true;
      case EAGAIN:
        wait_for(client);
        return false;
      case ETOOMANYREFS:
      case EMFILE:
      case ENFILE:
        ++statistics_.refused;
        say_end(client.socket.get(), DMAWIRE_SHARE_NO_DESCRIPTORS, 0);
        [[fallthrough]];
      default:
        part_with(client);
        return false;
    }
  }

  bool introduce(Client& client) noexcept {
    if (!client.welcomed) {
      const dmawire_share_welcome welcome{
          .header = {},
          .version = DMAWIRE_SHARE_VERSION,
          .hold = client.max_held,
          .buffers = static_cast<__u32>(descriptions_.size()),
          .frames = pool_.size(),
          .frame_length = pool_.frame_length(),
          .stride = pool_.stride(),
      };
      return client.welcomed = send(client, share::Outgoing{DMAWIRE_SHARE_WELCOME, welcome});
    }
    share::Outgoing message{DMAWIRE_SHARE_BUFFERS};
    std::uint32_t next = client.buffers_told;
    for (; next < descriptions_.size() && !message.full(); ++next) {
      message.add(descriptions_[next]);
      message.add_descriptor(pool_.buffers()[next].fd());
    }
    if (!send(client, message)) {
      return false;
    }
    client.buffers_told = next;
    if (next < descriptions_.size()) {
      wait_for(client);  // at most one message of descriptors in flight
    } else {
      client.state = Client::State::receiving;
      ++statistics_.clients;
    }
    return true;
  }

  bool tell_of_frames(Client& client) noexcept {
    share::Outgoing message{DMAWIRE_SHARE_FRAMES};
    auto next = client.untold.begin();
    for (; next != client.untold.end() && !message.full(); ++next) {
      message.add(*next);
    }
    if (!send(client, message)) {
      return false;
    }
    for (auto told = client.untold.begin(); told != next; ++told) {
      client.leases[told->id].told = true;
    }
    client.untold.erase(client.untold.begin(), next);
    return true;
  }

  bool tell_of_the_end(Client& client) noexcept {
    if (!ended_) {
      return false;
    }
    const dmawire_share_end end{.header = {}, .reason = *ended_, .skipped = client.skipped};
    if (send(client, share::Outgoing{DMAWIRE_SHARE_END, end})) {
      client.state = Client::State::leaving;
    }
    return false;
  }

  void take_in(Client& client) noexcept {
    for (int left = max_in_a_row; left > 0 && client.state != Client::State::absent; --left) {
      const int code =
          incoming_.receive(client.socket.get(), share::Incoming::Descriptors::none).value();
      if (code == EAGAIN) {
        return;
      }
      if (code != 0 && code != EPROTO) {
        part_with(client);
      } else if (code == 0 && incoming_.type() == DMAWIRE_SHARE_DONE) {
        take_back(client);
      } else {
        drop(client, DMAWIRE_SHARE_PROTOCOL_ERROR);
      }
    }
  }

  void take_back(Client& client) noexcept {
    for (std::uint32_t i = 0; i < incoming_.count(); ++i) {
      const auto id = incoming_.entry<__u32>(i);
      if (id >= pool_.size() || !client.leases[id].frame || !client.leases[id].told) {
        drop(client, DMAWIRE_SHARE_PROTOCOL_ERROR);
        return;
      }
      client.leases[id].frame.reset();
      --client.held;
      --held_;
      ++statistics_.returned;
    }
  }

  void drop(Client& client, dmawire_share_reason reason) noexcept {
    ++statistics_.dropped;
    say_end(client.socket.get(), reason, client.skipped);
    part_with(client);
  }

  /// Takes back what it held.
  void part_with(Client& client) noexcept {
    for (Lease& lease : client.leases) {
      lease.frame.reset();
    }
    statistics_.reclaimed += client.held;
    held_ -= std::exchange(client.held, 0);
    client.untold.clear();
    client.socket.reset();
    client.state = Client::State::absent;
  }

  [[nodiscard]] std::uint32_t number_of(const Client& client) const noexcept {
    return static_cast<std::uint32_t>(&client - clients_.data());
  }

  FramePool& pool_;
  const std::string path_;
  UniqueFd epoll_;
  UniqueFd timer_;
  Clock::time_point timer_set_to_ = Clock::time_point::max();
  UniqueFd listener_;
  std::pair<dev_t, ino_t> place_;  ///< of the listener's name
  UniqueFd spare_;                 ///< a descriptor to have one when there are no more
  const std::uint32_t max_held_;
  std::vector<dmawire_share_buffer> descriptions_;
  std::array<Newcomer, max_newcomers> newcomers_;
  std::vector<Client> clients_;
  share::Incoming incoming_;
  std::optional<dmawire_share_reason> ended_;
  Clock::time_point deadline_;  ///< of the end
  std::uint64_t held_ = 0;
  ShareStatistics statistics_;
};

ShareServer::ShareServer(const std::string& path, FramePool& pool, std::uint32_t max_clients)
    : engine_(std::make_unique<Engine>(pool, max_clients, path)) {}

ShareServer::ShareServer(FramePool& pool, std::uint32_t max_clients)
    : engine_(std::make_unique<Engine>(pool, max_clients, std::string{})) {}

ShareServer::~ShareServer() = default;

void ShareServer::add(UniqueFd socket) noexcept {
  engine_->add(std::move(socket));
}

void ShareServer::publish(CapturedFrame frame) noexcept {
  engine_->publish(std::move(frame));
}

bool ShareServer::wanted() const noexcept {
  return engine_->wanted();
}

void ShareServer::serve() noexcept {
  engine_->serve();
}

int ShareServer::fd() const noexcept {
  return engine_->fd();
}

void ShareServer::end(dmawire_share_reason reason) noexcept {
  engine_->end(reason);
}

std::uint32_t ShareServer::clients() const noexcept {
  return engine_->clients();
}

std::uint64_t ShareServer::held() const noexcept {
  return engine_->held();
}

bool ShareServer::all_released() const noexcept {
  return engine_->all_released();
}

const ShareStatistics& ShareServer::statistics() const noexcept {
  return engine_->statistics();
}

}  // namespace dmawire
