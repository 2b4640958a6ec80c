// SPDX-License-Identifier: MIT
//
// The calls of an input on memfds that buffers are made of, and the invariants that every sequence
// of calls must keep: a mapping shows no page of a file outside the buffer, and a sealed file does
// not change.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <vector>

#include "struct_argument.hpp"

namespace dmawire::fuzz {
namespace {

constexpr std::span<const int> anything{};
constexpr std::uint64_t page = 4096;
constexpr std::size_t pages = 64;
constexpr std::uint64_t max_bytes = 2 * pages * page;

// In the middle of a page: only a device's frames and sent data overwrite it.
constexpr std::uint64_t mark_offset = page / 2;
constexpr std::uint64_t mark_prefix = 0x6d61'726b'0000'0000;

std::uint64_t mark(std::size_t file, std::size_t number) {
  return mark_prefix | (file & 0xffff) << 16 | number;
}

std::uint64_t checksum_of(int fd) {
  std::vector<unsigned char> bytes(max_bytes);
  const ssize_t count = ::pread(fd, bytes.data(), bytes.size(), 0);
  std::uint64_t sum = 0xcbf2'9ce4'8422'2325;
  for (ssize_t i = 0; i < count; ++i) {
    sum = (sum ^ bytes[static_cast<std::size_t>(i)]) * 0x100'0000'01b3;
  }
  return sum;
}

/// The pages that a buffer was made of and a device may write.
bool may_be_written(const BufferModel& buffer) {
  return buffer.direction != DMAWIRE_TO_DEVICE || buffer.writable;
}

}  // namespace

void OwnMemfd::expose(std::uint64_t begin, std::uint64_t length) {
  const std::uint64_t end = std::min<std::uint64_t>((begin + length) / page, exposed.size());
  for (std::uint64_t i = begin / page; i < end; ++i) {
    exposed[i] = true;
  }
}

Target Executor::make_own_memfd(bool populated, bool allocated, unsigned seals) {
  const Target made{::memfd_create("own", MFD_CLOEXEC | MFD_ALLOW_SEALING),
                    Kind::memfd,
                    {},
                    first_memfd_ + memfds_.size()};
  if (made.fd < 0 || ::ftruncate(made.fd, pages * page) != 0) {
    return {};
  }
  if (allocated) {
    ::fallocate(made.fd, 0, 0, pages * page);
  }
  for (std::size_t i = 0; populated && i < pages; ++i) {
    const std::uint64_t text = mark(made.file, i);
    ::pwrite(made.fd, &text, sizeof(text), static_cast<off_t>(i * page + mark_offset));
  }
  ::fcntl(made.fd, F_ADD_SEALS, seals);
  {
    const std::scoped_lock lock{mutex_};
    memfds_.push_back({.exposed = std::vector<bool>(pages), .sealed = {}});
  }
  descriptors_.add(made);
  return made;
}

Target Executor::own_memfd(std::int64_t reference) {
  const Target found = descriptors_.find(Kind::memfd, reference);
  return found.kind == Kind::bad ? make_own_memfd(true, false, F_SEAL_SHRINK) : found;
}

void Executor::make_memfd(const Call& call) {
  const auto how = static_cast<std::uint64_t>(call.get("how")) % 3;
  const Target made = make_own_memfd(how == 0, how == 1, static_cast<unsigned>(call.get("seals")));
  judge(call.type, made.kind == Kind::bad ? errno : 0, anything);
}

void Executor::seal(const Call& call) {
  const Target file = own_memfd(call.get("memfd"));
  const auto seals = static_cast<unsigned>(call.get("seals"));
  const int error = ::fcntl(file.fd, F_ADD_SEALS, seals) == 0 ? 0 : errno;
  judge(call.type, error, anything);
  if (error != 0 || !exact_ || (seals & F_SEAL_WRITE) == 0 || file.file == no_memfd) {
    return;
  }
  if (std::ranges::any_of(descriptors_.all(Kind::ours), [&](const Target& buffer) {
        return buffer.file == file.file && may_be_written(buffer.buffer);
      })) {
    complain("seal: against writing, though a buffer that may be written is made of it");
  }
  OwnMemfd& own = memfds_.at(file.file - first_memfd_);
  if (!own.sealed.valid()) {
    own.sealed = UniqueFd{::fcntl(file.fd, F_DUPFD_CLOEXEC, first_fd)};
    own.checksum = checksum_of(file.fd);
  }
}

void Executor::check_sealed(const OwnMemfd& file) {
  if (file.sealed.valid() && checksum_of(file.sealed.get()) != file.checksum) {
    complain("seal: what is sealed against writing was written");
  }
}

void Executor::allocate(const Call& call) {
  const Target file = own_memfd(call.get("memfd"));
  const auto offset = static_cast<std::uint64_t>(call.get("offset")) % (max_bytes / 2);
  const auto length = static_cast<std::uint64_t>(call.get("length")) % (max_bytes / 2);
  const int error = ::fallocate(file.fd, static_cast<int>(call.get("mode")),
                                static_cast<off_t>(offset), static_cast<off_t>(length)) == 0
                        ? 0
                        : errno;
  judge(call.type, error, anything);
}

void Executor::check_exposed(std::uint64_t begin, std::uint64_t length) {
  if (!exact_ || memfds_.empty()) {
    return;
  }
  const std::uint64_t before = coverage_[0].position();
  const std::uint64_t end = begin + std::min(length, arena::area_size);
  for (std::uint64_t at = (begin + page - 1) / page * page; at + page <= end; at += page) {
    const std::uint64_t word = read_word(at + mark_offset).value_or(0);
    for (std::size_t file = 0; file < memfds_.size(); ++file) {
      const std::size_t number = word & 0xffff;
      if (number < pages && word == mark(first_memfd_ + file, number) &&
          !memfds_[file].exposed[number]) {
        complain("a mapping shows page " + std::to_string(number) +
                 " of a memfd, of which no buffer was made");
      }
    }
  }
  coverage_[0].rewind(before);
}

}  // namespace dmawire::fuzz
