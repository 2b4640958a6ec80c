// SPDX-License-Identifier: MIT
#include <dmawire/registration.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/mapping.hpp>

#include "ring.hpp"

namespace dmawire {

class Registration::Table {
 public:
  Table(Path path, std::span<const Buffer> buffers) : ring_(requests, completions) {
    if (path == Path::direct) {
      register_dma_bufs(buffers);
    } else if (path == Path::fixed) {
      map_and_register(buffers);
    }
  }

 private:
  static constexpr unsigned requests = 64;
  static constexpr unsigned completions = 256;

  void register_dma_bufs(std::span<const Buffer> buffers) {
    if (std::any_of(buffers.begin(), buffers.end(),
                    [](const Buffer& one) { return one.kind() != Buffer::Kind::dma_buf; })) {
      throw Error(0, "a memfd has no dma-buf to put into the ring's table", {},
                  Error::Kind::impossible);
    }
    std::vector<DmaBufRange> ranges;
    std::transform(buffers.begin(), buffers.end(), std::back_inserter(ranges),
                   [](const Buffer& one) {
                     return DmaBufRange{one.fd(), 0, 0};
                   });
    ring_.register_dma_bufs(Device{}, ranges);
  }

  void map_and_register(std::span<const Buffer> buffers) {
    std::vector<iovec> vectors;
    for (const Buffer& buffer : buffers) {
      if (buffer.pages() != Buffer::Pages::pinned) {
        throw Error(0, "the kernel cannot pin this memory for long, as registering does", {},
                    Error::Kind::impossible);
      }
      const std::span<std::byte> bytes = mappings_.emplace_back(buffer.map()).bytes();
      vectors.push_back({.iov_base = bytes.data(), .iov_len = bytes.size()});
    }
    ring_.register_buffers(vectors);
  }

  // The ring goes first: it has the mappings' pages pinned.
  std::vector<Mapping> mappings_;
  Ring ring_;
};

Registration::Registration(Path path, std::span<const Buffer> buffers)
    : table_(std::make_unique<Table>(path, buffers)) {}

Registration::~Registration() = default;

}  // namespace dmawire
