// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <dmawire/unique_fd.hpp>

namespace dmawire::fuzz {

/// The program points of the kernel that a thread passes, by KCOV. One thread at a time has it
/// enabled; it may be made before a fork and enabled after it.
class Coverage {
 public:
  /// Throws std::system_error where the kernel has no KCOV; one that is `blind` does without, and
  /// sees nothing.
  explicit Coverage(bool blind);
  ~Coverage();
  Coverage(const Coverage&) = delete;
  Coverage& operator=(const Coverage&) = delete;

  /// For the calling thread; its end switches off too.
  void on();
  void off();

  /// Everything since the last clear().
  [[nodiscard]] std::span<const std::uint64_t> points() const;
  void clear() noexcept { rewind(0); }
  /// Number of recorded points; rewind() to it drops all later ones.
  [[nodiscard]] std::uint64_t position() const noexcept;
  void rewind(std::uint64_t position) noexcept;

 private:
  UniqueFd fd_;
  std::uint64_t* data_;
};

/// Where the module's code lies in the kernel.
struct ModuleText {
  std::uint64_t begin;
  std::uint64_t size;

  /// Nothing where dmawire is not loaded.
  static std::optional<ModuleText> find();
  /// The point as an offset, the same every time the module is loaded; nothing for other code.
  [[nodiscard]] std::optional<std::uint32_t> offset(std::uint64_t point) const {
    return point - begin < size ? std::optional{static_cast<std::uint32_t>(point - begin)}
                                : std::nullopt;
  }
};

}  // namespace dmawire::fuzz
