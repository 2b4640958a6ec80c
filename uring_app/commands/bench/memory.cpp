// SPDX-License-Identifier: MIT
#include "memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <dmawire/cpu_access.hpp>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <fstream>
#include <memory>
#include <utility>

#include "../access_error.hpp"
#include "../units.hpp"
#include "pattern.hpp"
#include "proc.hpp"

namespace dmawire::commands::bench {
namespace {

/// What may be kept beside the pool in use.
constexpr std::uint64_t max_kept = 256UL * 1024 * 1024;

/// For cases with a backing.
Device device_for(const Case& what) {
  if (what.source != Exporter::dmawire || what.layout != Layout::pages) {
    throw Error(0, "--backing is about dmawire's own memory, and decides its layout", {},
                Error::Kind::impossible);
  }
  return Device{};
}

/// A pool does not move: it is made where it stays.
std::unique_ptr<FramePool> new_pool(const Case& what) {
  if (what.offset) {
    return std::unique_ptr<FramePool>(new FramePool(FramePool::one_in_each(
        new_buffers(what, what.frames, *what.offset + what.size), what.size, *what.offset)));
  }
  if (what.backing != Backing::pages) {
    return std::unique_ptr<FramePool>(
        new FramePool(make_pool(device_for(what), what.backing, what.frames, what.size)));
  }
  return std::unique_ptr<FramePool>(
      new FramePool(make_pool(what.source, what.layout, what.frames, what.size)));
}

void fill(FramePool& pool) {
  std::uint32_t i = 0;
  for (std::uint32_t buffer = 0; buffer < pool.buffers().size(); ++buffer) {
    const CpuAccess access{pool.buffers()[buffer], CpuAccess::Intent::write};
    throw_if_none(access);
    for (; i < pool.size() && pool.place(i).buffer == buffer; ++i) {
      fill_pattern(pool.bytes(i), i);
    }
  }
}

}  // namespace

std::vector<Buffer> new_buffers(const Case& what, std::size_t count, std::size_t length) {
  if (what.backing == Backing::pages) {
    return make_buffers(what.source, what.layout, count, length);
  }
  const Device device = device_for(what);
  std::vector<Buffer> buffers;
  buffers.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    buffers.push_back(make_buffer(device, what.backing, length, DMAWIRE_BIDIRECTIONAL));
  }
  return buffers;
}

std::vector<Buffer> new_amount(const Case& what) {
  constexpr std::uint64_t usual = 1024UL * 1024;
  constexpr std::uint64_t huge = 2 * usual;
  const std::uint64_t length = std::min(
      what.layout == Layout::huge ? huge
                                  : std::max<std::uint64_t>(usual, usual_length(what.backing)),
      what.size);
  return new_buffers(what, (what.size + length - 1) / length, length);
}

void check_available(const Case& what) {
  std::ifstream meminfo{"/proc/meminfo"};
  const std::uint64_t available = parse_kernel_field(meminfo, "MemAvailable");
  // Beside hugetlb pages, which are set aside already, some must be left for everybody else.
  const bool is_set_aside = what.layout == Layout::huge || what.backing == Backing::memfd_2m ||
                            what.backing == Backing::memfd_1g;
  if (!is_set_aside && what.size > available / 10 * 9) {
    throw Error(0,
                fmt::format("{} is too much: {} of memory are available", format_size(what.size),
                            format_size(available)),
                {}, Error::Kind::impossible);
  }
}

std::unique_ptr<FramePool> Memory::make_or_make_room(const Case& what) {
  try {
    return new_pool(what);
  } catch (const Error&) {
    if (kept_.empty()) {
      throw;
    }
    kept_.clear();  // huge pages and what the module may take are limited
    return new_pool(what);
  }
}

FramePool& Memory::pool(const Case& what) {
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const Kept& one) { return one.fits(what); });
  if (found != kept_.end()) {
    std::rotate(found, std::next(found), kept_.end());
    return *kept_.back().pool;
  }
  std::uint64_t bytes = 0;
  for (const Kept& one : kept_) {
    bytes += one.bytes();
  }
  while (!kept_.empty() && bytes > max_kept) {
    bytes -= kept_.front().bytes();
    kept_.pop_front();
  }
  std::unique_ptr<FramePool> pool = make_or_make_room(what);
  fill(*pool);
  kept_.push_back({what.source, what.layout, what.backing, what.size, what.frames, what.offset,
                   std::move(pool)});
  return *kept_.back().pool;
}

}  // namespace dmawire::commands::bench
