// SPDX-License-Identifier: MIT
#include "frame_stream.hpp"

#include <fmt/format.h>

#include <dmawire/read_watch.hpp>
#include <dmawire/stream.hpp>
#include <utility>

#include "../stop_signal.hpp"
#include "meter.hpp"
#include "setup.hpp"
#include "stream_progress.hpp"

namespace dmawire::commands {
FrameStream::FrameStream(const SendOptions& options, UniqueFd datagrams, FramePool& pool,
                         const FrameOrigin& origin)
    : options_(options),
      node_(origin.node),
      advice_(origin.advice),
      socket_(datagrams.valid() ? std::move(datagrams) : connect_stream(options.peer)),
      latency_(pool.size()),
      chosen_(open_sender(options, socket_.get(), pool,
                          {.batch = pool.size(),  // nothing is started but by wait(), all at once
                           .client_requests = origin.requests + ReadWatch::max_requests +
                                              (options.record.empty() ? 0 : pool.size()),
                           .observer = &latency_})),
      sender_(*chosen_.sender),
      source_(origin.open(pool, sender_)) {
  if (!options.record.empty()) {
    recorder_.emplace(options.record, pool, sender_);
  }
  if (options.hash) {
    hash_.emplace();
  }
}

StreamOutcome FrameStream::run() {
  const Meter meter{options_.verify_copies};
  {
    StopSignal stop;
    ReadWatch signal{*sender_.ring_host(), stop.fd()};
    StreamProgress progress{options_.verbose};
    source_->give(wanted());
    source_->start(options_.rate);
    while (!ended() && (signal.armed() || !stop.caught())) {
      send_captured();
      source_->give(wanted());
      signal.arm();
      note(sender_.wait());
      progress.update(source_->statistics(), sender_.statistics(), recorded(), latency_);
    }
    stop.let_through();  // the peer may never read what is left
    drain();
  }
  StreamOutcome outcome{report(), failure()};
  meter.read_into(outcome.report);
  return outcome;
}

/// How many more frames the device may be given.
std::uint32_t FrameStream::wanted() const noexcept {
  return options_.frames ? source_->wanted_of(*options_.frames) : FrameSource::all;
}

bool FrameStream::ended() const noexcept {
  return send_error_ || source_->failure() || (recorder_ && recorder_->failure()) ||
         (options_.frames && source_->statistics().captured >= *options_.frames);
}

void FrameStream::note(std::error_code error) noexcept {
  if (!send_error_) {
    send_error_ = error;
  }
}

void FrameStream::send_captured() noexcept {
  while (std::optional<CapturedFrame> captured = source_->next()) {
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
void FrameStream::drain() noexcept {
  source_->finish();
  send_captured();
  note(sender_.finish());
  if (recorder_) {
    (void)recorder_->finish();
  }
  if (!send_error_) {
    note(finish_sending(options_, socket_.get()));
  }
}

std::uint64_t FrameStream::recorded() const noexcept {
  return recorder_ ? recorder_->bytes() : 0;
}

SendReport FrameStream::report() const {
  SendReport report{.path = chosen_.path, .reason = chosen_.reason};
  report.statistics = sender_.statistics();
  report.stream = {.capture = source_->statistics(),
                   .recorded_bytes = recorded(),
                   .to_send = latency_.to_send(),
                   .to_done = latency_.to_done()};
  if (hash_) {
    report.hash = hash_->value();
  }
  tell_of_copying(report);
  return report;
}

std::optional<Error> FrameStream::failure() const {
  if (const int code = source_->failure().value(); code != 0) {
    return Error(
        code,
        fmt::format("capturing from {}, after {} frames", node_, source_->statistics().captured),
        advice_(code));
  }
  if (send_error_) {
    return sending_error(send_error_, sender_);
  }
  if (recorder_ && recorder_->failure()) {
    return recording_error(*recorder_, options_.record);
  }
  return std::nullopt;
}

}  // namespace dmawire::commands
