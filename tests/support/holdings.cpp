// SPDX-License-Identifier: MIT
#include "holdings.hpp"

#include <chrono>
#include <filesystem>
#include <thread>

#include "abi.hpp"
#include "guest.hpp"

namespace dmawire::test {

using namespace std::chrono_literals;

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
  const auto deadline = std::chrono::steady_clock::now() + 5s;
  Holdings holdings = now();
  while (holdings != *this && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(2ms);
    holdings = now();
  }
  return holdings;
}

std::ostream& operator<<(std::ostream& out, const Holdings& holdings) {
  return out << holdings.buffers << " buffers of " << holdings.bytes << " bytes, "
             << holdings.descriptors << " descriptors, module references " << holdings.references;
}

}  // namespace dmawire::test
