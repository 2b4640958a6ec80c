// SPDX-License-Identifier: MIT
#include "frame_checker.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace dmawire::commands {

FrameChecker::FrameChecker(Transport transport)
    : transport_(transport), hash_(XXH64_createState(), &XXH64_freeState) {
  if (!hash_) {
    throw std::bad_alloc();
  }
}

void FrameChecker::add(std::span<const std::byte> bytes) noexcept {
  datagram_length_ = bytes.size();
  while (!bytes.empty() && !astray_) {
    bytes = seen_ < sizeof(Header) ? take_header(bytes) : take_payload(bytes);
  }
  if (transport_ == Transport::datagrams) {
    finish();
    astray_ = false;
  }
}

void FrameChecker::finish() noexcept {
  if (seen_ > 0) {
    ++result_.bad;
    seen_ = 0;
  }
}

FrameChecker::Result FrameChecker::result() const noexcept {
  Result result = result_;
  if (result.first_sequence) {
    const std::uint64_t span = result.last_sequence - *result.first_sequence + 1;
    result.lost = span - std::min(span, result.frames);
  }
  return result;
}

bool FrameChecker::good() const noexcept {
  return result_.bad == 0 && (transport_ == Transport::datagrams || result_.out_of_order == 0);
}

/// Returns the bytes behind the header's.
std::span<const std::byte> FrameChecker::take_header(std::span<const std::byte> bytes) noexcept {
  const std::size_t part = std::min(bytes.size(), sizeof(Header) - seen_);
  std::copy_n(bytes.begin(), part, header_bytes_.begin() + static_cast<std::ptrdiff_t>(seen_));
  seen_ += part;
  if (seen_ == sizeof(Header)) {
    begin_frame();
  }
  return bytes.subspan(part);
}

/// The same for what follows the header.
std::span<const std::byte> FrameChecker::take_payload(std::span<const std::byte> bytes) noexcept {
  const std::size_t part = std::min<std::size_t>(bytes.size(), header_.length - seen_);
  const std::size_t unchecked = header_.checked - std::min<std::size_t>(seen_, header_.checked);
  XXH64_update(hash_.get(), bytes.data(), std::min(part, unchecked));
  seen_ += part;
  if (seen_ == header_.length) {
    end_frame();
  }
  return bytes.subspan(part);
}

void FrameChecker::begin_frame() noexcept {
  header_ = std::bit_cast<Header>(header_bytes_);
  const bool fits = transport_ == Transport::stream || header_.length == datagram_length_;
  if (header_.magic != DMAWIRE_FRAME_MAGIC || header_.checked < sizeof(Header) ||
      header_.checked > header_.length || !fits) {
    ++result_.bad;
    seen_ = 0;
    astray_ = true;
    return;
  }
  Header hashed = header_;
  hashed.checksum = 0;
  XXH64_reset(hash_.get(), 0);
  XXH64_update(hash_.get(), &hashed, sizeof(hashed));
  if (seen_ == header_.length) {
    end_frame();
  }
}

void FrameChecker::end_frame() noexcept {
  seen_ = 0;
  if (XXH64_digest(hash_.get()) == header_.checksum) {
    note_sequence(header_.sequence);
  } else {
    ++result_.bad;
  }
}

void FrameChecker::note_sequence(std::uint64_t sequence) noexcept {
  ++result_.frames;
  if (!result_.first_sequence) {
    result_.first_sequence = sequence;
    result_.last_sequence = sequence;
  } else if (sequence > result_.last_sequence) {
    result_.last_sequence = sequence;
  } else {
    ++result_.out_of_order;
    result_.first_sequence = std::min(*result_.first_sequence, sequence);
  }
}

}  // namespace dmawire::commands
