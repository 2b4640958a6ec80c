// SPDX-License-Identifier: MIT
#include <dmawire/video_device.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/videodev2.h>

#include <cerrno>
#include <utility>

#include <dmawire/error.hpp>

#include "sys.hpp"

namespace dmawire {
namespace {

constexpr std::size_t fourcc_length = 4;
constexpr std::uint32_t big_endian = 1U << 31;

/// 0, or errno.
int call(int fd, unsigned long request, void* argument) noexcept {
  int status = 0;
  do {
    status = sys().ioctl(fd, request, argument);
  } while (status < 0 && errno == EINTR);
  return status < 0 ? errno : 0;
}

std::string name_of_pixels(std::uint32_t code) {
  std::string name;
  for (std::size_t i = 0; i < fourcc_length; ++i) {
    name += static_cast<char>(code >> 8 * i & 0x7f);
  }
  while (!name.empty() && name.back() == ' ') {
    name.pop_back();
  }
  return (code & big_endian) != 0 ? name + "-BE" : name;
}

std::uint32_t code_of_pixels(std::string name) {
  std::uint32_t code = 0;
  if (name.ends_with("-BE")) {
    name.erase(name.size() - 3);
    code = big_endian;
  }
  if (name.empty() || name.size() > fourcc_length) {
    throw Error(0, fmt::format("a format has a name of up to four letters, not \"{}\"", name));
  }
  name.resize(fourcc_length, ' ');
  for (std::size_t i = 0; i < fourcc_length; ++i) {
    code |= static_cast<std::uint32_t>(static_cast<unsigned char>(name[i]) & 0x7f) << 8 * i;
  }
  return code;
}

UniqueFd open_node(const std::string& node) {
  UniqueFd fd{sys().open(node.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  if (!fd.valid()) {
    const int code = errno;
    throw Error(code, fmt::format("opening {}", node),
                code == EACCES ? "members of the group `video` may" : "",
                code == ENOENT ? Error::Kind::impossible : Error::Kind::failed);
  }
  return fd;
}

std::uint32_t capabilities_of(int fd, const std::string& node) {
  v4l2_capability capability{};
  if (const int code = call(fd, VIDIOC_QUERYCAP, &capability); code != 0) {
    throw Error(code, fmt::format("asking {} what it can do", node), "it is no node of V4L2's",
                Error::Kind::impossible);
  }
  return (capability.capabilities & V4L2_CAP_DEVICE_CAPS) != 0 ? capability.device_caps
                                                               : capability.capabilities;
}

std::chrono::nanoseconds timestamp_of(const v4l2_buffer& buffer) noexcept {
  if ((buffer.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC) {
    return std::chrono::seconds{buffer.timestamp.tv_sec} +
           std::chrono::microseconds{buffer.timestamp.tv_usec};
  }
  return std::chrono::steady_clock::now().time_since_epoch();
}

/// A buffer as either interface describes it.
class Description {
 public:
  explicit Description(bool planes) noexcept : planes_(planes) {
    buffer_.type = planes ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer_.memory = V4L2_MEMORY_DMABUF;
    if (planes) {
      buffer_.m.planes = &plane_;
      buffer_.length = 1;
    }
  }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  void set_memory(int dma_buf, std::size_t length) noexcept {
    if (planes_) {
      plane_.m.fd = dma_buf;
      plane_.length = static_cast<__u32>(length);
    } else {
      buffer_.m.fd = dma_buf;
      buffer_.length = static_cast<__u32>(length);
    }
  }
  [[nodiscard]] std::size_t bytes_used() const noexcept {
    return planes_ ? plane_.bytesused : buffer_.bytesused;
  }
  [[nodiscard]] std::size_t data_offset() const noexcept {
    return planes_ ? plane_.data_offset : 0;
  }
  [[nodiscard]] v4l2_buffer& buffer() noexcept { return buffer_; }

 private:
  const bool planes_;
  v4l2_buffer buffer_{};
  v4l2_plane plane_{};
};

v4l2_buf_type type_of(bool planes) noexcept {
  return planes ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
}

}  // namespace

VideoDevice::VideoDevice(std::string node) : node_(std::move(node)), fd_(open_node(node_)) {
  const std::uint32_t capabilities = capabilities_of(fd(), node_);
  planes_ = (capabilities & V4L2_CAP_VIDEO_CAPTURE_MPLANE) != 0;
  if ((capabilities & (V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_VIDEO_CAPTURE_MPLANE)) == 0 ||
      (capabilities & V4L2_CAP_STREAMING) == 0) {
    throw Error(0, fmt::format("{} does not capture video", node_),
                "`v4l2-ctl --list-devices` lists what there is", Error::Kind::impossible);
  }
  v4l2_format format{};
  format.type = type_of(planes_);
  if (const int code = call(fd(), VIDIOC_G_FMT, &format); code != 0) {
    throw Error(code, fmt::format("asking {} for its format", node_));
  }
  take_format(&format);
}

void VideoDevice::take_format(const void* answer) {
  const auto& format = *static_cast<const v4l2_format*>(answer);
  if (planes_) {
    const v4l2_pix_format_mplane& pixels = format.fmt.pix_mp;
    format_ = {name_of_pixels(pixels.pixelformat), pixels.width, pixels.height,
               pixels.num_planes == 1 ? pixels.plane_fmt[0].sizeimage : 0};
  } else {
    const v4l2_pix_format& pixels = format.fmt.pix;
    format_ = {name_of_pixels(pixels.pixelformat), pixels.width, pixels.height, pixels.sizeimage};
  }
}

std::string VideoDevice::offered_formats() const {
  std::string names;
  v4l2_fmtdesc offer{};
  offer.type = type_of(planes_);
  for (; call(fd(), VIDIOC_ENUM_FMT, &offer) == 0; ++offer.index) {
    names += (names.empty() ? "" : " ") + name_of_pixels(offer.pixelformat);
  }
  return names;
}

void VideoDevice::set_format(const std::string& fourcc, std::uint32_t width, std::uint32_t height) {
  v4l2_format format{};
  format.type = type_of(planes_);
  int code = call(fd(), VIDIOC_G_FMT, &format);
  const auto ask = [&](auto& pixels) {
    pixels.pixelformat = fourcc.empty() ? pixels.pixelformat : code_of_pixels(fourcc);
    pixels.width = width != 0 ? width : pixels.width;
    pixels.height = height != 0 ? height : pixels.height;
  };
  if (planes_) {
    ask(format.fmt.pix_mp);
    for (v4l2_plane_pix_format& plane : format.fmt.pix_mp.plane_fmt) {
      plane = {};
    }
  } else {
    ask(format.fmt.pix);
    format.fmt.pix.bytesperline = format.fmt.pix.sizeimage = 0;
  }
  code = code != 0 ? code : call(fd(), VIDIOC_S_FMT, &format);
  if (code != 0 && (code != EINVAL || fourcc.empty())) {
    throw Error(code, fmt::format("setting the format of {}", node_),
                code == EBUSY ? "another program captures from it" : "");
  }
  if (code == 0) {
    take_format(&format);
  }
  if (code == EINVAL || (!fourcc.empty() && format_.fourcc != fourcc)) {
    throw Error(0, fmt::format("{} has no format {}", node_, fourcc), "it has " + offered_formats(),
                Error::Kind::impossible);
  }
  if ((width != 0 && format_.width != width) || (height != 0 && format_.height != height)) {
    throw Error(0, fmt::format("{} has no frames of {}x{} pixels", node_, width, height),
                fmt::format("next to it it has {}x{}", format_.width, format_.height),
                Error::Kind::impossible);
  }
}

void VideoDevice::set_rate(std::uint32_t rate) const {
  v4l2_streamparm parameters{};
  parameters.type = type_of(planes_);
  int code = call(fd(), VIDIOC_G_PARM, &parameters);
  if (code == ENOTTY ||
      (code == 0 && (parameters.parm.capture.capability & V4L2_CAP_TIMEPERFRAME) == 0)) {
    throw Error(0, fmt::format("{} cannot be told how many frames to make", node_),
                "leave --rate out", Error::Kind::impossible);
  }
  parameters.parm.capture.timeperframe = {.numerator = 1, .denominator = rate};
  code = code != 0 ? code : call(fd(), VIDIOC_S_PARM, &parameters);
  if (code != 0) {
    throw Error(code, fmt::format("asking {} for {} frames a second", node_, rate));
  }
}

std::uint32_t VideoDevice::request_buffers(std::uint32_t count) const {
  if (format_.length == 0) {
    throw Error(0, fmt::format("{} spreads a {} frame over several buffers", node_, format_.fourcc),
                "choose a --format that is one piece; it has " + offered_formats(),
                Error::Kind::impossible);
  }
  v4l2_requestbuffers request{};
  request.count = count;
  request.type = type_of(planes_);
  request.memory = V4L2_MEMORY_DMABUF;
  const int code = call(fd(), VIDIOC_REQBUFS, &request);
  if (code == EINVAL) {
    throw Error(code, fmt::format("{} does not import dma-bufs (V4L2_MEMORY_DMABUF)", node_),
                "its driver fills memory of its own only, which has to be copied",
                Error::Kind::impossible);
  }
  if (code != 0) {
    throw Error(code, fmt::format("asking {} to take {} buffers", node_, count),
                code == EBUSY ? "another program captures from it" : "");
  }
  return request.count;
}

void VideoDevice::release_buffers() const noexcept {
  v4l2_requestbuffers request{};
  request.type = type_of(planes_);
  request.memory = V4L2_MEMORY_DMABUF;
  (void)call(fd(), VIDIOC_REQBUFS, &request);
}

std::error_code VideoDevice::queue(std::uint32_t index, const Buffer& buffer) const noexcept {
  Description description{planes_};
  description.buffer().index = index;
  description.set_memory(buffer.fd(), format_.length);
  return {call(fd(), VIDIOC_QBUF, &description.buffer()), std::system_category()};
}

std::error_code VideoDevice::dequeue(Filled& filled) const noexcept {
  Description description{planes_};
  v4l2_buffer& buffer = description.buffer();
  if (const int code = call(fd(), VIDIOC_DQBUF, &buffer); code != 0) {
    return {code, std::system_category()};
  }
  filled = {.index = buffer.index,
            .offset = description.data_offset(),
            .length = description.bytes_used() - description.data_offset(),
            .sequence = buffer.sequence,
            .timestamp = timestamp_of(buffer),
            .damaged = (buffer.flags & V4L2_BUF_FLAG_ERROR) != 0};
  return {};
}

std::error_code VideoDevice::start() const noexcept {
  int type = static_cast<int>(type_of(planes_));
  return {call(fd(), VIDIOC_STREAMON, &type), std::system_category()};
}

std::error_code VideoDevice::stop() const noexcept {
  int type = static_cast<int>(type_of(planes_));
  return {call(fd(), VIDIOC_STREAMOFF, &type), std::system_category()};
}

}  // namespace dmawire
