// SPDX-License-Identifier: MIT
#include "arguments.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <system_error>

#include <dmawire/unique_fd.hpp>

namespace dmawire::fuzz {
namespace {

// Behind the last place there is a page that cannot be touched.
constexpr std::size_t page = 4096;
constexpr std::size_t place_size = 2 * page;
constexpr std::size_t places = 32;  // more than an input has calls
constexpr std::size_t usable = places * place_size;
constexpr std::size_t all = usable + page;

std::byte* map(int fd, int protection) {
  void* data = ::mmap(nullptr, all, protection, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) {
    throw std::system_error(errno, std::system_category(), "memory for the arguments");
  }
  ::mprotect(static_cast<std::byte*>(data) + usable, page, PROT_NONE);
  return static_cast<std::byte*>(data);
}

std::uint64_t address_of(const std::byte* data) {
  return reinterpret_cast<std::uint64_t>(data);
}

}  // namespace

Arguments::Arguments() {
  const UniqueFd memory{::memfd_create("arguments", MFD_CLOEXEC)};
  if (::ftruncate(memory.get(), all) != 0) {
    throw std::system_error(errno, std::system_category(), "memory for the arguments");
  }
  writable_ = map(memory.get(), PROT_READ | PROT_WRITE);
  read_only_ = map(memory.get(), PROT_READ);
}

Arguments::~Arguments() {
  ::munmap(writable_, all);
  ::munmap(read_only_, all);
}

std::uint64_t Arguments::place(std::span<const std::byte> bytes, Pointer pointer,
                               std::uint64_t mapping) {
  const std::size_t begin = used_++ % (places - 1) * place_size;
  std::byte* const here = writable_ + begin;
  std::byte* const late = writable_ + usable - bytes.size() / 2 / 4 * 4;  // in the last place
  switch (pointer) {
    case Pointer::null:
      return 0;
    case Pointer::kernel:
      return 0xffff'8880'0000'0000;
    case Pointer::not_canonical:
      return 0x8000'0000'0000'0000;
    case Pointer::mapping:
      return mapping;
    case Pointer::ends_early:
      std::memcpy(late, bytes.data(), bytes.size() / 2 / 4 * 4);
      return address_of(late);
    case Pointer::odd:
      std::memcpy(here + 1, bytes.data(), bytes.size());
      return address_of(here + 1);
    case Pointer::read_only:
      std::memcpy(here, bytes.data(), bytes.size());
      return address_of(read_only_ + begin);
    case Pointer::good:
      break;
  }
  std::memcpy(here, bytes.data(), bytes.size());
  return address_of(here);
}

Tearer::~Tearer() {
  state_ = State::gone;
  state_.notify_all();
}

void Tearer::change_and_wait(State state) {
  state_ = state;
  state_.notify_all();
  state_.wait(state);
}

bool Tearer::try_begin(std::uint64_t address, std::size_t length) {
  if (taken_.test_and_set()) {
    return false;
  }
  words_ = reinterpret_cast<std::uint32_t*>(address);
  count_ = length / sizeof(*words_);
  change_and_wait(State::asked);
  return true;
}

void Tearer::end() {
  change_and_wait(State::ending);
  taken_.clear();
}

void Tearer::run() {
  for (;;) {
    state_.wait(State::idle);
    if (state_ == State::gone) {
      return;
    }
    state_ = State::tearing;
    state_.notify_all();
    tear();
    state_ = State::idle;
    state_.notify_all();
  }
}

/// Leaves a word as it is for a moment.
static void relax() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#else
  __asm__ volatile("yield");
#endif
}

void Tearer::tear() {
  constexpr std::uint32_t instead[] = {0, 0xffff'ffff, 1, 4096, 0x1'0000, 48, 136, 32};
  while (state_ == State::tearing) {
    random_ = random_ * 1'664'525 + 1'013'904'223;
    const std::atomic_ref word{words_[(random_ >> 8) % count_]};
    const std::uint32_t before = word.load(std::memory_order_relaxed);
    word.store(instead[(random_ >> 24) % std::size(instead)], std::memory_order_relaxed);
    for (int i = 0; i < 16; ++i) {
      relax();
    }
    word.store(before, std::memory_order_relaxed);
  }
}

}  // namespace dmawire::fuzz
