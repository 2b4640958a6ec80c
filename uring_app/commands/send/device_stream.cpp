// SPDX-License-Identifier: MIT
#include "device_stream.hpp"

#include <algorithm>
#include <dmawire/capture.hpp>
#include <dmawire/device.hpp>
#include <dmawire/frame_pool.hpp>
#include <dmawire/paths.hpp>
#include <dmawire/recorder.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/stream.hpp>
#include <utility>

#include "../capturing_error.hpp"
#include "../hash.hpp"
#include "frame_latency.hpp"
#include "meter.hpp"
#include "setup.hpp"
#include "stop_on_signal.hpp"
#include "stream_progress.hpp"

namespace dmawire::commands {
namespace {

/// device -> network, and file, -> device: one ring, the same frames going round.
class DeviceStream {
 public:
  explicit DeviceStream(const SendOptions& options)
      : options_(options),
        device_(Device::node_of(*options.device)),
        datagrams_(options.udp ? connect_datagram(options.peer) : UniqueFd{}),
        pool_(make_capture_pool(device_, options.buffers, frame_size(options, datagrams_),
                                options.backing)),
        socket_(options.udp ? std::move(datagrams_) : connect_stream(options.peer)),
        latency_(pool_.size()),
        chosen_(open_sender(options, socket_.get(), pool_, sender_options())),
        sender_(*chosen_.sender),
        capture_(device_, pool_, sender_) {
    if (!options.record.empty()) {
      recorder_.emplace(options.record, pool_, sender_);
    }
    if (options.hash) {
      hash_.emplace();
    }
  }

  StreamOutcome run() {
    const Meter meter{options_.verify_copies};
    {
      const StopOnSignal signal{capture_};
      StreamProgress progress{options_.verbose};
      capture_.give(wanted());
      capture_.start(options_.rate);
      while (!ended() && !signal.caught()) {
        send_captured();
        capture_.give(wanted());
        note(sender_.wait());
        progress.update(capture_.statistics(), sender_.statistics(), recorded(), latency_);
      }
      drain();
    }
    StreamOutcome outcome{report(), failure()};
    meter.read_into(outcome.report);
    return outcome;
  }

 private:
  Sender::Options sender_options() {
    return {.batch = pool_.size(),  // nothing is started but by wait(), which does all at once
            .guest_requests = pool_.size() * (options_.record.empty() ? 1 : 2),
            .observer = &latency_};
  }

  /// How many more frames the device may be given.
  [[nodiscard]] std::uint32_t wanted() const noexcept {
    if (!options_.frames) {
      return Capture::all;
    }
    const std::uint64_t taken = capture_.statistics().captured + capture_.given();
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(
        *options_.frames - std::min(taken, *options_.frames), Capture::all));
  }

  [[nodiscard]] bool ended() const noexcept {
    return send_error_ || capture_.failure() || (recorder_ && recorder_->failure()) ||
           (options_.frames && capture_.statistics().captured >= *options_.frames);
  }

  void note(std::error_code error) noexcept {
    if (!send_error_) {
      send_error_ = error;
    }
  }

  void send_captured() noexcept {
    while (std::optional<CapturedFrame> captured = capture_.next()) {
      if (captured->length == 0) {
        continue;
      }
      if (hash_) {
        hash_->add(captured->frame.bytes().first(captured->length));
      }
      if (recorder_) {
        (void)recorder_->write(captured->frame.share(), captured->length);
      }
      if (!send_error_) {
        latency_.captured(captured->frame.index(), captured->timestamp);
        note(sender_.send(std::move(captured->frame), captured->length));
      }
    }
  }

  /// Nothing that the device captured before it was stopped is left behind.
  void drain() noexcept {
    capture_.finish();
    send_captured();
    note(sender_.finish());
    if (recorder_) {
      (void)recorder_->finish();
    }
    if (!send_error_) {
      note(finish_sending(options_, socket_.get()));
    }
  }

  [[nodiscard]] std::uint64_t recorded() const noexcept {
    return recorder_ ? recorder_->bytes() : 0;
  }

  [[nodiscard]] SendReport report() const {
    SendReport report{.path = chosen_.path, .reason = chosen_.reason};
    report.statistics = sender_.statistics();
    report.stream = {.capture = capture_.statistics(),
                     .recorded_bytes = recorded(),
                     .to_send = latency_.to_send(),
                     .to_done = latency_.to_done()};
    if (hash_) {
      report.hash = hash_->value();
    }
    tell_of_copying(report);
    return report;
  }

  [[nodiscard]] std::optional<Error> failure() const {
    if (capture_.failure()) {
      return capturing_error(capture_, device_);
    }
    if (send_error_) {
      return sending_error(send_error_, sender_);
    }
    if (recorder_ && recorder_->failure()) {
      return recording_error(*recorder_, options_.record);
    }
    return std::nullopt;
  }

  const SendOptions& options_;
  Device device_;
  UniqueFd datagrams_;  ///< needed before there is a pool; UDP's connect() troubles nobody
  FramePool pool_;
  UniqueFd socket_;
  FrameLatency latency_;
  ChosenSender chosen_;
  Sender& sender_;
  Capture capture_;
  std::optional<Recorder> recorder_;
  std::optional<Hash> hash_;
  std::error_code send_error_;
};

}  // namespace

StreamOutcome stream_from_device(const SendOptions& options) {
  return DeviceStream{options}.run();
}

}  // namespace dmawire::commands
