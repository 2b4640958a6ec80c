// SPDX-License-Identifier: MIT
//
// Sends that must stay right while the machine is short of memory, migrates pages, loses packets
// and takes CPUs away. DMAWIRE_PRESSURE_SECONDS sets the duration.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <thread>
#include <vector>

#include "abi.hpp"
#include "bad_card.hpp"
#include "capturing.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "process.hpp"
#include "transfer.hpp"

namespace dmawire::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

const Wire over_the_cards{.source_netns = "src", .destination_netns = "dst", .host = "192.0.2.2"};

std::chrono::seconds duration() {
  return std::chrono::seconds{from_environment("DMAWIRE_PRESSURE_SECONDS", 6)};
}

/// A slow machine has to wait longer until its memory is full.
constexpr std::chrono::seconds time_to_swap{90};

/// Things that happen again and again do so more rarely where each takes longer: or a process waits
/// so long for a page that the kernel says so.
int slowness() {
  return is_debug_kernel() ? 4 : 1;
}

/// A counter of /proc/vmstat; 0 if this kernel lacks it.
uint64_t vmstat(const std::string& name) {
  std::ifstream file{"/proc/vmstat"};
  std::string word;
  for (uint64_t value = 0; file >> word >> value;) {
    if (word == name) {
      return value;
    }
  }
  return 0;
}

/// Swap space in compressed memory while it lives.
class CompressedSwap {
 public:
  CompressedSwap() {
    EXPECT_TRUE(load_kernel_module("zram"));
    EXPECT_TRUE(write_text("/sys/block/zram0/disksize", "1G"));
    const Process::Result made = run({"mkswap", "/dev/zram0"});
    EXPECT_EQ(made.status, 0) << made.err;
    EXPECT_EQ(swapon("/dev/zram0", 0), 0) << strerror(errno);
  }
  ~CompressedSwap() {
    EXPECT_EQ(swapoff("/dev/zram0"), 0) << strerror(errno);
    EXPECT_TRUE(write_text("/sys/block/zram0/reset", "1"));
  }
  CompressedSwap(const CompressedSwap&) = delete;
  CompressedSwap& operator=(const CompressedSwap&) = delete;
};

/// Does something over and over, in a thread, while it lives.
class Again {
 public:
  Again(std::chrono::milliseconds pause, std::function<void(unsigned round)> action)
      : thread_([this, pause, action = std::move(action)] {
          for (unsigned round = 0; !stopped_; ++round) {
            action(round);
            std::this_thread::sleep_for(pause);
          }
        }) {}
  ~Again() {
    stopped_ = true;
    thread_.join();
  }
  Again(const Again&) = delete;
  Again& operator=(const Again&) = delete;

 private:
  std::atomic<bool> stopped_ = false;
  std::thread thread_;
};

/// One buffer after another, each filled, left alone for a while and read back.
void check_a_buffer(unsigned round) {
  const uint32_t layout = layouts[round % std::size(layouts)];
  dmawire_create request = create_request(4 * kMiB + round % 7 * kPage);
  request.flags = layout;
  if (call(open_device().get(), DMAWIRE_IOC_CREATE, &request) != 0) {
    return;  // ENOMEM is an answer here; LeakCheck sees that nothing is left of it
  }
  const UniqueFd buffer{request.out_fd};
  const Mapped mapping{buffer.get(), request.out_length};
  const std::string text = fill(mapping);
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(memcmp(mapping.data(), text.data(), text.size()), 0) << "after round " << round;
}

/// Writes to more memory than there is, again and again: than is free, or, where the kernel takes a
/// millisecond to swap a page and everyone would wait for one, than its cgroup may have. `timeout`
/// passes on the signal that ends it.
class MemoryHog {
 public:
  MemoryHog() : process_(command()) {}
  ~MemoryHog() {
    kill(process_.pid(), SIGTERM);
    process_.wait();
    if (is_debug_kernel()) {
      // `timeout` waits for `stress`, which does not wait for its workers when it is told to end.
      const auto give_up = std::chrono::steady_clock::now() + 30s;
      while (read_text(cgroup_ + "/cgroup.events").find("populated 0") == std::string::npos &&
             std::chrono::steady_clock::now() < give_up) {
        std::this_thread::sleep_for(10ms);
      }
      EXPECT_EQ(rmdir(cgroup_.c_str()), 0) << strerror(errno);
    }
  }
  MemoryHog(const MemoryHog&) = delete;
  MemoryHog& operator=(const MemoryHog&) = delete;

  /// Free memory that it needs.
  static constexpr uint64_t room = 192 * kMiB;

 private:
  Words command() const {
    const uint64_t allowed = is_debug_kernel() ? room / 2 : meminfo("MemAvailable");
    const Words hog{"timeout",
                    std::to_string((duration() + time_to_swap).count()),
                    "stress",
                    "--quiet",
                    "--vm",
                    "2",
                    "--vm-keep",
                    "--vm-bytes",
                    std::to_string((allowed + 64 * kMiB) / 2)};
    if (!is_debug_kernel()) {
      return hog;
    }
    EXPECT_TRUE(write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory"));
    EXPECT_EQ(mkdir(cgroup_.c_str(), 0755), 0) << strerror(errno);
    EXPECT_TRUE(write_text(cgroup_ + "/memory.max", std::to_string(allowed)));
    Words words{"sh", "-c", "echo 0 >\"$0/cgroup.procs\" && exec \"$@\"", cgroup_};
    words.insert(words.end(), hog.begin(), hog.end());
    return words;
  }

  const std::string cgroup_ = "/sys/fs/cgroup/dmawire-hog";
  Process process_;
};

/// Too little memory, for as long as it lives, and that moved about.
class Shortage {
 public:
  Shortage() = default;

 private:
  CompressedSwap swap_;
  // Most of the memory goes at once, so that the rest is soon too little.
  ModuleParameter limit_{"max_bytes", meminfo("MemTotal")};
  UniqueFd ballast_ =
      create_buffer(open_device().get(), meminfo("MemAvailable") - MemoryHog::room * slowness());
  MemoryHog hog_;
  Again compaction_{200ms * slowness(),
                    [](unsigned) { write_text("/proc/sys/vm/compact_memory", "1"); }};
};

const std::string second_cpu = "/sys/devices/system/cpu/cpu1/online";

TEST(Pressure, DataStaysRightWhileMemoryPagesPacketsAndCpusComeAndGo) {
  const uint64_t swapped_before = vmstat("pswpout");
  const uint64_t moved_before = vmstat("compact_migrate_scanned");
  const std::string sample = "/tmp/pressure-sample";
  const std::vector<std::string> paths{"auto", "fixed", "plain", "msg", "copy"};
  unsigned transfers = 0;
  std::atomic<unsigned> buffers = 0;
  ASSERT_EQ(run({"dd", "if=/dev/urandom", "of=" + sample, "bs=64k", "count=16"}).status, 0);
  {
    const BadCard card;
    const Shortage shortage;
    const Again hotplug{500ms * slowness(),
                        [](unsigned round) { write_text(second_cpu, round % 2 ? "1" : "0"); }};
    const Again churn{0ms, [&](unsigned round) {
                        check_a_buffer(round);
                        ++buffers;
                      }};
    const Clock::time_point begin = Clock::now();
    const auto pressed = [&] { return vmstat("pswpout") > swapped_before; };
    while (Clock::now() < begin + duration() ||
           (!pressed() && Clock::now() < begin + duration() + time_to_swap)) {
      const Outcome outcome =
          transfer(over_the_cards, {"--file", sample, "--tx", paths[transfers % paths.size()]});
      ASSERT_TRUE(outcome.verified()) << outcome.complaints();
      ++transfers;
    }
  }
  EXPECT_TRUE(write_text(second_cpu, "1"));
  std::filesystem::remove(sample);
  EXPECT_GT(vmstat("pswpout"), swapped_before) << "there was no pressure";
  EXPECT_GT(vmstat("compact_migrate_scanned"), moved_before);
  std::cout << "pressure: " << transfers << " transfers of 1 MiB and " << buffers
            << " buffers verified, " << (vmstat("pswpout") - swapped_before) * 4 / 1024
            << " MiB swapped out\n";
}

/// Frames in memory of this process: pinned, filled and released again, and possibly swapped out
/// before they are checked. DMAWIRE_FRAMES sets their number.
TEST(Pressure, FramesOfAProcessAreRightAfterTheyWerePinnedFilledAndReleased) {
  constexpr size_t frame = 960;
  constexpr size_t in_a_ring = 60;
  constexpr size_t length = 16 * kPage;
  const size_t frames = from_environment("DMAWIRE_FRAMES", fewer_if_watched(12'000));
  const size_t rings = (frames + in_a_ring - 1) / in_a_ring;
  const uint64_t swapped_before = vmstat("pswpout");
  constexpr size_t different_rings = 128;
  std::vector<Anonymous> memory;
  std::vector<Anonymous> copies;
  for (size_t i = 0; i < different_rings; ++i) {
    memory.emplace_back(length);
    copies.emplace_back(length);
  }
  const UniqueFd device = open_device();
  size_t i = 0;
  {
    const Shortage shortage;
    const Clock::time_point last = Clock::now() + duration() + time_to_swap;
    const auto pressed = [&] { return vmstat("pswpout") > swapped_before; };
    for (; i < rings || (!pressed() && Clock::now() < last); ++i) {
      const Anonymous& ring = memory[i % different_rings];
      const Anonymous& before = copies[i % different_rings];
      ASSERT_EQ(memcmp(ring.data(), before.data(), length), 0) << "before ring " << i;
      expect_a_ring_of_frames_is_filled(device.get(), ring.data() + 64, frame, in_a_ring, 1);
      ASSERT_FALSE(HasFailure()) << "in ring " << i;
      memcpy(before.data(), ring.data(), length);
    }
  }
  EXPECT_GT(vmstat("pswpout"), swapped_before) << "there was no pressure";
  std::cout << "pressure: " << i * in_a_ring << " frames pinned, filled, released and verified, "
            << (vmstat("pswpout") - swapped_before) * 4 / 1024 << " MiB swapped out\n";
}

}  // namespace
}  // namespace dmawire::test
