// SPDX-License-Identifier: MIT
#include <poll.h>

#include <array>
#include <dmawire/cpu_access.hpp>
#include <dmawire/device.hpp>
#include <dmawire/error.hpp>
#include <limits>
#include <optional>
#include <utility>

#include "../access_error.hpp"
#include "../input.hpp"
#include "sharing.hpp"

namespace dmawire::commands {
namespace {

class FileShare {
 public:
  explicit FileShare(const ShareOptions& options)
      : input_(options.file.empty() ? Input::standard_input(std::nullopt)
                                    : Input{options.file, std::nullopt}),
        most_(options.frames.value_or(std::numeric_limits<std::uint64_t>::max())),
        pool_(make_pool(device_, options.backing, options.buffers,
                        options.size.value_or(usual_frame))),
        sharing_(options, pool_) {}

  ShareReport run() {
    std::optional<Error> failure;
    try {
      publish_all();
    } catch (const Error& error) {
      failure = error;
    }
    sharing_.finish(failure ? DMAWIRE_SHARE_FAILED : DMAWIRE_SHARE_FINISHED);
    ShareReport report = sharing_.report();
    report.failure = std::move(failure);
    return report;
  }

 private:
  void publish_all() {
    ShareServer& server = sharing_.server();
    for (std::uint64_t sequence = 0; sequence < most_; ++sequence) {
      while (!server.wanted() && !sharing_.stop().caught()) {
        serve_until(-1);
      }
      if (sharing_.stop().caught()) {
        break;
      }
      // Clients hold less than all: see ShareServer.
      Frame frame = std::move(*pool_.take());
      const std::size_t length = fill(frame);
      if (length == 0) {
        break;
      }
      server.publish({.frame = std::move(frame),
                      .length = length,
                      .sequence = sequence,
                      .timestamp = std::chrono::steady_clock::now().time_since_epoch(),
                      .lost = 0});
      server.serve();
    }
  }

  std::size_t fill(const Frame& frame) {
    // No fence is waited for: any client may have added one. Frames at home are not in use.
    const CpuAccess access{device_, frame, CpuAccess::Intent::write};
    throw_if_none(access);
    return input_.fill(frame.bytes(), [this](int fd) {
      while (!sharing_.stop().caught()) {
        if (serve_until(fd)) {
          return true;
        }
      }
      return false;
    });
  }

  /// Waits until a descriptor can be read, clients want something, or a signal came. True if it was
  /// the first.
  bool serve_until(int fd) {
    std::array<pollfd, 3> entries{{{.fd = fd, .events = POLLIN, .revents = 0},
                                   {.fd = sharing_.server().fd(), .events = POLLIN, .revents = 0},
                                   {.fd = sharing_.stop().fd(), .events = POLLIN, .revents = 0}}};
    ::poll(entries.data(), entries.size(), -1);
    sharing_.server().serve();
    return entries[0].revents != 0;
  }

  Input input_;
  const std::uint64_t most_;
  Device device_;
  FramePool pool_;
  Sharing sharing_;
};

}  // namespace

ShareReport share_file(const ShareOptions& options) {
  return FileShare{options}.run();
}

}  // namespace dmawire::commands
