// SPDX-License-Identifier: MIT
// Every use of a buffer, tried with every kind of memory: the verdicts of QUERY must match the
// results. Prints the table that docs/backings.md shows.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <dmawire/unique_fd.hpp>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "abi.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "eventually.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "loop_disk.hpp"
#include "loopback.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"
#include "vgem.hpp"

namespace dmawire::test {
namespace {

/// The part of a buffer that is transferred: its beginning.
constexpr size_t moved = 64 * 1024;

struct Kind {
  const char* name;
  uint32_t backing;
  uint32_t flags = 0;
  size_t page = kPage;  ///< of the memfd
  size_t before = 0;    ///< bytes of the process's memory before the buffer
  size_t length = 2 * kMiB;
};

const Kind kinds[] = {
    {.name = "pages", .backing = DMAWIRE_BACKING_PAGES},
    {.name = "pages, folios", .backing = DMAWIRE_BACKING_PAGES, .flags = DMAWIRE_CREATE_FOLIOS_64K},
    {.name = "memfd", .backing = DMAWIRE_BACKING_MEMFD},
    {.name = "memfd:2M", .backing = DMAWIRE_BACKING_MEMFD, .page = 2 * kMiB},
    {.name = "memfd:1G",
     .backing = DMAWIRE_BACKING_MEMFD,
     .page = 1024 * kMiB,
     .length = 1024 * kMiB},
    {.name = "user, whole pages", .backing = DMAWIRE_BACKING_USER},
    {.name = "user, any bytes",
     .backing = DMAWIRE_BACKING_USER,
     .before = 512,
     .length = 2 * kMiB - kPage},
    {.name = "contig", .backing = DMAWIRE_BACKING_CONTIG},
    {.name = "contig:cma", .backing = DMAWIRE_BACKING_CONTIG, .flags = DMAWIRE_CREATE_CMA},
    {.name = "coherent", .backing = DMAWIRE_BACKING_COHERENT},
};

/// A buffer of a kind, with the memory that it is made of.
class Memory {
 public:
  /// @param device  which it is created on
  Memory(const Kind& kind, int device) {
    dmawire_create request = create_request(kind.length);
    if (kind.backing == DMAWIRE_BACKING_MEMFD) {
      memfd_ = make_memfd(kind.length, kind.page);
      EXPECT_EQ(fallocate(memfd_.get(), 0, 0, static_cast<off_t>(kind.length)), 0);
      request = memfd_request(memfd_.get(), 0, kind.length);
    } else if (kind.backing == DMAWIRE_BACKING_USER) {
      own_.emplace(kind.before + kind.length);
      bytes_ = own_->bytes().subspan(kind.before);
      request = user_request(bytes_.data(), kind.length);
    }
    request.backing = kind.backing;
    request.flags = kind.flags;
    error_ = call(device, DMAWIRE_IOC_CREATE, &request);
    if (error_ != 0)
      return;
    buffer_.reset(request.out_fd);
    mapping_.emplace(buffer_.get(), kind.length, kind.page);
    if (mapping_->error() == 0)
      bytes_ = mapping_->bytes();
  }

  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] int fd() const { return buffer_.get(); }
  [[nodiscard]] int map_error() const { return mapping_->error(); }
  /// Where the CPU finds it.
  [[nodiscard]] std::span<uint8_t> bytes() const { return bytes_; }
  [[nodiscard]] std::string text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), moved};
  }
  void fill(uint64_t seed) const {
    for (size_t i = 0; i < moved / 8; ++i) {
      const uint64_t word = (seed + i) * 0x9e3779b97f4a7c15;
      memcpy(&bytes_[i * 8], &word, 8);
    }
  }

 private:
  UniqueFd memfd_;
  std::optional<Anonymous> own_;
  UniqueFd buffer_;
  std::optional<AlignedMapping> mapping_;
  std::span<uint8_t> bytes_;
  int error_ = 0;
};

/// Sends the beginning of `memory` as `prepare` says; an errno, or 0 and it arrived.
template <typename Prepare>
int send(SlotRing& ring, const Memory& memory, Prepare prepare) {
  const Loopback connection;
  ring.submit([&](io_uring_sqe* sqe) { prepare(sqe, connection.near.get()); });
  const int result = ring.next_result();
  if (result < 0)
    return -result;
  EXPECT_EQ(result, static_cast<int>(moved));
  EXPECT_TRUE(receive(connection.far.get(), moved) == memory.text());
  EXPECT_EQ(ring.next_result(), 0) << "the notification";
  return 0;
}

int send_from_memory(const Memory& memory) {
  SlotRing ring;
  return send(ring, memory, [&](io_uring_sqe* sqe, int socket) {
    io_uring_prep_send_zc(sqe, socket, memory.bytes().data(), moved, 0, 0);
  });
}

int send_registered(const Memory& memory) {
  SlotRing ring;
  EXPECT_EQ(ring.make_table(), 0);
  if (const int error = ring.register_address(memory.bytes().data(), moved, 0))
    return error;
  return send(ring, memory, [&](io_uring_sqe* sqe, int socket) {
    io_uring_prep_send_zc_fixed(sqe, socket, memory.bytes().data(), moved, 0, 0, 0);
  });
}

int send_direct(const Memory& memory, int device) {
  SlotRing ring;
  EXPECT_EQ(ring.make_table(), 0);
  if (const int error = ring.register_slot(device, memory.fd(), 1))
    return error;
  return send(ring, memory, [&](io_uring_sqe* sqe, int socket) {
    io_uring_prep_send_zc_fixed(sqe, socket, nullptr, moved, 0, 0, 1);
  });
}

int write_to_disk(const Memory& memory, const LoopDisk& disk) {
  const std::string path = disk.directory() + "/table";
  const UniqueFd direct{
      open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600)};
  if (pwrite(direct.get(), memory.bytes().data(), moved, 0) != static_cast<ssize_t>(moved))
    return errno;
  EXPECT_TRUE(read_text(path) == memory.text());
  return 0;
}

int import_into_vgem(const Memory& memory, const UniqueFd& card) {
  return VgemHandle(card, memory.fd()).error();
}

int capture(const Memory& memory, int device, uint32_t length) {
  const CaptureQueue queue{device};
  uint32_t index = 0;
  if (const int error = queue.attach(memory.fd(), &index))
    return error;
  EXPECT_EQ(queue.enqueue(index, 0, length), 0);
  EXPECT_EQ(queue.start(), 0);
  const dmawire_dequeue taken = queue.dequeue();
  EXPECT_EQ(taken.out_result, static_cast<int>(length));
  EXPECT_EQ(frame_fault(memory.bytes().first(length), taken.out_sequence), "");
  EXPECT_EQ(queue.stop(), 0);
  EXPECT_EQ(queue.detach(index), 0);
  return 0;
}

/// Whether a child's writes are visible to the parent.
std::string after_fork(const Memory& memory) {
  memory.bytes()[0] = 1;
  EXPECT_EQ(in_child([&] {
              memory.bytes()[0] = 2;
              return 0;
            }),
            0);
  return memory.bytes()[0] == 2 ? "shared" : "a copy";
}

/// Whether nothing is left of a process that had it attached and in a ring when it was killed.
std::string after_kill(const Kind& kind, const std::string& driver) {
  const uint64_t before = module_info().out_buffers;
  const pid_t child = fork();
  if (child == 0) {
    const UniqueFd device = open_driver(driver);
    const Memory memory(kind, device.get());
    SlotRing ring;
    ring.make_table();
    ring.register_slot(device.get(), memory.fd(), 0);
    const CaptureQueue queue{device.get()};
    uint32_t index = 0;
    if (queue.attach(memory.fd(), &index) == 0) {
      queue.enqueue(index, 0, kPage);
      queue.start();
    }
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  // Rings, and buffers that wait for their pages, are released a little later.
  const bool is_gone = eventually([&] { return module_info().out_buffers == before; });
  EXPECT_TRUE(is_gone);
  return is_gone ? "gone" : "left";
}

std::string cell(int error, bool in_place = false) {
  if (error != 0)
    return strerrorname_np(error);
  return in_place ? "in place" : "works";
}

/// Compares QUERY's verdict with the observed error.
void expect_verdict(const char* use, uint32_t verdict, int error) {
  const bool is_promised = verdict == DMAWIRE_USABLE || verdict == DMAWIRE_USE_IN_PLACE;
  EXPECT_EQ(error == 0, is_promised) << use << ": verdict " << verdict << ", " << cell(error);
}

class BackingTable : public testing::Test {
 protected:
  void SetUp() override {
    if (card_.present()) {
      driver_.emplace("dmawire_edu", EduCard::driver_parameters());
      edu_ = open_driver("edu");
      ASSERT_TRUE(edu_.valid());
    }
    const std::vector<std::string> header{"backing",  "mmap",     "SEND_ZC", "registered",
                                          "`direct`", "O_DIRECT", "vgem",    "`pattern`",
                                          "`edu`",    "fork",     "killed"};
    print(header);
    print(std::vector<std::string>(header.size(), "---"));
  }

  static void print(const std::vector<std::string>& cells) {
    std::cout << '|';
    for (const std::string& text : cells)
      std::cout << ' ' << text << " |";
    std::cout << '\n';
  }

  void try_everything(const Kind& kind) {
    SCOPED_TRACE(kind.name);
    const std::string name = std::string("`") + kind.name + "`";
    const bool is_devices = kind.backing == DMAWIRE_BACKING_COHERENT;
    const std::string driver = is_devices && edu_.valid() ? "edu" : "pattern";
    const UniqueFd& creator = driver == "edu" ? edu_ : pattern_;
    const HugePages pages(kind.page, 1);
    if (!pages.available()) {
      print({name, "this guest has no such page"});
      return;
    }
    std::vector<std::string> row{name};
    {
      const Memory memory(kind, creator.get());
      if (memory.error() != 0) {
        EXPECT_EQ(memory.error(), EOPNOTSUPP);
        print({name, std::string("not here: ") + strerrorname_np(memory.error())});
        return;
      }
      const dmawire_query answer = query(memory.fd());
      const bool in_place = answer.out_mmap == DMAWIRE_USE_IN_PLACE;
      EXPECT_EQ(memory.map_error() == 0, answer.out_mmap == DMAWIRE_USABLE);
      row.push_back(cell(memory.map_error()));
      memory.fill(1);
      const auto judge = [&](const char* use, uint32_t verdict, int error) {
        expect_verdict(use, verdict, error);
        row.push_back(cell(error, verdict == DMAWIRE_USE_IN_PLACE));
      };
      judge("send", answer.out_send, send_from_memory(memory));
      judge("register", answer.out_register, send_registered(memory));
      judge("direct", answer.out_direct, send_direct(memory, creator.get()));
      judge("O_DIRECT", answer.out_odirect_write, write_to_disk(memory, disk_));
      row.push_back(cell(import_into_vgem(memory, vgem_)));
      row.push_back(cell(capture(memory, pattern_.get(), moved)));
      row.push_back(edu_.valid() ? cell(capture(memory, edu_.get(), kPage)) : "no such device");
      row.push_back(after_fork(memory));
      EXPECT_EQ(row.back(), in_place ? "a copy" : "shared");
    }
    row.push_back(after_kill(kind, driver));
    print(row);
  }

  const EduCard card_;
  std::optional<DriverModule> driver_;
  UniqueFd edu_;
  UniqueFd pattern_ = open_device();
  UniqueFd vgem_ = open_vgem();
  LoopDisk disk_;
};

TEST_F(BackingTable, IsWhatQueryTells) {
  ASSERT_TRUE(vgem_.valid());
  for (const Kind& kind : kinds)
    try_everything(kind);
}

}  // namespace
}  // namespace dmawire::test
