// SPDX-License-Identifier: MIT
//
// dmawire_look SOCKET [FRAMES]: looks at what `uring_app share SOCKET` lends, a frame at a time,
// and prints a line for each. It holds one frame, so nobody waits for it: what it was too slow for
// is told as "skipped".

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <dmawire/error.hpp>
#include <dmawire/share_client.hpp>
#include <exception>
#include <iostream>
#include <limits>
#include <numeric>
#include <system_error>

namespace {

using namespace dmawire;

/// Enough of a frame to tell two of them apart, and a sum that takes looking at all of it.
void look_at(const LentFrame& lent) {
  const auto bytes = lent.frame.bytes().first(lent.length);
  const auto sum = std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0},
                                   [](std::uint64_t so_far, std::byte byte) {
                                     return so_far + std::to_integer<unsigned>(byte);
                                   });
  std::cout << "frame " << lent.sequence << ": " << lent.length << " bytes, sum " << sum << ", "
            << lent.skipped << " skipped, " << lent.lost << " lost" << std::endl;
}

int look(const char* socket, std::uint64_t most) {
  ShareClient client{socket, {.hold = 1}};
  while (client.statistics().frames < most) {
    const std::error_code end = client.wait();  // gives back what was looked at
    if (end.value() == ENODATA) {
      std::cout << "the end: " << describe(client.reason()) << '\n';
      break;
    }
    if (end) {
      std::cerr << "the owner is gone: " << end.message() << '\n';
      return EXIT_FAILURE;
    }
    if (const auto lent = client.next()) {
      look_at(*lent);
    }
  }
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: " << argv[0] << " SOCKET [FRAMES]\n";
    return 2;
  }
  try {
    return look(argv[1], argc == 3 ? std::strtoull(argv[2], nullptr, 10)
                                   : std::numeric_limits<std::uint64_t>::max());
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
