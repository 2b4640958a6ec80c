// SPDX-License-Identifier: MIT
#include "stop_on_signal.hpp"

#include <atomic>
#include <cerrno>
#include <dmawire/frame_source.hpp>

namespace dmawire::commands {
namespace {

std::atomic<FrameSource*> to_stop = nullptr;
std::atomic<bool> signal_came = false;

/// What comes back from the device ends the wait that the program is in, or is about to enter.
extern "C" void stop_capture(int /*signal*/) {
  const int code = errno;
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  ::sigaction(SIGINT, &usual, nullptr);
  ::sigaction(SIGTERM, &usual, nullptr);
  signal_came = true;
  to_stop.load()->stop();
  errno = code;
}

}  // namespace

StopOnSignal::StopOnSignal(FrameSource& source) {
  signal_came = false;
  to_stop = &source;
  struct sigaction action {};
  action.sa_handler = stop_capture;
  sigaddset(&action.sa_mask, SIGINT);
  sigaddset(&action.sa_mask, SIGTERM);
  ::sigaction(SIGINT, &action, &interrupt_before_);
  ::sigaction(SIGTERM, &action, &terminate_before_);
}

StopOnSignal::~StopOnSignal() {
  ::sigaction(SIGINT, &interrupt_before_, nullptr);
  ::sigaction(SIGTERM, &terminate_before_, nullptr);
}

bool StopOnSignal::caught() const noexcept {
  return signal_came;
}

}  // namespace dmawire::commands
