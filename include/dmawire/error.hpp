// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace dmawire {

/// Thrown by every function of the library that sets something up.
///
/// The message is a sentence for the user at the terminal: the operation, its object, the errno by
/// name and in words, and, if there is one, the remedy. Functions on the completion path
/// never throw; they return values.
class Error : public std::runtime_error {
 public:
  enum class Kind {
    failed,      ///< it went wrong this time: a file, a peer, a disk
    impossible,  ///< this machine, kernel or configuration cannot do it
  };

  /// `code` is errno, or 0 if no system call failed; `tried` is the operation and its object, for
  /// example "opening /dev/dmawire0"; `advice` is the remedy, or empty; `kind` tells whether a
  /// retry can succeed.
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
