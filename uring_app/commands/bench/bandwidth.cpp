// SPDX-License-Identifier: MIT
#include "bandwidth.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <dmawire/buffer.hpp>
#include <dmawire/cpu_access.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/mapping.hpp>
#include <utility>

#include "../access_error.hpp"
#include "../units.hpp"
#include "machine.hpp"
#include "table.hpp"

namespace dmawire::commands::bench {
namespace {

/// What a run reads, and writes, in all: long enough for any clock.
constexpr std::uint64_t run_bytes = 64UL * 1024 * 1024;

constexpr double gibibyte = 1024.0 * 1024 * 1024;

std::span<std::uint64_t> words_of(const Mapping& mapping) {
  const std::span<std::byte> bytes = mapping.bytes();
  return {reinterpret_cast<std::uint64_t*>(bytes.data()), bytes.size() / sizeof(std::uint64_t)};
}

/// A buffer that the device could write to at any time.
class SharedMemory {
 public:
  SharedMemory(const Device& device, Backing backing, std::uint64_t length)
      : device_(device),
        backing_(backing),
        buffer_(make_buffer(device, backing, length, DMAWIRE_BIDIRECTIONAL)),
        mapping_(buffer_.map()),
        index_(device.attach(buffer_.fd())) {
    write(0);  // all pages are there from now on
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { (void)device_.detach(index_); }

  void run() {
    const std::uint64_t passes = std::max<std::uint64_t>(run_bytes / buffer_.length(), 1);
    const double start = clock_seconds();
    for (std::uint64_t pass = 0; pass < passes; ++pass) {
      read();
    }
    const double middle = clock_seconds();
    for (std::uint64_t pass = 0; pass < passes; ++pass) {
      write(pass);
    }
    const double end = clock_seconds();
    const double amount = static_cast<double>(passes * buffer_.length()) / gibibyte;
    reads_.push_back(amount / (middle - start));
    writes_.push_back(amount / (end - middle));
  }

  [[nodiscard]] Row row() const {
    Row row;
    row["backing"] = name(backing_);
    row["own"] = buffer_.pages() == Buffer::Pages::none;
    row["size"] = buffer_.length();
    row["read_gib_per_s"] = median(reads_);
    row["write_gib_per_s"] = median(writes_);
    row["repeats"] = reads_.size();
    row["clock"] = clock_name();
    row["kernel"] = kernel_release();
    return row;
  }

 private:
  void read() {
    const CpuAccess access{buffer_, CpuAccess::Intent::read};
    throw_if_none(access);
    std::uint64_t sum = 0;
    for (const std::uint64_t word : words_of(mapping_)) {
      sum += word;
    }
    seen_ = sum;
  }
  void write(std::uint64_t value) {
    const CpuAccess access{buffer_, CpuAccess::Intent::write};
    throw_if_none(access);
    std::ranges::fill(words_of(mapping_), value);
  }

  const Device& device_;
  Backing backing_;
  Buffer buffer_;
  Mapping mapping_;
  std::uint32_t index_;
  std::vector<double> reads_;
  std::vector<double> writes_;
  volatile std::uint64_t seen_ = 0;  ///< so that reading is not left out
};

}  // namespace

std::vector<Row> measure_bandwidth(const Device& device, const std::vector<std::uint64_t>& lengths,
                                   std::uint32_t repeats) {
  std::vector<Row> rows;
  for (const std::uint64_t length : lengths) {
    SharedMemory coherent{device, Backing::coherent, length};
    SharedMemory streaming{device, Backing::pages, length};
    for (std::uint32_t i = 0; i < repeats; ++i) {
      coherent.run();
      streaming.run();
    }
    rows.push_back(coherent.row());
    rows.push_back(streaming.row());
  }
  return rows;
}

std::string format_bandwidth_table(std::span<const Row> rows) {
  std::vector<std::vector<std::string>> cells{{"memory", "buffer", "read GiB/s", "write GiB/s"}};
  for (const Row& row : rows) {
    const bool coherent = row["backing"] == "coherent";
    const bool own = row["own"].get<bool>();
    cells.push_back({!coherent ? "pages, synced"
                     : own     ? "coherent, the device's"
                               : "coherent, pages",
                     format_size(row["size"].get<std::uint64_t>()),
                     fmt::format("{:.3f}", row["read_gib_per_s"].get<double>()),
                     fmt::format("{:.3f}", row["write_gib_per_s"].get<double>())});
  }
  return format_cells(cells);
}

}  // namespace dmawire::commands::bench
