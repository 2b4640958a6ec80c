// SPDX-License-Identifier: MIT
#include "resource_snapshot.hpp"

#include <filesystem>

#include "abi.hpp"
#include "eventually.hpp"
#include "guest.hpp"

namespace dmawire::test {

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

ResourceSnapshot ResourceSnapshot::now() {
  const dmawire_info module = module_info();
  return {.buffers = module.out_buffers,
          .bytes = module.out_bytes,
          .descriptors = open_descriptors(),
          .references = read_text("/sys/module/dmawire/refcnt")};
}

ResourceSnapshot ResourceSnapshot::settled() const {
  ResourceSnapshot resource_snapshot;
  // The caller checks whether they became equal.
  (void)eventually([&] {
    resource_snapshot = now();
    return resource_snapshot == *this;
  });
  return resource_snapshot;
}

std::ostream& operator<<(std::ostream& out, const ResourceSnapshot& resource_snapshot) {
  return out << resource_snapshot.buffers << " buffers of " << resource_snapshot.bytes << " bytes, "
             << resource_snapshot.descriptors << " descriptors, module references "
             << resource_snapshot.references;
}

}  // namespace dmawire::test
