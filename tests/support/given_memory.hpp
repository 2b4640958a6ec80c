// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include <dmawire/unique_fd.hpp>

#include "abi.hpp"
#include "mapped.hpp"

/// Memory that a test has and makes buffers of.
namespace dmawire::test {

/// Huge pages of a size, for as long as it lives.
class HugePages {
 public:
  /// @param size  2 MiB, 1 GiB; or the size of small pages, of which there are always enough
  HugePages(size_t size, unsigned count);
  ~HugePages();
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;

  /// Whether there are enough. Pages of 1 GiB usually have to be reserved at boot.
  [[nodiscard]] bool available() const { return available_; }
  /// How many of this size are reserved and not in use yet.
  [[nodiscard]] unsigned long reserved() const;

 private:
  std::string pool_;
  std::string before_;
  bool available_ = true;
};

/// A memfd that cannot shrink, of pages of that size.
UniqueFd make_memfd(uint64_t length, size_t page = kPage);

dmawire_create memfd_request(int memfd, uint64_t start, uint64_t length);
dmawire_create user_request(const void* data, uint64_t length);

/// CREATE with this request; a test failure and an empty UniqueFd if it refuses.
UniqueFd create(int device, const dmawire_create& request);
/// CREATE's errno, or 0. The buffer is released again.
int create_error(int device, const dmawire_create& request);

/// A mapping at an address that is a multiple of `alignment`.
class AlignedMapping {
 public:
  AlignedMapping(int fd, size_t length, size_t alignment, off_t offset = 0,
                 int protection = PROT_READ | PROT_WRITE);

  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] std::span<uint8_t> bytes() const { return bytes_; }

 private:
  Mapped reserved_;
  std::span<uint8_t> bytes_;
  int error_ = 0;
};

/// Anonymous memory.
class Anonymous {
 public:
  explicit Anonymous(size_t length)
      : mapping_(-1, length, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS) {}
  [[nodiscard]] uint8_t* data() const { return mapping_.bytes().data(); }
  [[nodiscard]] std::span<uint8_t> bytes() const { return mapping_.bytes(); }
  [[nodiscard]] const Mapped& mapping() const { return mapping_; }

 private:
  Mapped mapping_;
};

/// The contents of a buffer from `offset` on, read out through a slot of a ring: no mapping is
/// needed. Empty if the kernel takes no dma-bufs into a ring's table.
std::string read_through_slot(int device, int dmabuf, size_t length, uint64_t offset = 0);

/// Runs `body` in a child that has no rights except its descriptors and may lock `may_lock` bytes;
/// its return value, or 100 if the rights could not be dropped.
int without_rights(size_t may_lock, const std::function<int()>& body);

}  // namespace dmawire::test
