// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

/// What the guest's kernel offers beside the module: parameters, memory figures, processes, other
/// exporters.
namespace dmawire::test {

/// Sets a module parameter for as long as it lives.
class ModuleParameter {
 public:
  ModuleParameter(const std::string& name, uint64_t value);
  ~ModuleParameter();
  ModuleParameter(const ModuleParameter&) = delete;
  ModuleParameter& operator=(const ModuleParameter&) = delete;

 private:
  std::string path_;
  std::string before_;
};

std::string read_text(const std::string& path);
bool write_text(const std::string& path, const std::string& text);

/// What the environment says of how long or how often a test does something.
unsigned from_environment(const char* name, unsigned otherwise);

/// Whether this is the kernel of machine `debug`: several times slower, and it keeps freed memory
/// back.
bool is_debug_kernel();

/// @p count on a stock kernel, a twentieth of it on one that watches: what takes either some
/// seconds.
unsigned fewer_if_watched(unsigned count);

/// A field of /proc/meminfo in bytes.
uint64_t meminfo(const std::string& field);

/// Has every slab cache give up what it does not need, and KASAN what it keeps of it.
void shrink_slabs();

/// What is free once the page cache and the slab caches are dropped, in bytes: MemFree and what the
/// CPUs keep in stock.
uint64_t free_memory();

/// The free bytes that what stays where it is may have: none of a CMA area.
uint64_t free_memory_that_may_stay();

/// Leaves @p bytes of free memory not zero.
void dirty_memory(size_t bytes);

/// Runs @p body in a child; its exit status, or 128 + the signal that ended it.
int in_child(const std::function<int()>& body);

/// Loads a module of the kernel's; false if it has none of that name.
bool load_kernel_module(const std::string& name);

/// rmmod dmawire: its errno, or 0. The last buffer is counted as gone a moment before it lets go of
/// the module.
int unload_dmawire();

/// insmod dmawire, and waits for the device node.
int load_dmawire();

/// Unloads dmawire as soon as nobody holds it any more, and loads it again.
void expect_reloads();

}  // namespace dmawire::test
