// SPDX-License-Identifier: MIT
//
// A call that is a sequence: a dma-buf is attached to a device for a while. CPU writes to parts
// that were not queued must still be there afterwards.

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

#include "struct_argument.hpp"

namespace dmawire::fuzz {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t last_word = page / sizeof(std::uint64_t) - 1;

std::uint64_t mark(std::uint64_t number) {
  return 0x6c65'6e74'0000'0000 | number;
}

/// The pages of a buffer, as far as the CPU may write them.
class Pages {
 public:
  explicit Pages(const Target& buffer)
      : count_(buffer.buffer.length / page),
        data_(::mmap(nullptr, count_ * page, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.fd, 0)) {}
  ~Pages() {
    if (valid()) {
      ::munmap(data_, count_ * page);
    }
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  [[nodiscard]] bool valid() const { return data_ != MAP_FAILED; }
  void write_marks() {
    for (std::uint64_t i = 0; valid() && i < count_; ++i) {
      last_of(i) = mark(i);
    }
  }
  /// Whether the marks of all pages from `begin` on are there.
  [[nodiscard]] bool has_marks(std::uint64_t begin) {
    for (std::uint64_t i = begin; valid() && i < count_; ++i) {
      if (last_of(i) != mark(i)) {
        return false;
      }
    }
    return true;
  }

 private:
  volatile std::uint64_t& last_of(std::uint64_t number) {
    return static_cast<std::uint64_t*>(data_)[number * (page / sizeof(std::uint64_t)) + last_word];
  }

  std::uint64_t count_;
  void* data_;
};

}  // namespace

void Executor::lend(const Call& call) {
  const Target lent = buffer(call);
  const Target to = device(call);
  if (!exact_ || lent.kind != Kind::ours || to.kind != Kind::device ||
      lent.buffer.backing == DMAWIRE_BACKING_MEMFD || lent.buffer.backing == DMAWIRE_BACKING_USER) {
    return;  // memory that others may write
  }
  dmawire_attach attach{.size = sizeof(attach), .fd = lent.fd};
  const int error = ::ioctl(to.fd, DMAWIRE_IOC_ATTACH, &attach) == 0 ? 0 : errno;
  judge(call.type, error, attach_errors);
  if (error != 0) {
    return;
  }
  const auto how = static_cast<std::uint64_t>(call.get("how"));
  const bool given = (how & 1) != 0;
  const bool synced = (how & 2) != 0;
  const Impatience impatience;
  Pages pages{lent};
  if (synced) {
    tell(to.fd, DMAWIRE_IOC_SYNC, dmawire_sync{.flags = DMAWIRE_SYNC_RW, .fd = lent.fd});
  }
  pages.write_marks();
  if (synced) {
    tell(to.fd, DMAWIRE_IOC_SYNC,
         dmawire_sync{.flags = DMAWIRE_SYNC_RW | DMAWIRE_SYNC_END, .fd = lent.fd});
  }
  if (given) {
    tell(to.fd, DMAWIRE_IOC_ENQUEUE, dmawire_enqueue{.index = attach.out_index, .length = page});
    tell(to.fd, DMAWIRE_IOC_START, dmawire_start{});
    tell(to.fd, DMAWIRE_IOC_DEQUEUE, dmawire_dequeue{});
    tell(to.fd, DMAWIRE_IOC_STOP, dmawire_stop{});
    tell(to.fd, DMAWIRE_IOC_DEQUEUE, dmawire_dequeue{});
  }
  tell(to.fd, DMAWIRE_IOC_DETACH, dmawire_detach{.index = attach.out_index});
  // User memory may be a mapping of this buffer, and a child has its mappings.
  const bool alone = !has_user_memory_ && children_.empty() && rings_.empty();
  if (alone && !pages.has_marks(given ? 1 : 0)) {
    complain("lend: what the CPU wrote beside what the device was given is gone");
  }
}

}  // namespace dmawire::fuzz
