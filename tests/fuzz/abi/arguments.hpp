// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <thread>

namespace dmawire::fuzz {

/// The memory behind a call's pointer. The numbers are the grammar's field `ptr`, modulo their
/// count.
enum class Pointer {
  good,
  null,
  read_only,
  ends_early,  ///< an unmapped page begins within the struct
  kernel,
  not_canonical,
  odd,      ///< good, and aligned to nothing
  mapping,  ///< in the first area, where a dma-buf may be mapped
};
inline constexpr std::size_t pointers = 8;

/// Memory for the structs of one execution: each has its place, which stays as it is until the end,
/// for requests that are read late.
class Arguments {
 public:
  Arguments();
  ~Arguments();
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  /// Puts a struct where `pointer` says, as far as that can be written; its address.
  std::uint64_t place(std::span<const std::byte> bytes, Pointer pointer, std::uint64_t mapping);
  /// All places are free again.
  void clear() { used_ = 0; }

 private:
  std::byte* writable_;
  std::byte* read_only_;
  std::atomic<std::size_t> used_ = 0;
};

/// A thread that, while started, keeps changing the words of a struct: two reads by the kernel find
/// different values.
class Tearer {
 public:
  Tearer() : thread_([this] { run(); }) {}
  ~Tearer();

  /// Returns once the thread is changing words; false if it is busy with another thread's struct.
  bool try_begin(std::uint64_t address, std::size_t length);
  /// Returns once no word changes.
  void end();

 private:
  enum class State { idle, asked, tearing, ending, gone };

  void run();
  void tear();
  /// Sets the state and sleeps until the other thread has changed it.
  void change_and_wait(State state);

  std::atomic_flag taken_;
  std::atomic<State> state_ = State::idle;
  std::uint32_t* words_ = nullptr;
  std::size_t count_ = 0;
  std::uint32_t random_ = 1;
  std::jthread thread_;
};

}  // namespace dmawire::fuzz
