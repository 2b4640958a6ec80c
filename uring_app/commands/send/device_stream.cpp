// SPDX-License-Identifier: MIT
#include "device_stream.hpp"

#include <dmawire/capture.hpp>
#include <dmawire/device.hpp>
#include <dmawire/stream.hpp>
#include <memory>
#include <utility>

#include "../capturing_error.hpp"
#include "setup.hpp"

namespace dmawire::commands {
StreamOutcome stream_from_device(const SendOptions& options) {
  const Device device{Device::node_of(*options.device)};
  // Needed before there is a pool; UDP's connect() troubles nobody.
  UniqueFd datagrams = options.udp ? connect_datagram(options.peer) : UniqueFd{};
  FramePool pool =
      make_capture_pool(device, options.buffers, frame_size(options, datagrams), options.backing);
  FrameStream stream{options,
                     std::move(datagrams),
                     pool,
                     {.node = device.node(),
                      .requests = pool.size(),
                      .open =
                          [&device](FramePool& frames, Sender& sender) {
                            return std::make_unique<Capture>(device, frames, sender);
                          },
                      .advice = capturing_advice}};
  return stream.run();
}

}  // namespace dmawire::commands
