// SPDX-License-Identifier: MIT
//
// Frames of the module's memory, or of plain shared memory where it is not loaded, to a receiver in
// this process.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/paths.hpp>
#include <dmawire/receiver.hpp>
#include <dmawire/stream.hpp>
#include <iostream>
#include <string>
#include <utility>

using namespace dmawire;

int main() try {
  constexpr std::uint32_t frames = 16;
  constexpr std::size_t frame_length = 4096;
  constexpr std::size_t total = frames * frame_length;
  const bool loaded = !Device::nodes().empty();
  FramePool pool = make_pool(loaded ? Exporter::dmawire : Exporter::memfd, frames, frame_length);

  const UniqueFd listener = listen_stream({"127.0.0.1", "0"});
  const UniqueFd out = connect_stream({"127.0.0.1", std::to_string(local_port(listener.get()))});
  const UniqueFd in = accept_stream(listener.get());
  const std::array sockets{out.get()};
  const ChosenSender chosen = choose_sender(sockets, pool, {});
  for (std::uint32_t sent = 0; sent < frames; ++sent) {
    auto frame = pool.take();
    std::ranges::fill(frame->bytes(), std::byte{0x5a});
    if (chosen.sender->send(std::move(*frame), frame_length)) {
      return 1;
    }
  }
  Receiver receiver{in.get()};
  std::size_t right = 0;
  while (right < total && !chosen.sender->progress()) {
    const auto [error, bytes] = receiver.next();
    if (error || bytes.empty()) {
      return 1;
    }
    right += static_cast<std::size_t>(std::ranges::count(bytes, std::byte{0x5a}));
  }
  std::cout << right << " bytes of " << (loaded ? "dmawire" : "memfd") << " by "
            << name(chosen.path) << '\n';
  return right == total && !chosen.sender->finish() && pool.available() == pool.size() ? 0 : 1;
} catch (const Error& error) {
  std::cerr << "stranger: " << error.what() << '\n';
  return 1;
}
