// SPDX-License-Identifier: MIT
#include <dmawire/copy_counter.hpp>

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include <dmawire/error.hpp>

#include "netlink_parse.hpp"

namespace dmawire {
namespace {

constexpr const char* function = "skb_copy_ubufs";

std::uint32_t kprobe_event_type() {
  std::ifstream file{"/sys/bus/event_source/devices/kprobe/type"};
  std::uint32_t type = 0;
  if (!(file >> type)) {
    throw Error(0, "this kernel offers no probes to perf_event_open()",
                "CONFIG_KPROBE_EVENTS, and /sys mounted, are needed", Error::Kind::impossible);
  }
  return type;
}

std::vector<int> online_cpus() {
  std::string text;
  std::getline(std::ifstream{"/sys/devices/system/cpu/online"}, text);
  std::optional<std::vector<int>> cpus = parse_cpu_list(text);
  if (!cpus) {
    throw Error(0, "reading which CPUs are online", "is /sys mounted?", Error::Kind::impossible);
  }
  return std::move(*cpus);
}

}  // namespace

CopyCounter::CopyCounter() {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = kprobe_event_type();
  attributes.kprobe_func = reinterpret_cast<std::uintptr_t>(function);
  for (const int cpu : online_cpus()) {
    counters_.emplace_back(static_cast<int>(
        ::syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!counters_.back().valid()) {
      throw Error(errno, std::string{"counting calls of "} + function,
                  errno == EACCES || errno == EPERM ? "CAP_PERFMON or root is needed" : "",
                  Error::Kind::impossible);
    }
  }
}

std::uint64_t CopyCounter::count() const {
  std::uint64_t sum = 0;
  for (const UniqueFd& counter : counters_) {
    std::uint64_t value = 0;
    if (::read(counter.get(), &value, sizeof(value)) != sizeof(value)) {
      throw Error(errno, std::string{"reading how often "} + function + " was called");
    }
    sum += value;
  }
  return sum;
}

}  // namespace dmawire
