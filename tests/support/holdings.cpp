// SPDX-License-Identifier: MIT
#include "holdings.hpp"

#include <filesystem>

#include "abi.hpp"
#include "comes_true.hpp"
#include "guest.hpp"

namespace dmawire::test {

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

Holdings Holdings::now() {
  const dmawire_info module = module_info();
  return {.buffers = module.out_buffers,
          .bytes = module.out_bytes,
          .descriptors = open_descriptors(),
          .references = read_text("/sys/module/dmawire/refcnt")};
}

Holdings Holdings::settled() const {
  Holdings holdings;
  // Whether it does is for the caller to say.
  (void)comes_true([&] {
    holdings = now();
    return holdings == *this;
  });
  return holdings;
}

std::ostream& operator<<(std::ostream& out, const Holdings& holdings) {
  return out << holdings.buffers << " buffers of " << holdings.bytes << " bytes, "
             << holdings.descriptors << " descriptors, module references " << holdings.references;
}

}  // namespace dmawire::test
