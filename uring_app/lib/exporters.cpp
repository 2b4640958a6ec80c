// SPDX-License-Identifier: MIT
#include <dmawire/exporters.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string>

#include <dmawire/device.hpp>
#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {
namespace {

UniqueFd open_node(const char* node) {
  UniqueFd fd{sys().open(node, O_RDWR | O_CLOEXEC)};
  if (!fd.valid()) {
    const int code = errno;
    throw Error(code, fmt::format("opening {}", node), "the kernel may lack it",
                Error::Kind::impossible);
  }
  return fd;
}

Buffer make_udmabuf(int node, std::size_t length) {
  const Buffer memory = Buffer::memfd(length);
  if (::fcntl(memory.fd(), F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
    throw Error(errno, "sealing a memfd");
  }
  udmabuf_create request{};
  request.memfd = static_cast<__u32>(memory.fd());
  request.flags = UDMABUF_FLAGS_CLOEXEC;
  request.size = memory.length();
  UniqueFd fd{sys().ioctl(node, UDMABUF_CREATE, &request)};
  if (!fd.valid()) {
    const int code = errno;
    throw Error(code, fmt::format("creating a udmabuf of {} bytes", memory.length()));
  }
  return {std::move(fd), memory.length(), Buffer::Kind::dma_buf};
}

Buffer make_heap_buffer(int node, std::size_t length) {
  dma_heap_allocation_data request{};
  request.len = length;
  request.fd_flags = O_RDWR | O_CLOEXEC;
  if (sys().ioctl(node, DMA_HEAP_IOCTL_ALLOC, &request) < 0) {
    const int code = errno;
    throw Error(code, fmt::format("allocating {} bytes from the system dma-heap", length));
  }
  return {UniqueFd{static_cast<int>(request.fd)}, length, Buffer::Kind::dma_buf};
}

constexpr std::size_t page = 4096;
constexpr std::size_t mebibyte = 1024UL * 1024;
constexpr std::size_t huge_page = 2 * mebibyte;
constexpr std::size_t gigantic_page = 1024 * mebibyte;

/// Shared memory in folios of 64 KiB. The kernel gives them to anonymous mappings only, whose
/// memory has a descriptor all the same: it takes CAP_CHECKPOINT_RESTORE to open it.
Buffer make_folio_memory(std::size_t length) {
  static constexpr const char* setting =
      "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/shmem_enabled";
  std::string modes;
  std::getline(std::ifstream{setting}, modes);
  if (modes.empty() || modes.find("[never]") != std::string::npos) {
    throw Error(0, "shared memory is not made of 64 KiB folios here",
                fmt::format("`echo advise > {}` allows it, since Linux 6.11", setting),
                Error::Kind::impossible);
  }
  constexpr std::size_t folio = 64UL * 1024;
  length = (length + folio - 1) / folio * folio;
  void* const start =
      sys().mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) {
    const int code = errno;
    throw Error(code, fmt::format("mapping {} bytes", length));
  }
  const bool allocated = ::madvise(start, length, MADV_HUGEPAGE) == 0 &&
                         ::madvise(start, length, MADV_POPULATE_WRITE) == 0;
  const auto address = reinterpret_cast<std::uintptr_t>(start);
  const std::string name = fmt::format("/proc/self/map_files/{:x}-{:x}", address, address + length);
  UniqueFd fd{allocated ? sys().open(name.c_str(), O_RDWR | O_CLOEXEC) : -1};
  const int code = errno;
  ::munmap(start, length);
  if (!fd.valid()) {
    throw Error(code, fmt::format("allocating {} bytes in folios of 64 KiB", length), {},
                Error::Kind::impossible);
  }
  return {std::move(fd), length, Buffer::Kind::memfd};
}

/// A pool of buffers of about `buffer_length`, from `make(count, length)`.
template <typename Make>
FramePool pool_of(std::size_t buffer_length, std::uint32_t frames, std::size_t frame_length,
                  Make make) {
  const std::size_t stride = FramePool::stride(frame_length);
  const std::size_t per_buffer =
      std::clamp<std::size_t>(buffer_length / stride, 1, std::max<std::size_t>(frames, 1));
  const std::size_t count = (frames + per_buffer - 1) / per_buffer;
  return {make(count, (per_buffer - 1) * stride + frame_length), frame_length, frames};
}

template <typename Make>
std::vector<Buffer> repeat(std::size_t count, Make make) {
  std::vector<Buffer> buffers;
  buffers.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    buffers.push_back(make());
  }
  return buffers;
}

}  // namespace

std::string_view name(Exporter exporter) noexcept {
  switch (exporter) {
    case Exporter::dmawire:
      return "dmawire";
    case Exporter::memfd:
      return "memfd";
    case Exporter::udmabuf:
      return "udmabuf";
    case Exporter::dma_heap:
      break;
  }
  return "dma-heap";
}

std::string_view name(Layout layout) noexcept {
  switch (layout) {
    case Layout::pages:
      return "pages";
    case Layout::folios:
      return "folios";
    case Layout::huge:
      break;
  }
  return "huge";
}

std::string_view name(Backing backing) noexcept {
  switch (backing) {
    case Backing::pages:
      return "pages";
    case Backing::memfd:
      return "memfd";
    case Backing::memfd_2m:
      return "memfd:2M";
    case Backing::memfd_1g:
      return "memfd:1G";
    case Backing::user:
      return "user";
    case Backing::contig:
      return "contig";
    case Backing::contig_cma:
      return "contig:cma";
    case Backing::coherent:
      break;
  }
  return "coherent";
}

std::size_t usual_length(Backing backing) noexcept {
  return backing == Backing::memfd_1g   ? gigantic_page
         : backing == Backing::memfd_2m ? huge_page
                                        : mebibyte;
}

Layout usual_layout(Exporter exporter, std::size_t frame_length) noexcept {
  constexpr std::size_t half_a_folio = 32UL * 1024;
  return exporter == Exporter::dmawire && frame_length >= half_a_folio ? Layout::folios
                                                                       : Layout::pages;
}

std::vector<Buffer> make_buffers(Exporter exporter, Layout layout, std::size_t count,
                                 std::size_t length) {
  if (layout == Layout::folios && exporter != Exporter::dmawire && exporter != Exporter::memfd) {
    throw Error(0, fmt::format("{} memory is not made of 64 KiB folios", name(exporter)),
                "dmawire's is", Error::Kind::impossible);
  }
  if (layout == Layout::huge && exporter != Exporter::memfd) {
    throw Error(0, fmt::format("{} memory is not made of 2 MiB pages", name(exporter)),
                "a memfd's can be", Error::Kind::impossible);
  }
  switch (exporter) {
    case Exporter::dmawire: {
      const Device device;
      return repeat(count, [&] {
        return make_buffer(device, Backing::pages, length, DMAWIRE_BIDIRECTIONAL, layout);
      });
    }
    case Exporter::memfd:
      return repeat(count, [&] {
        switch (layout) {
          case Layout::huge:
            return Buffer::huge_memfd(length, huge_page);
          case Layout::folios:
            return make_folio_memory(length);
          case Layout::pages:
            break;
        }
        return Buffer::memfd(length);
      });
    case Exporter::udmabuf: {
      const UniqueFd node = open_node("/dev/udmabuf");
      return repeat(count, [&] { return make_udmabuf(node.get(), length); });
    }
    case Exporter::dma_heap:
      break;
  }
  const UniqueFd node = open_node("/dev/dma_heap/system");
  return repeat(count, [&] { return make_heap_buffer(node.get(), length); });
}

Buffer make_buffer(const Device& device, Backing backing, std::size_t length,
                   dmawire_direction direction, Layout layout) {
  switch (backing) {
    case Backing::pages:
      break;
    case Backing::memfd:
      return device.create_from(Buffer::memfd(length), direction);
    case Backing::memfd_2m:
      return device.create_from(Buffer::huge_memfd(length, huge_page), direction);
    case Backing::memfd_1g:
      return device.create_from(Buffer::huge_memfd(length, gigantic_page), direction);
    case Backing::user:
      return device.create_from(Mapping::anonymous((length + page - 1) / page * page), direction);
    case Backing::contig:
      return device.create(length, direction, 0, DMAWIRE_BACKING_CONTIG);
    case Backing::contig_cma:
      return device.create(length, direction, DMAWIRE_CREATE_CMA, DMAWIRE_BACKING_CONTIG);
    case Backing::coherent:
      return device.create(length, direction, 0, DMAWIRE_BACKING_COHERENT);
  }
  return device.create(length, direction, layout == Layout::folios ? DMAWIRE_CREATE_FOLIOS_64K : 0);
}

FramePool make_pool(Exporter exporter, Layout layout, std::uint32_t frames,
                    std::size_t frame_length) {
  const std::size_t buffer_length = layout == Layout::huge ? huge_page : mebibyte;
  return pool_of(buffer_length, frames, frame_length, [&](std::size_t count, std::size_t length) {
    return make_buffers(exporter, layout, count, length);
  });
}

FramePool make_pool(const Device& device, Backing backing, std::uint32_t frames,
                    std::size_t frame_length) {
  const Layout layout = usual_layout(Exporter::dmawire, frame_length);
  return pool_of(usual_length(backing), frames, frame_length,
                 [&](std::size_t count, std::size_t length) {
                   return repeat(count, [&] {
                     return make_buffer(device, backing, length, DMAWIRE_BIDIRECTIONAL, layout);
                   });
                 });
}

FramePool make_pool(Exporter exporter, std::uint32_t frames, std::size_t frame_length) {
  return make_pool(exporter, usual_layout(exporter, frame_length), frames, frame_length);
}

}  // namespace dmawire
