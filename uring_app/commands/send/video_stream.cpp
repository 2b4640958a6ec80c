// SPDX-License-Identifier: MIT
#include "video_stream.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <dmawire/video_capture.hpp>
#include <dmawire/video_device.hpp>
#include <memory>

namespace dmawire::commands {
namespace {

const char* video_advice(int code) {
  switch (code) {
    case ENODEV:
      return "the camera is gone: unplugged, or its driver was unbound";
    case EIO:
      return "no frame is good any more; it may have lost its signal, the kernel's log may tell "
             "(dmesg)";
    case EPIPE:
      return "its stream has ended";
    case EOPNOTSUPP:
      return "its frames do not begin where their memory does: choose another --format";
    default:
      return "";
  }
}

}  // namespace

StreamOutcome stream_from_camera(const SendOptions& options) {
  VideoDevice device{options.v4l2};
  device.set_format(options.video_format, options.video_size.width, options.video_size.height);
  FramePool pool = make_video_pool(device, options.buffers, options.backing);
  const VideoDevice::Format& format = device.format();
  fmt::print(stderr, "note: {} captures {}x{} {}, {} bytes a frame, into {} frames\n",
             device.node(), format.width, format.height, format.fourcc, format.length, pool.size());
  FrameStream stream{options,
                     {},
                     pool,
                     {.node = device.node(),
                      .requests = VideoCapture::requests,
                      .open =
                          [&device](FramePool& frames, Sender& sender) {
                            return std::make_unique<VideoCapture>(device, frames, sender);
                          },
                      .advice = video_advice}};
  StreamOutcome outcome = stream.run();
  outcome.report.stream->video = format;
  return outcome;
}

}  // namespace dmawire::commands
