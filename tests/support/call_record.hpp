// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dmawire::test {

/// The integer arguments of every call of a kernel function, recorded by a kprobe in a trace
/// instance of its own. System-wide.
class CallRecord {
 public:
  CallRecord(std::string function, size_t arguments);
  ~CallRecord();
  CallRecord(const CallRecord&) = delete;
  CallRecord& operator=(const CallRecord&) = delete;

  /// Whether the kernel has the function and allows a probe on it.
  [[nodiscard]] bool works() const { return works_; }
  /// The arguments of each call since this was made, in order.
  [[nodiscard]] std::vector<std::vector<uint64_t>> calls() const;

 private:
  std::string name_;
  std::string instance_;
  size_t arguments_;
  bool works_ = false;
};

}  // namespace dmawire::test
