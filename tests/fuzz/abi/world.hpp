// SPDX-License-Identifier: MIT
#pragma once

#include <liburing.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <dmawire/unique_fd.hpp>

#include "abi_rules.hpp"
#include "edu_card.hpp"

namespace dmawire::fuzz {

/// Descriptors below this one are the fuzzer's; an execution gets descriptors from here on.
inline constexpr int first_fd = 64;

/// The number of no memfd.
inline constexpr std::size_t no_memfd = SIZE_MAX;

/// The object that a call refers to.
struct Target {
  int fd = -1;
  Kind kind = Kind::bad;
  BufferModel buffer{};
  std::size_t file = no_memfd;  ///< of the execution's own: index of it, or of the buffer's memfd
};

/// The descriptors of an execution, by kind. Any thread may use it.
class Descriptors {
 public:
  void add(const Target& target);
  /// Number `reference` of that kind, or a bad one if the kind is empty.
  Target find(Kind kind, std::int64_t reference);
  /// The same, and removes it from the list.
  Target take(Kind kind, std::int64_t reference);
  /// All of that kind.
  std::vector<Target> all(Kind kind);
  void replace(int fd, const Target& target);
  /// Closes all descriptors that the kernel returned since it was last empty.
  void clear();

 private:
  std::mutex mutex_;
  std::array<std::vector<Target>, kinds> by_kind_;
};

/// The expected results of a request, checked when its CQE arrives.
struct Request {
  std::size_t type;
  std::span<const int> errors;
  int refusal;
  bool other_file = false;  ///< the descriptor number may refer to another file by then
};

/// An io_uring with a table of fixed buffers. Threads take the lock.
struct FuzzRing {
  std::mutex mutex;
  io_uring ring{.ring_fd = -1};
  std::vector<Request> requests;  ///< a completion's user_data is an index into it
  /// Each request was made at once, in the task that submitted it and with nothing before it.
  bool plain = true;
  std::size_t completed = 0;

  FuzzRing() = default;
  FuzzRing(const FuzzRing&) = delete;
  FuzzRing& operator=(const FuzzRing&) = delete;
  ~FuzzRing() { end(); }

  [[nodiscard]] bool alive() const noexcept { return ring.ring_fd >= 0; }
  void end();
};

/// Addresses where an execution maps buffers: places of fixed size, far from all else, so that
/// nothing of ours is hit when odd ranges of them are unmapped.
namespace arena {
inline constexpr std::uint64_t begin = 0x1000'0000'0000;
inline constexpr std::uint64_t area_size = 4 << 20;
inline constexpr std::size_t areas = 8;

inline std::uint64_t area(std::int64_t number) {
  return begin + static_cast<std::uint64_t>(number) % areas * area_size;
}
void clear();
}  // namespace arena

/// Reads or writes bytes of the arena, one of every page; false if something is not there.
bool touch(std::uint64_t begin, std::uint64_t end, bool write);
/// Eight bytes at a multiple of as many; nothing if they cannot be read.
std::optional<std::uint64_t> read_word(std::uint64_t at);
/// Whether a range, which must be mapped, is all zeros; false too if a page is not there.
bool is_zero(std::uint64_t begin, std::uint64_t end);
/// Installs the fault handler that touch(), read_word() and is_zero() rely on. Once per process.
void catch_faults();

/// A memory cgroup that a process is in while it makes one call: a new one each time, so that
/// nothing is charged to it before.
class LimitedMemory {
 public:
  LimitedMemory();

  /// Between the two this process, all of it, may take so many bytes and no more.
  bool enter(std::uint64_t bytes) const;
  void leave() const;

 private:
  UniqueFd outside_;
};

/// The card, with a driver that can be unbound and bound again.
class Card {
 public:
  Card();
  ~Card();
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  [[nodiscard]] bool present() const { return card_.present(); }
  [[nodiscard]] const test::EduCard& driver() const { return card_; }
  /// Its node, which has another number each time that an open file has kept the old one.
  [[nodiscard]] std::string node() const;

 private:
  test::EduCard card_;
};

/// Objects shared by all executions of a process: sockets, descriptors of other exporters.
struct Surroundings {
  Surroundings();

  /// Receives everything that has been sent.
  void drain(std::size_t pair) const;

  static constexpr std::size_t pairs = 2;  ///< TCP, then Unix
  std::array<UniqueFd, pairs> senders;
  std::array<UniqueFd, pairs> receivers;
  std::vector<UniqueFd> foreign;  ///< dma-bufs of other exporters
  UniqueFd vgem;
  UniqueFd zeros;
  UniqueFd file;
  UniqueFd memfd;  ///< of 64 pages, that buffers can be made of
  Card card;
  LimitedMemory limited;
  bool uring_takes_buffers;  ///< the kernel supports DMAWIRE_URING_CMD_*
};

}  // namespace dmawire::fuzz
