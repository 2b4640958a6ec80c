// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace dmawire::commands {

/// Counts durations in buckets that grow with them, so that each is known to 3 % from a nanosecond
/// to centuries. Never allocates.
class Histogram {
 public:
  /// What is negative counts as 0.
  void add(std::chrono::nanoseconds duration) noexcept {
    const auto value = static_cast<std::uint64_t>(duration.count() > 0 ? duration.count() : 0);
    ++counts_[bucket_of(value)];
    ++count_;
    if (value > max_) {
      max_ = value;
    }
  }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::chrono::nanoseconds max() const noexcept {
    return std::chrono::nanoseconds{max_};
  }
  /// What `percent` of the durations do not exceed, to the accuracy of a bucket; 0 without any.
  [[nodiscard]] std::chrono::nanoseconds percentile(double percent) const noexcept;

 private:
  /// Buckets of one size: 2^5 for each power of two.
  static constexpr unsigned bits = 5;
  static constexpr std::size_t per_power = std::size_t{1} << bits;

  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    if (value < per_power) {
      return value;
    }
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - bits - 1;
    return per_power * shift + (value >> shift);
  }
  /// The largest value that a bucket counts.
  static constexpr std::uint64_t last_of(std::size_t bucket) noexcept {
    if (bucket < 2 * per_power) {
      return bucket;
    }
    const std::size_t shift = bucket / per_power - 1;
    const std::uint64_t first = (per_power + bucket % per_power) << shift;
    return first + ((std::uint64_t{1} << shift) - 1);
  }

  std::array<std::uint64_t, per_power*(64 - bits + 1)> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace dmawire::commands
