// SPDX-License-Identifier: MIT
#include "setup.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <dmawire/stream.hpp>

namespace dmawire::commands {

std::uint64_t frame_size(const SendOptions& options, const UniqueFd& datagrams) {
  if (options.size) {
    return *options.size;
  }
  return datagrams.valid() ? longest_datagram(datagrams.get()) / 64 * 64 : 64UL * 1024;
}

ChosenSender open_sender(const SendOptions& options, int socket, FramePool& pool,
                         Sender::Options wanted) {
  wanted.depth = options.depth;
  wanted.sq_poll = options.sq_poll;
  if (options.path) {
    return {make_sender(*options.path, std::array{socket}, pool, wanted), *options.path,
            "asked for"};
  }
  wanted.may_copy = true;
  return choose_sender(std::array{socket}, pool, wanted);
}

Error recording_error(const Recorder& recorder, const std::string& file) {
  const int code = recorder.failure().value();
  const char* advice = "what is there is not complete";
  if (code == ENOSPC) {
    advice = "the disk is full; what is there is not complete";
  } else if (code == EINVAL) {
    advice = "its disk may want larger blocks than of 4096 bytes";
  }
  return {code, fmt::format("writing {}, after {} bytes", file, recorder.bytes()), advice};
}

Error sending_error(std::error_code error, const Sender& sender) {
  const int code = error.value();
  const char* advice = "";
  if (code == EFAULT) {
    advice = "the mapping has no struct page to send from; dmawire's buffers and memfds have";
  } else if (code == ECONNRESET || code == EPIPE) {
    advice = "the receiver closed the connection before it had everything";
  } else if (code == EMSGSIZE) {
    advice = "a frame is longer than a datagram can be; choose a smaller --size";
  } else if (code == ECONNREFUSED) {
    advice = "nothing listens there; start `uring_app recv --udp PORT` first";
  } else if (code == ENOMEM) {
    advice = "the limit of locked memory may be too small (ulimit -l); --tx fixed needs it once";
  }
  return {code, fmt::format("sending, after {} bytes", sender.statistics().bytes), advice};
}

void throw_if(std::error_code error, const Sender& sender) {
  if (error) {
    throw sending_error(error, sender);
  }
}

std::error_code finish_sending(const SendOptions& options, int socket) noexcept {
  return options.udp ? finish_datagrams(socket) : finish_stream(socket);
}

}  // namespace dmawire::commands
