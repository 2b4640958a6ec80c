// SPDX-License-Identifier: MIT
#include "batch.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include "abi.hpp"
#include "executor.hpp"
#include "hang_report.hpp"

namespace dmawire::fuzz {
namespace {

constexpr int longest_execution_ms = 60'000;  // a software CPU with KASAN, on a busy host
constexpr std::size_t max_features = 8'000;

struct Outcome {
  std::size_t count;
  std::array<Feature, max_features> features;
};

Feature edge(std::uint32_t from, std::uint32_t to) {
  return first_edge + (from * 31 + to) % (first_result - first_edge);
}

/// Whether a device that there is has nothing to do.
bool is_idle(int device) {
  dmawire_status status{.size = sizeof(status)};
  return ::ioctl(device, DMAWIRE_IOC_STATUS, &status) != 0 ||
         (status.out_running == 0 && status.out_queued == 0);
}

}  // namespace

/// Memory shared with the child: its progress and results.
struct BatchRunner::Shared {
  std::atomic<std::size_t> current;  ///< index of the input that it runs
  std::array<char, 4096> complaint;
  std::array<Outcome, most> outcomes;
};

BatchRunner::BatchRunner(bool blind)
    : coverage_{Coverage{blind}, Coverage{blind}},
      text_(ModuleText::find()),
      monitor_(test::open_device()),
      seen_(end_of_features) {
  void* data =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    throw std::system_error(errno, std::system_category(), "memory for results");
  }
  shared_ = new (data) Shared;
}

BatchRunner::~BatchRunner() {
  ::munmap(shared_, sizeof(Shared));
}

std::optional<BatchRunner::Finding> BatchRunner::run(std::span<const Input> inputs) {
  shared_->current = 0;
  shared_->complaint[0] = '\0';
  const pid_t child = ::fork();
  if (child < 0) {
    throw std::system_error(errno, std::system_category(), "fork");
  }
  if (child == 0) {
    be_child(inputs);
  }
  if (std::optional<Finding> finding = supervise(child)) {
    return finding;
  }
  return check_counts();
}

void BatchRunner::be_child(std::span<const Input> inputs) {
  catch_faults();
  Executor executor{surroundings_, coverage_};
  coverage_[0].on();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    shared_->current = i;
    coverage_[0].clear();
    coverage_[1].clear();
    const std::string complaint = executor.run(inputs[i]);
    record(i, executor.results());
    if (!complaint.empty()) {
      complaint.copy(shared_->complaint.data(), shared_->complaint.size() - 1);
      ::_exit(1);
    }
  }
  ::_exit(0);
}

void BatchRunner::record(std::size_t input, std::span<const std::uint32_t> results) {
  Outcome& outcome = shared_->outcomes.at(input);
  outcome.count = 0;
  const auto add = [&](Feature feature) {
    if (!seen_[feature] && outcome.count < max_features) {
      seen_[feature] = true;
      outcome.features.at(outcome.count++) = feature;
    }
  };
  for (const Coverage& coverage : coverage_) {
    std::uint32_t before = 0;
    for (const std::uint64_t point : coverage.points()) {
      if (const auto offset = text_ ? text_->offset(point) : std::nullopt) {
        add(*offset % first_edge);
        add(edge(before, *offset));
        before = *offset;
      }
    }
  }
  for (const std::uint32_t result : results) {
    add(first_result + result % (end_of_features - first_result));
  }
  for (std::size_t i = 0; i < outcome.count; ++i) {
    seen_[outcome.features.at(i)] = false;
  }
}

std::span<const Feature> BatchRunner::features(std::size_t input) const {
  const Outcome& outcome = shared_->outcomes.at(input);
  return {outcome.features.data(), outcome.count};
}

std::optional<BatchRunner::Finding> BatchRunner::supervise(int child) {
  const UniqueFd handle{static_cast<int>(::syscall(SYS_pidfd_open, child, 0))};
  pollfd ended{.fd = handle.get(), .events = POLLIN, .revents = 0};
  for (std::size_t before = most;;) {
    if (::poll(&ended, 1, longest_execution_ms) > 0) {
      break;
    }
    if (before == shared_->current) {
      const std::string where = test::describe_hang(child);
      ::kill(child, SIGKILL);
      return Finding{"an execution does not end\n" + where, shared_->current};
    }
    before = shared_->current;
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status == 0) {
    return {};
  }
  const std::string complaint = shared_->complaint.data();
  return Finding{
      complaint.empty() ? "the child ended with wait status " + std::to_string(status) : complaint,
      shared_->current};
}

std::optional<BatchRunner::Finding> BatchRunner::check_counts() {
  // Rings end, and descriptors that were under way are thrown away, some time after the child.
  constexpr int tries = 1'000;
  constexpr useconds_t pause = 10'000;
  dmawire_info info{};
  const UniqueFd card{::open(surroundings_.card.node().c_str(), O_RDWR | O_CLOEXEC)};
  for (int i = 0; i < tries; ++i) {
    for (std::size_t pair = 0; pair < Surroundings::pairs; ++pair) {
      surroundings_.drain(pair);
    }
    info = test::info(monitor_.get());
    if (info.out_buffers == 0 && info.out_bytes == 0 && is_idle(monitor_.get()) &&
        is_idle(card.get())) {
      return {};
    }
    ::usleep(pause);
  }
  if (info.out_buffers == 0 && info.out_bytes == 0) {
    return Finding{"STATUS still counts a run or what is given when all are gone", std::nullopt};
  }
  return Finding{"INFO still counts " + std::to_string(info.out_buffers) + " buffers of " +
                     std::to_string(info.out_bytes) + " bytes when all are gone",
                 std::nullopt};
}

}  // namespace dmawire::fuzz
