// SPDX-License-Identifier: MIT
#include "meter.hpp"

#include <sys/resource.h>

namespace dmawire::commands {

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Meter::Meter(bool counts_copies) {
  if (counts_copies) {
    copies_.emplace();
  }
  cpu_start_ = cpu_seconds();
  start_ = Clock::now();
}

void Meter::read_into(SendReport& report) const {
  report.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  report.cpu_seconds = cpu_seconds() - cpu_start_;
  if (copies_) {
    report.kernel_copies = copies_->count();
  }
}

}  // namespace dmawire::commands
