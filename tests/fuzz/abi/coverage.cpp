// SPDX-License-Identifier: MIT
#include "coverage.hpp"

#include <fcntl.h>
#include <linux/kcov.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

namespace dmawire::fuzz {
namespace {

/// Points that one execution may pass; later ones are not recorded. Word 0 counts them.
constexpr std::size_t words = 64 * 1024;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

UniqueFd open_kcov() {
  UniqueFd fd{::open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC)};
  if (!fd.valid()) {
    fail("/sys/kernel/debug/kcov");
  }
  if (::ioctl(fd.get(), KCOV_INIT_TRACE, words) != 0) {
    fail("KCOV_INIT_TRACE");
  }
  return fd;
}

}  // namespace

Coverage::Coverage(bool blind) : fd_(blind ? UniqueFd{} : open_kcov()) {
  void* data = ::mmap(nullptr, words * sizeof(*data_), PROT_READ | PROT_WRITE,
                      MAP_SHARED | (blind ? MAP_ANONYMOUS : 0), fd_.get(), 0);
  if (data == MAP_FAILED) {
    fail("mapping KCOV's record");
  }
  data_ = static_cast<std::uint64_t*>(data);
}

Coverage::~Coverage() {
  ::munmap(data_, words * sizeof(*data_));
}

void Coverage::on() {
  if (fd_.valid() && ::ioctl(fd_.get(), KCOV_ENABLE, KCOV_TRACE_PC) != 0) {
    fail("KCOV_ENABLE");
  }
}

void Coverage::off() {
  if (fd_.valid() && ::ioctl(fd_.get(), KCOV_DISABLE, 0) != 0) {
    fail("KCOV_DISABLE");
  }
}

std::uint64_t Coverage::position() const noexcept {
  return std::atomic_ref{*data_}.load(std::memory_order_relaxed);
}

void Coverage::rewind(std::uint64_t position) noexcept {
  std::atomic_ref{*data_}.store(position, std::memory_order_relaxed);
}

std::span<const std::uint64_t> Coverage::points() const {
  return {data_ + 1, std::min<std::size_t>(position(), words - 1)};
}

std::optional<ModuleText> ModuleText::find() {
  std::ifstream modules("/proc/modules");
  for (std::string line; std::getline(modules, line);) {
    std::istringstream words_of{line};
    std::string name;
    std::string ignored;
    ModuleText text{};
    words_of >> name >> text.size >> ignored >> ignored >> ignored >> std::hex >> text.begin;
    if (name == "dmawire" && words_of) {
      return text;
    }
  }
  return {};
}

}  // namespace dmawire::fuzz
