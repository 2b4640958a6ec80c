// SPDX-License-Identifier: MIT
#include "guest.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include <dmawire/unique_fd.hpp>

#include "eventually.hpp"

namespace dmawire::test {
namespace {

/// The free pages that the CPUs keep for themselves. MemFree is without them, and they are many: up
/// to the zone's low watermark stay for good.
uint64_t memory_in_stock() {
  std::ifstream file("/proc/zoneinfo");
  std::string word;
  uint64_t pages = 0;
  while (file >> word) {
    uint64_t count = 0;
    if (word == "count:" && file >> count)
      pages += count;
  }
  return pages * static_cast<uint64_t>(getpagesize());
}

std::optional<uint64_t> find_meminfo(const std::string& field) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field + ":"))
      return std::stoull(line.substr(field.size() + 1)) * 1024;
  }
  return std::nullopt;
}

}  // namespace

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

bool write_text(const std::string& path, const std::string& text) {
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* const text = getenv(name);
  return text == nullptr ? otherwise : static_cast<unsigned>(strtoul(text, nullptr, 10));
}

bool is_debug_kernel() {
  return access("/sys/kernel/debug/kmemleak", F_OK) == 0;
}

unsigned fewer_if_watched(unsigned count) {
  return is_debug_kernel() ? count / 20 : count;
}

ModuleParameter::ModuleParameter(const std::string& name, uint64_t value)
    : path_("/sys/module/dmawire/parameters/" + name), before_(read_text(path_)) {
  EXPECT_TRUE(write_text(path_, std::to_string(value))) << path_ << ": " << strerror(errno);
}

ModuleParameter::~ModuleParameter() {
  EXPECT_TRUE(write_text(path_, before_)) << path_;
}

uint64_t meminfo(const std::string& field) {
  const std::optional<uint64_t> value = find_meminfo(field);
  EXPECT_TRUE(value) << "/proc/meminfo has no " << field;
  return value.value_or(0);
}

uint64_t free_memory_that_may_stay() {
  return meminfo("MemFree") - find_meminfo("CmaFree").value_or(0);  // a kernel may know no CMA
}

uint64_t free_memory() {
  ::sync();
  EXPECT_TRUE(write_text("/proc/sys/vm/drop_caches", "3"));
  EXPECT_TRUE(write_text("/proc/sys/vm/stat_refresh", "1"));
  return meminfo("MemFree") + memory_in_stock();
}

void shrink_slabs() {
  for (const auto& cache : std::filesystem::directory_iterator{"/sys/kernel/slab"})
    write_text(cache.path() / "shrink", "1");
}

void dirty_memory(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(data, MAP_FAILED);
  memset(data, 0xa5, bytes);
  munmap(data, bytes);
}

int in_child(const std::function<int()>& body) {
  pid_t pid = fork();
  if (pid == 0)
    _exit(body());
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid)
    return -1;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

bool load_kernel_module(const std::string& name) {
  return in_child([&] {
           execlp("modprobe", "modprobe", "-q", name.c_str(), nullptr);
           return 127;
         }) == 0;
}

int unload_dmawire() {
  return syscall(SYS_delete_module, "dmawire", O_NONBLOCK) == 0 ? 0 : errno;
}

int load_dmawire() {
  utsname kernel = {};
  uname(&kernel);
  std::string path = std::string("/lib/modules/") + kernel.release + "/extra/dmawire.ko";
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() || syscall(SYS_finit_module, file.get(), "", 0) != 0)
    return errno;
  return access("/dev/dmawire0", F_OK) == 0 ? 0 : errno;
}

void expect_reloads() {
  int error = 0;
  ASSERT_TRUE(eventually([&] { return (error = unload_dmawire()) != EWOULDBLOCK; }));
  ASSERT_EQ(error, 0) << strerror(error);
  ASSERT_EQ(load_dmawire(), 0);
}

}  // namespace dmawire::test
