// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>
#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include <dmawire/unique_fd.hpp>

/// The ABI of /dev/dmawireN spoken raw, as uapi.h describes it.
namespace dmawire::test {

inline constexpr size_t kPage = 4096;
inline constexpr size_t kMiB = 1024 * 1024;
inline constexpr size_t kFolio = 64 * 1024;

/// Opens /dev/dmawire0; the test that uses it fails at the first ioctl if it is not there.
UniqueFd open_device();

/// The ioctl's errno, or 0.
int call(int fd, unsigned long command, void* argument);

/// Asks for @p length bytes with nothing special.
dmawire_create create_request(uint64_t length);

/// The same of one piece of memory.
dmawire_create contig_request(uint64_t length, uint32_t flags = 0);

/// A dma-buf of @p length bytes; a test failure and an empty UniqueFd if that does not work.
UniqueFd create_buffer(int device, uint64_t length, uint32_t fd_flags = O_RDWR | O_CLOEXEC,
                       uint32_t flags = 0);

/// The layouts of memory that CREATE's flags select, for tests that hold for all of them.
inline constexpr uint32_t layouts[] = {0, DMAWIRE_CREATE_FOLIOS_64K};
inline const auto layout_name = [](const auto& instance) {
  return std::string(instance.param == 0 ? "Mixed" : "Folios");
};

/// CREATE for @p length: its errno, or 0. The buffer is released again.
int try_create(int device, uint64_t length, uint32_t flags = 0);

dmawire_info info(int device);
dmawire_query query(int dmabuf);

/// The same from a fresh descriptor, which is closed again.
dmawire_info module_info();

/// Whether the module supports the path `direct`; on a kernel without it the path must be refused.
bool has_direct();

/// DMA_BUF_IOCTL_SYNC: its errno, or 0.
int sync(int dmabuf, uint64_t flags);

}  // namespace dmawire::test
