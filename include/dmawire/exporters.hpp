// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <dmawire/buffer.hpp>
#include <dmawire/device.hpp>
#include <dmawire/frame_pool.hpp>

namespace dmawire {

/// Exporter of the memory of a buffer.
enum class Exporter {
  dmawire,   ///< this project's module
  memfd,     ///< plain shared memory: no module needed, no device can write to it
  udmabuf,   ///< mainline's /dev/udmabuf, for comparison
  dma_heap,  ///< mainline's /dev/dma_heap/system, for comparison
};

/// Layout of the memory of a buffer. It determines the size of the bvecs of memory that an io_uring
/// registers by address.
enum class Layout {
  pages,   ///< single pages
  folios,  ///< folios of 64 KiB (dmawire; shared memory for root, where the kernel is told to)
  huge,    ///< pages of 2 MiB (memfd, from the reserved ones)
};

/// Source of the memory of a buffer of the module; docs/backings.md compares them.
enum class Backing {
  pages,       ///< the kernel's page allocator
  memfd,       ///< a memfd of small pages
  memfd_2m,    ///< a memfd of pages of 2 MiB, from the reserved ones
  memfd_1g,    ///< of 1 GiB
  user,        ///< this process's own
  contig,      ///< one physical piece for each buffer
  contig_cma,  ///< the same of the CMA area
  coherent,    ///< coherent for device and CPU: no syncing
};

[[nodiscard]] std::string_view name(Exporter exporter) noexcept;
[[nodiscard]] std::string_view name(Layout layout) noexcept;
[[nodiscard]] std::string_view name(Backing backing) noexcept;

/// The best that an exporter has for frames of a length without being set up for it. Short frames
/// are best in single pages: from memory registered by address, the kernel charges the socket for
/// the whole folio before a frame too, and a stream of them in flight starves (docs/sending.md).
[[nodiscard]] Layout usual_layout(Exporter exporter, std::size_t frame_length) noexcept;

/// `count` buffers of at least `length` bytes each. Throws Error, of the kind `impossible` where
/// the exporter does not have the layout.
[[nodiscard]] std::vector<Buffer> make_buffers(Exporter exporter, Layout layout, std::size_t count,
                                               std::size_t length);

/// How long buffers are of which pools are made: 1 MiB, or a huge page.
[[nodiscard]] std::size_t usual_length(Backing backing) noexcept;

/// A buffer of the module of at least `length` bytes; `layout`, not huge, applies to
/// Backing::pages. Throws Error, of the kind `impossible` where the pages are not available.
[[nodiscard]] Buffer make_buffer(const Device& device, Backing backing, std::size_t length,
                                 dmawire_direction direction, Layout layout = Layout::pages);

/// A pool of `frames` frames in as many buffers as that takes: of 1 MiB (2 MiB if `huge`), so that
/// a buffer holds many small frames (a send gathers from one buffer only) and is still found
/// through in a few steps. Throws Error.
[[nodiscard]] FramePool make_pool(Exporter exporter, Layout layout, std::uint32_t frames,
                                  std::size_t frame_length);
/// The same of the module's buffers with that backing, its pages in the usual layout. Their length
/// is that of its pages.
[[nodiscard]] FramePool make_pool(const Device& device, Backing backing, std::uint32_t frames,
                                  std::size_t frame_length);
/// The same with the exporter's usual layout.
[[nodiscard]] FramePool make_pool(Exporter exporter, std::uint32_t frames,
                                  std::size_t frame_length);

}  // namespace dmawire
