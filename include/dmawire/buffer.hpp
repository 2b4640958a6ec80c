// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

#include <dmawire/mapping.hpp>
#include <dmawire/unique_fd.hpp>

namespace dmawire {

/// A piece of shareable memory: a dma-buf of any exporter, or a memfd. Owns the descriptor.
class Buffer {
 public:
  enum class Kind { dma_buf, memfd };
  /// How the kernel treats the pages of its mappings, as far as known.
  enum class Pages {
    pinned,     ///< registers them by address
    looked_up,  ///< finds them at each request, but cannot pin them for long: memory of a CMA area
    none,       ///< no pages to send from or to write to disk; the CPU can copy
  };

  /// Memory that `fd` stands for. `length` is in bytes, a multiple of the page size; `page` is the
  /// size of the pages it can be mapped in, if they are huge.
  Buffer(UniqueFd fd, std::size_t length, Kind kind, std::size_t page = 1,
         Pages pages = Pages::pinned) noexcept
      : fd_(std::move(fd)), length_(length), page_(page), kind_(kind), pages_(pages) {}
  /// A dma-buf of memory of this process, which can be mapped nowhere else.
  Buffer(UniqueFd dma_buf, Mapping memory) noexcept
      : fd_(std::move(dma_buf)),
        length_(memory.bytes().size()),
        kind_(Kind::dma_buf),
        memory_(std::move(memory)) {}

  /// A new memfd, zeroed, `length` rounded up to whole pages. Throws Error.
  [[nodiscard]] static Buffer memfd(std::size_t length);
  /// The same of huge pages, of 2 MiB or 1 GiB, from the reserved ones.
  [[nodiscard]] static Buffer huge_memfd(std::size_t length, std::size_t page);

  /// Where its bytes are in this process; it must live as long. Throws Error.
  [[nodiscard]] Mapping map() const;

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::size_t length() const noexcept { return length_; }
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] std::size_t page() const noexcept { return page_; }
  [[nodiscard]] Pages pages() const noexcept { return pages_; }

 private:
  UniqueFd fd_;
  std::size_t length_;
  std::size_t page_ = 1;
  Kind kind_;
  Pages pages_ = Pages::pinned;
  Mapping memory_;
};

}  // namespace dmawire
