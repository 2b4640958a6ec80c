// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace dmawire {

/// What every function of the library that sets something up throws.
///
/// The message is a sentence for the person in front of the terminal: what was tried, on what, the
/// errno by name and in words, and, where there is something, what to do about it. Functions on the
/// completion path never throw; they return values.
class Error : public std::runtime_error {
 public:
  enum class Kind {
    failed,      ///< it went wrong this time: a file, a peer, a disk
    impossible,  ///< this machine, kernel or configuration cannot do it
  };

  /// `code` is errno, or 0 where no system call failed; `tried` what was tried and on what, such as
  /// "opening /dev/dmawire0"; `advice` what would make it work, or empty; `kind` whether to try
  /// again can be of use.
  Error(int code, std::string_view tried, std::string_view advice = {}, Kind kind = Kind::failed);

  [[nodiscard]] int code() const noexcept { return code_; }
  [[nodiscard]] Kind kind() const noexcept { return kind_; }

 private:
  int code_;
  Kind kind_;
};

/// "EFAULT (Bad address)": an errno by its name and in words.
[[nodiscard]] std::string describe_errno(int code);

}  // namespace dmawire
