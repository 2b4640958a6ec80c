// SPDX-License-Identifier: MIT
#include "world.hpp"

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "abi.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "loopback.hpp"
#include "vgem.hpp"

namespace dmawire::fuzz {
namespace {

constexpr std::size_t page = 4096;

thread_local sigjmp_buf after_fault;
thread_local volatile bool may_fault = false;

void on_fault(int signal) {
  if (!may_fault) {
    ::signal(signal, SIG_DFL);
    return;
  }
  siglongjmp(after_fault, 1);
}

/// Runs `access`; false if it faults.
template <typename Access>
bool survives(Access access) {
  if (sigsetjmp(after_fault, 1) != 0) {
    may_fault = false;
    return false;
  }
  may_fault = true;
  const bool good = access();
  may_fault = false;
  return good;
}

UniqueFd udmabuf() {
  test::load_kernel_module("udmabuf");  // fails where it is built in
  const UniqueFd memory{::memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  const UniqueFd device{::open("/dev/udmabuf", O_RDWR | O_CLOEXEC)};
  if (::ftruncate(memory.get(), page) != 0 ||
      ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
    return {};
  }
  udmabuf_create request{.memfd = static_cast<__u32>(memory.get()),
                         .flags = UDMABUF_FLAGS_CLOEXEC,
                         .offset = 0,
                         .size = page};
  UniqueFd buffer{::ioctl(device.get(), UDMABUF_CREATE, &request)};
  // udmabuf maps its memory for the direction of the first sync and ignores the direction of later
  // ones; the DMA API debugging of the debug kernel reports that bug (Linux 7.3) unless the first
  // sync is for both directions.
  dma_buf_sync both{.flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW};
  ::ioctl(buffer.get(), DMA_BUF_IOCTL_SYNC, &both);
  return buffer;
}

UniqueFd heap_buffer() {
  test::load_kernel_module("system_heap");
  const UniqueFd heap{::open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC)};
  dma_heap_allocation_data request{
      .len = page, .fd = 0, .fd_flags = O_RDWR | O_CLOEXEC, .heap_flags = 0};
  return ::ioctl(heap.get(), DMA_HEAP_IOCTL_ALLOC, &request) == 0
             ? UniqueFd{static_cast<int>(request.fd)}
             : UniqueFd{};
}

bool takes_buffers() {
  const UniqueFd device = test::open_device();
  const UniqueFd buffer = test::create_buffer(device.get(), page);
  return test::query(buffer.get()).out_direct == DMAWIRE_USABLE;
}

/// So that executions get numbers from first_fd on, and only they.
void fill_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  } while (fd >= 0 && fd < first_fd - 1);
}

}  // namespace

void Descriptors::add(const Target& target) {
  const std::scoped_lock lock{mutex_};
  if (target.fd >= first_fd) {
    by_kind_.at(static_cast<std::size_t>(target.kind)).push_back(target);
  }
}

Target Descriptors::find(Kind kind, std::int64_t reference) {
  const std::scoped_lock lock{mutex_};
  const std::vector<Target>& all = by_kind_.at(static_cast<std::size_t>(kind));
  return all.empty() ? Target{} : all[static_cast<std::uint64_t>(reference) % all.size()];
}

Target Descriptors::take(Kind kind, std::int64_t reference) {
  const std::scoped_lock lock{mutex_};
  std::vector<Target>& all = by_kind_.at(static_cast<std::size_t>(kind));
  if (all.empty()) {
    return {};
  }
  const auto place =
      all.begin() + static_cast<std::ptrdiff_t>(static_cast<std::uint64_t>(reference) % all.size());
  const Target target = *place;
  all.erase(place);
  return target;
}

void Descriptors::replace(int fd, const Target& target) {
  const std::scoped_lock lock{mutex_};
  for (std::vector<Target>& all : by_kind_) {
    std::erase_if(all, [&](const Target& other) { return other.fd == fd; });
  }
  Target there = target;
  there.fd = fd;
  by_kind_.at(static_cast<std::size_t>(target.kind)).push_back(there);
}

std::vector<Target> Descriptors::all(Kind kind) {
  const std::scoped_lock lock{mutex_};
  return by_kind_.at(static_cast<std::size_t>(kind));
}

void Descriptors::clear() {
  for (std::vector<Target>& all : by_kind_) {
    all.clear();
  }
  ::close_range(first_fd, ~0U, 0);
}

void FuzzRing::end() {
  if (alive()) {
    io_uring_queue_exit(&ring);
    ring.ring_fd = -1;
  }
}

void arena::clear() {
  ::munmap(reinterpret_cast<void*>(begin), areas * area_size);
}

bool touch(std::uint64_t begin, std::uint64_t end, bool write) {
  return survives([&] {
    for (std::uint64_t at = begin; at < end; at += page) {
      auto& byte = *reinterpret_cast<volatile unsigned char*>(at);
      if (write) {
        byte = 0xa5;
      } else {
        [[maybe_unused]] const unsigned char read = byte;
      }
    }
    return true;
  });
}

std::optional<std::uint64_t> read_word(std::uint64_t at) {
  std::uint64_t word = 0;
  const bool readable = survives([&] {
    word = *reinterpret_cast<const volatile std::uint64_t*>(at);
    return true;
  });
  return readable ? std::optional{word} : std::nullopt;
}

bool is_zero(std::uint64_t begin, std::uint64_t end) {
  return survives([&] {
    const auto* first = reinterpret_cast<const std::uint64_t*>(begin);
    const auto* last = reinterpret_cast<const std::uint64_t*>(end);
    return std::all_of(first, last, [](std::uint64_t word) { return word == 0; });
  });
}

void catch_faults() {
  struct sigaction action {};
  action.sa_handler = on_fault;
  action.sa_flags = SA_NODEFER;
  ::sigaction(SIGSEGV, &action, nullptr);
  ::sigaction(SIGBUS, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

namespace {

constexpr const char* limited_cgroup = "/sys/fs/cgroup/dmawire-fuzz";

}  // namespace

LimitedMemory::LimitedMemory()
    : outside_(::open("/sys/fs/cgroup/cgroup.procs", O_WRONLY | O_CLOEXEC)) {
  test::write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
  // To enter and to leave takes a grace period of RCU each otherwise, which can be a second.
  ::mount("none", "/sys/fs/cgroup", nullptr, MS_REMOUNT, "favordynmods");
}

bool LimitedMemory::enter(std::uint64_t bytes) const {
  const std::string path = limited_cgroup;
  return ::mkdir(limited_cgroup, 0755) == 0 &&
         test::write_text(path + "/memory.max", std::to_string(bytes)) &&
         test::write_text(path + "/cgroup.procs", "0");
}

void LimitedMemory::leave() const {
  // Nothing is opened or allocated, which would be charged here.
  ::pwrite(outside_.get(), "0", 1, 0);
  ::rmdir(limited_cgroup);
}

Card::Card() {
  if (!card_.present() || !test::load_kernel_module("dmawire_edu")) {
    std::fprintf(stderr, "fuzz: no device whose driver can be taken away\n");
  }
}

Card::~Card() {
  ::syscall(SYS_delete_module, "dmawire_edu", O_NONBLOCK);
}

std::string Card::node() const {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator{card_.path() + "/dmawire", none}) {
    return "/dev/" + entry.path().filename().string();
  }
  return {};
}

Surroundings::Surroundings()
    : vgem(test::open_vgem()),
      zeros(::open("/dev/zero", O_RDWR | O_CLOEXEC)),
      file(::memfd_create("file", MFD_CLOEXEC)),
      memfd(test::make_memfd(64 * page)) {
  test::Loopback tcp;
  senders[0] = std::move(tcp.near);
  receivers[0] = std::move(tcp.far);
  std::array<int, 2> unix_pair{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, unix_pair.data()) != 0) {
    throw std::system_error(errno, std::system_category(), "socketpair");
  }
  senders[1] = UniqueFd{unix_pair[0]};
  receivers[1] = UniqueFd{unix_pair[1]};
  for (UniqueFd (*make)() : {udmabuf, heap_buffer}) {
    if (UniqueFd fd = make(); fd.valid()) {
      foreign.push_back(std::move(fd));
    }
  }
  if (foreign.empty() || !vgem.valid()) {
    std::fprintf(stderr, "fuzz: this kernel has %zu other exporters and %s importer\n",
                 foreign.size(), vgem.valid() ? "an" : "no");
  }
  uring_takes_buffers = takes_buffers();
  fill_descriptors();
}

void Surroundings::drain(std::size_t pair) const {
  std::array<char, 65'536> bytes;
  while (::recv(receivers.at(pair).get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
  }
}

}  // namespace dmawire::fuzz
