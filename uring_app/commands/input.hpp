// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <dmawire/sender.hpp>
#include <dmawire/unique_fd.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <system_error>

namespace dmawire::commands {

/// Where the bytes to send come from: a file, or standard input.
class Input {
 public:
  /// Throws Error. `limit` bytes are read at most.
  Input(const std::string& path, std::optional<std::uint64_t> limit);
  [[nodiscard]] static Input standard_input(std::optional<std::uint64_t> limit);

  /// Fills a frame from its start and returns how much there was; 0 at the end. Throws Error.
  ///
  /// From a pipe it takes what is there and does not wait for a full frame. While nothing is there,
  /// `sender` is kept going.
  [[nodiscard]] std::size_t fill(std::span<std::byte> frame, Sender& sender);
  /// The same, but while nothing is there, `wait` is called: it returns true when a descriptor can
  /// be read, or false if nobody wants more, which counts as the end.
  [[nodiscard]] std::size_t fill(std::span<std::byte> frame,
                                 const std::function<bool(int fd)>& wait);

  /// How many bytes there will be, if that is known.
  [[nodiscard]] std::optional<std::uint64_t> length() const noexcept { return length_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  Input(UniqueFd fd, std::string name, std::optional<std::uint64_t> limit);

  [[nodiscard]] bool readable_now() const;
  void wait_until_readable(Sender& sender) const;
  [[nodiscard]] std::size_t read_some(std::span<std::byte> frame);

  UniqueFd fd_;
  std::string name_;
  std::uint64_t left_;
  std::optional<std::uint64_t> length_;
  bool may_block_ = false;  ///< a pipe, socket or terminal
};

}  // namespace dmawire::commands
