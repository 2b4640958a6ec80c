// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/share.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include <dmawire/unique_fd.hpp>

/// The messages of share.h: put together, looked at, and passed through a socket.
namespace dmawire::share {

static_assert(sizeof(dmawire_share_header) == 16);
static_assert(sizeof(dmawire_share_hello) == 32);
static_assert(sizeof(dmawire_share_welcome) == 48);
static_assert(sizeof(dmawire_share_buffer) == 32);
static_assert(sizeof(dmawire_share_frame) == 56);
static_assert(sizeof(dmawire_share_end) == 24);

inline constexpr std::size_t max_entries = DMAWIRE_SHARE_MAX_ENTRIES;
inline constexpr std::size_t longest =
    sizeof(dmawire_share_header) + max_entries * sizeof(dmawire_share_frame);

/// A message on its way out, and the descriptors that go with it.
class Outgoing {
 public:
  /// One that consists of a struct.
  template <typename Struct>
  explicit Outgoing(dmawire_share_type type, Struct message) noexcept : size_(sizeof(message)) {
    message.header = {.type = type, .size = static_cast<__u32>(size_), .count = 0, .reserved = 0};
    std::memcpy(bytes_.data(), &message, sizeof(message));
  }
  /// One that consists of entries, to be added.
  explicit Outgoing(dmawire_share_type type) noexcept : size_(sizeof(dmawire_share_header)) {
    const dmawire_share_header header{.type = type, .size = 0, .count = 0, .reserved = 0};
    std::memcpy(bytes_.data(), &header, sizeof(header));
  }

  template <typename Entry>
  void add(const Entry& entry) noexcept {
    std::memcpy(bytes_.data() + size_, &entry, sizeof(entry));
    size_ += sizeof(entry);
    ++count_;
    const std::array<__u32, 2> size_and_count{static_cast<__u32>(size_), count_};
    std::memcpy(bytes_.data() + offsetof(dmawire_share_header, size), size_and_count.data(),
                sizeof(size_and_count));
  }
  void add_descriptor(int fd) noexcept { descriptors_[descriptor_count_++] = fd; }

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] bool full() const noexcept { return count_ == max_entries; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return std::span{bytes_}.first(size_);
  }

  /// Sends all of it or nothing; EAGAIN if there is no room. Never waits.
  [[nodiscard]] std::error_code send(int socket) const noexcept;

 private:
  alignas(8) std::array<std::byte, longest> bytes_;
  std::array<int, max_entries> descriptors_{};
  std::size_t descriptor_count_ = 0;
  std::size_t size_;
  __u32 count_ = 0;
};

/// The header of a packet, if what it says of its length and entries is right for its type.
[[nodiscard]] std::optional<dmawire_share_header> parse_header(
    std::span<const std::byte> packet) noexcept;

/// A packet that is such a struct, according to its header.
template <typename Struct>
[[nodiscard]] Struct as(std::span<const std::byte> packet) noexcept {
  Struct message;
  std::memcpy(&message, packet.data(), sizeof(message));
  return message;
}

/// An entry of a packet that has that many.
template <typename Entry>
[[nodiscard]] Entry entry(std::span<const std::byte> packet, std::uint32_t index) noexcept {
  Entry value;
  std::memcpy(&value, packet.data() + sizeof(dmawire_share_header) + index * sizeof(Entry),
              sizeof(value));
  return value;
}

/// A message that came.
class Incoming {
 public:
  /// Whether descriptors are wanted; else the kernel drops any.
  enum class Descriptors { none, some };

  /// Reads a packet, if there is one. The error is EAGAIN if there is none, ECONNRESET if none can
  /// come any more, EPROTO if it is no message, EMFILE if its descriptors found no room here.
  [[nodiscard]] std::error_code receive(int socket, Descriptors descriptors) noexcept;

  [[nodiscard]] std::uint32_t type() const noexcept { return header_.type; }
  [[nodiscard]] std::uint32_t count() const noexcept { return header_.count; }
  [[nodiscard]] std::size_t descriptor_count() const noexcept { return descriptor_count_; }
  [[nodiscard]] UniqueFd take_descriptor(std::size_t index) noexcept {
    return std::move(descriptors_[index]);
  }
  template <typename Struct>
  [[nodiscard]] Struct as() const noexcept {
    return share::as<Struct>(bytes_);
  }
  template <typename Entry>
  [[nodiscard]] Entry entry(std::uint32_t index) const noexcept {
    return share::entry<Entry>(bytes_, index);
  }

 private:
  alignas(8) std::array<std::byte, longest> bytes_;
  std::array<UniqueFd, max_entries> descriptors_;
  std::size_t descriptor_count_ = 0;
  dmawire_share_header header_{};
};

}  // namespace dmawire::share
