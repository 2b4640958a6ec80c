// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>
#include <xxhash.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace dmawire::commands {

/// Verifies frames that begin with a struct dmawire_frame_header: what they are, that they are
/// whole, and in which order they come.
class FrameChecker {
 public:
  enum class Transport {
    stream,     ///< frames follow each other, cut anywhere
    datagrams,  ///< each add() brings one frame
  };
  explicit FrameChecker(Transport transport);

  void add(std::span<const std::byte> bytes) noexcept;
  /// No more comes: what has begun should be whole.
  void finish() noexcept;

  struct Result {
    std::uint64_t frames = 0;  ///< that are good
    std::uint64_t bad = 0;     ///< no header, wrong length or checksum, or not whole
    std::uint64_t lost = 0;    ///< numbers between the first and the last that did not come
    std::uint64_t out_of_order =
        0;  ///< good ones that came behind one of a larger number, or twice
    std::optional<std::uint64_t> first_sequence;
    std::uint64_t last_sequence = 0;  ///< the largest
  };
  [[nodiscard]] Result result() const noexcept;
  /// Whether all is as it should be. A stream keeps the order, datagrams need not; and frames that
  /// were lost are for others to judge.
  [[nodiscard]] bool good() const noexcept;

 private:
  using Header = dmawire_frame_header;

  [[nodiscard]] std::span<const std::byte> take_header(std::span<const std::byte> bytes) noexcept;
  [[nodiscard]] std::span<const std::byte> take_payload(std::span<const std::byte> bytes) noexcept;
  void begin_frame() noexcept;
  void end_frame() noexcept;
  void note_sequence(std::uint64_t sequence) noexcept;

  const Transport transport_;
  const std::unique_ptr<XXH64_state_t, decltype(&XXH64_freeState)> hash_;
  std::array<std::byte, sizeof(Header)> header_bytes_{};
  Header header_{};
  std::size_t datagram_length_ = 0;
  std::size_t seen_ = 0;  ///< bytes of the frame that has begun
  bool astray_ = false;   ///< of a stream: where the next frame begins is not known any more
  Result result_;
};

}  // namespace dmawire::commands
