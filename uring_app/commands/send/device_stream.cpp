// SPDX-License-Identifier: MIT
#include "device_stream.hpp"

#include <cerrno>
#include <dmawire/capture.hpp>
#include <dmawire/device.hpp>
#include <dmawire/stream.hpp>
#include <memory>
#include <utility>

#include "setup.hpp"

namespace dmawire::commands {
namespace {

const char* capture_advice(int code) {
  switch (code) {
    case ENODEV:
      return "the device is gone: unplugged, or its driver was unbound; all that it captured "
             "before was taken";
    case EIO:
      return "the device failed, the kernel's log may tell how (dmesg); all that it captured "
             "before was taken";
    case ECANCELED:
      return "something else stopped the device";
    default:
      return "";
  }
}

}  // namespace

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
                      .advice = capture_advice}};
  return stream.run();
}

}  // namespace dmawire::commands
