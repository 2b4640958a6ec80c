// SPDX-License-Identifier: MIT
#include "import_stream.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <dmawire/read_watch.hpp>
#include <dmawire/recorder.hpp>
#include <dmawire/sender.hpp>
#include <dmawire/share_client.hpp>
#include <dmawire/stream.hpp>
#include <utility>

#include "../hash.hpp"
#include "../stop_signal.hpp"
#include "meter.hpp"
#include "setup.hpp"

namespace dmawire::commands {
namespace {

UniqueFd connect_to_peer(const SendOptions& options) {
  if (options.peer.port.empty()) {
    return {};
  }
  return options.udp ? connect_datagram(options.peer) : connect_stream(options.peer);
}

/// owner -> network, and file, -> owner. One wait is for all of them.
class ImportStream {
 public:
  explicit ImportStream(const SendOptions& options)
      : options_(options), client_(options.import), socket_(connect_to_peer(options)) {
    if (socket_.valid()) {
      chosen_ = open_sender(options, socket_.get(), client_.pool(), sender_options());
      tell_of_foreign_memory();
    }
    if (!options.record.empty()) {
      if (chosen_) {
        recorder_.emplace(options.record, client_.pool(), *chosen_->sender);
      } else {
        recorder_.emplace(options.record, client_.pool());
      }
    }
    if (RingHost* const host = ring_host()) {
      owner_.emplace(*host, client_.fd());
      signal_.emplace(*host, stop_.fd());
    }
    if (options.hash) {
      hash_.emplace();
    }
    fmt::print(stderr, "taking what {} lends, {} frames at a time at most\n", options.import,
               client_.hold());
  }

  StreamOutcome run() {
    const Meter meter{options_.verify_copies};
    for (;;) {
      dispatch();  // and learns of the owner's end: of that nothing more would wake us
      (void)client_.give_back();
      if (ended()) {
        break;
      }
      wait();
    }
    drain();
    StreamOutcome outcome{report(), failure()};
    meter.read_into(outcome.report);
    return outcome;
  }

 private:
  Sender::Options sender_options() {
    constexpr std::uint32_t watches = 2 * ReadWatch::max_requests;
    const std::uint32_t frames = client_.pool().size();
    return {.batch = frames,  // nothing is started but by wait(), which does all at once
            .client_requests = watches + (options_.record.empty() ? 0 : frames)};
  }

  /// Of other exporters' buffers some cannot be sent from: then the kernel copies.
  void tell_of_foreign_memory() {
    const auto buffers = client_.buffers();
    const auto foreign =
        std::find_if(buffers.begin(), buffers.end(), [](const auto& one) { return one.foreign; });
    if (foreign != buffers.end()) {
      fmt::print(stderr, "note: the memory is of {}; it is sent {}: {}\n",
                 foreign->exporter.empty() ? "another exporter" : foreign->exporter,
                 chosen_->path == Path::copy ? "with a copy" : "by its mapping, without a copy",
                 chosen_->reason);
    }
  }

  /// A ring that drives what is under way, if there is one.
  RingHost* ring_host() { return chosen_ ? chosen_->sender->ring_host() : &recorder_->ring_host(); }

  [[nodiscard]] bool ended() noexcept {
    return ((!signal_ || !signal_->armed()) && stop_.caught()) || send_error_ ||
           (recorder_ && recorder_->failure()) || client_.failure() || enough();
  }
  [[nodiscard]] bool enough() const noexcept {
    return options_.frames && client_.statistics().frames >= *options_.frames;
  }

  void note(std::error_code error) noexcept {
    if (!send_error_) {
      send_error_ = error;
    }
  }

  void dispatch() noexcept {
    while (!enough()) {
      std::optional<LentFrame> lent = client_.next();
      if (!lent) {
        break;
      }
      if (hash_) {
        hash_->add(lent->frame.bytes().first(lent->length));
      }
      if (recorder_ && chosen_) {
        (void)recorder_->write(lent->frame.share(), lent->length);
      } else if (recorder_) {
        (void)recorder_->write(std::move(lent->frame), lent->length);
      }
      if (chosen_ && !send_error_) {
        note(chosen_->sender->send(std::move(lent->frame), lent->length));
      }
    }
  }

  void wait() noexcept {
    if (owner_) {
      owner_->arm();
      signal_->arm();
      if (chosen_) {
        note(chosen_->sender->wait());
      } else {
        (void)recorder_->wait();
      }
      return;
    }
    Sender& sender = *chosen_->sender;
    note(sender.progress());
    if (client_.pool().available() > 0) {
      return;  // there is something to give back
    }
    const Sender::Wakeup wakeup = sender.wakeup();
    std::array<pollfd, 3> entries{{{.fd = client_.fd(), .events = POLLIN, .revents = 0},
                                   {.fd = stop_.fd(), .events = POLLIN, .revents = 0},
                                   {.fd = wakeup.fd, .events = wakeup.events, .revents = 0}}};
    ::poll(entries.data(), entries.size(), -1);
    note(sender.progress());
    if ((entries[2].revents & POLLHUP) != 0) {
      // It was reset, and of that nothing would tell us while nothing is sent.
      note({EPIPE, std::system_category()});
    }
  }

  /// What was lent before the end is sent and recorded.
  void drain() noexcept {
    owner_.reset();
    signal_.reset();
    stop_.let_through();  // the peer may never read what is left
    dispatch();
    if (chosen_) {
      note(chosen_->sender->finish());
    }
    if (recorder_) {
      (void)recorder_->finish();
    }
    (void)client_.give_back();
    if (chosen_ && !send_error_) {
      note(finish_sending(options_, socket_.get()));
    }
  }

  [[nodiscard]] SendReport report() const {
    SendReport report;
    const ShareClientStatistics& lent = client_.statistics();
    ImportReport& imported = report.import.emplace();
    imported = {.frames = lent.frames,
                .bytes = lent.bytes,
                .lost = lent.lost,
                .skipped = lent.skipped,
                .hold = client_.hold(),
                .recorded_bytes = recorder_ ? recorder_->bytes() : 0};
    for (const ShareClient::SharedBuffer& buffer : client_.buffers()) {
      if (std::find(imported.exporters.begin(), imported.exporters.end(), buffer.exporter) ==
          imported.exporters.end()) {
        imported.exporters.push_back(buffer.exporter);
      }
    }
    if (chosen_) {
      report.path = chosen_->path;
      report.reason = chosen_->reason;
      report.statistics = chosen_->sender->statistics();
      tell_of_copying(report);
    }
    if (hash_) {
      report.hash = hash_->value();
    }
    return report;
  }

  [[nodiscard]] std::optional<Error> failure() const {
    if (send_error_) {
      return sending_error(send_error_, *chosen_->sender);
    }
    if (recorder_ && recorder_->failure()) {
      return recording_error(*recorder_, options_.record);
    }
    const std::error_code end = client_.failure();
    if (!end || (end.value() == ENODATA && client_.reason() == DMAWIRE_SHARE_FINISHED)) {
      return std::nullopt;
    }
    const std::string what = fmt::format("taking what {} lends, after {} frames", options_.import,
                                         client_.statistics().frames);
    if (end.value() == ENODATA) {
      return Error(0, what, describe(client_.reason()));
    }
    return Error(end.value(), what,
                 end.value() == ECONNRESET ? "its owner is gone without a word; what it lent is "
                                             "sent, but there may have been more"
                                           : "its owner does not keep to the protocol");
  }

  const SendOptions& options_;
  ShareClient client_;
  UniqueFd socket_;
  StopSignal stop_;  ///< behind what may take its time: that a signal just ends
  std::optional<ChosenSender> chosen_;
  std::optional<Recorder> recorder_;
  std::optional<ReadWatch> owner_;
  std::optional<ReadWatch> signal_;
  std::optional<Hash> hash_;
  std::error_code send_error_;
};

}  // namespace

StreamOutcome stream_from_owner(const SendOptions& options) {
  return ImportStream{options}.run();
}

}  // namespace dmawire::commands
