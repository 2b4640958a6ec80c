// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

/// Services of the guest's kernel beside the module: parameters, memory figures, processes, other
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

/// The environment's value for how long or how often a test does something.
unsigned from_environment(const char* name, unsigned otherwise);

/// Whether this is the kernel of machine `debug`: several times slower, and it keeps freed memory
/// back.
bool is_debug_kernel();

/// @p count on a stock kernel, a twentieth of it on the debug kernel: either takes some seconds.
unsigned fewer_if_watched(unsigned count);

/// A field of /proc/meminfo in bytes.
uint64_t meminfo(const std::string& field);

/// Shrinks every slab cache, which also empties KASAN's quarantine of it.
void shrink_slabs();

/// Bytes that are free once the page cache and the slab caches are dropped: MemFree and the per-CPU
/// page lists.
uint64_t free_memory();

/// The free bytes available to allocations that cannot migrate: without CMA areas.
uint64_t free_memory_that_may_stay();

/// Leaves @p bytes of free memory not zero.
void dirty_memory(size_t bytes);

/// Runs @p body in a child; its exit status, or 128 + the signal that ended it.
int in_child(const std::function<int()>& body);

/// Loads a module of the kernel; false if the kernel does not have it.
bool load_kernel_module(const std::string& name);

/// rmmod dmawire: its errno, or 0. The buffer count reaches 0 a moment before the last buffer
/// releases its reference to the module.
int unload_dmawire();

/// insmod dmawire, and waits for the device node.
int load_dmawire();

/// Unloads dmawire as soon as it is unused, and loads it again.
void expect_reloads();

}  // namespace dmawire::test
