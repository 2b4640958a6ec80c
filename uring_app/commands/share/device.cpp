// SPDX-License-Identifier: MIT
#include <dmawire/capture.hpp>
#include <dmawire/device.hpp>
#include <dmawire/read_watch.hpp>
#include <utility>

#include "../capturing_error.hpp"
#include "sharing.hpp"

namespace dmawire::commands {
namespace {

/// device -> clients -> device. The ring waits for the device, the clients and a signal at once.
class DeviceShare {
 public:
  explicit DeviceShare(const ShareOptions& options)
      : options_(options),
        device_(Device::node_of(*options.device)),
        pool_(make_capture_pool(device_, options.buffers, options.size.value_or(usual_frame),
                                options.backing)),
        sharing_(options, pool_),
        capture_(device_, pool_) {}

  ShareReport run() {
    capture_.give(wanted());
    capture_.start(options_.rate);
    {
      ReadWatch clients{capture_.ring_host(), sharing_.server().fd()};
      ReadWatch signal{capture_.ring_host(), sharing_.stop().fd()};
      while (!ended() && (signal.armed() || !sharing_.stop().caught())) {
        clients.arm();
        signal.arm();
        (void)capture_.wait();
        publish_captured();
        sharing_.server().serve();
        capture_.give(wanted());
      }
    }
    capture_.finish();
    publish_captured();
    sharing_.finish(capture_.failure() ? DMAWIRE_SHARE_FAILED : DMAWIRE_SHARE_FINISHED);

    ShareReport report = sharing_.report();
    report.capture = capture_.statistics();
    if (capture_.failure()) {
      report.failure = capturing_error(capture_, device_);
    }
    return report;
  }

 private:
  /// How many more frames the device may be given.
  [[nodiscard]] std::uint32_t wanted() const noexcept {
    return options_.frames ? capture_.wanted_of(*options_.frames) : Capture::all;
  }

  [[nodiscard]] bool ended() const noexcept {
    return capture_.failure() ||
           (options_.frames && capture_.statistics().captured >= *options_.frames);
  }

  void publish_captured() noexcept {
    while (std::optional<CapturedFrame> captured = capture_.next()) {
      if (captured->length > 0) {
        sharing_.server().publish(std::move(*captured));
      }
    }
  }

  const ShareOptions& options_;
  Device device_;
  FramePool pool_;
  Sharing sharing_;
  Capture capture_;
};

}  // namespace

ShareReport share_device(const ShareOptions& options) {
  return DeviceShare{options}.run();
}

}  // namespace dmawire::commands
