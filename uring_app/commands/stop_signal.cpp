// SPDX-License-Identifier: MIT
#include "stop_signal.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <dmawire/error.hpp>

namespace dmawire::commands {

StopSignal::StopSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &signals, &before_);
  fd_.reset(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_.valid()) {
    const int code = errno;
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
    throw Error(code, "creating a signalfd");
  }
}

StopSignal::~StopSignal() {
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

bool StopSignal::caught() noexcept {
  signalfd_siginfo signal{};
  if (!caught_ && ::read(fd_.get(), &signal, sizeof(signal)) == sizeof(signal)) {
    caught_ = true;
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  return caught_;
}

void StopSignal::let_through() noexcept {
  if (!caught()) {
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
}

}  // namespace dmawire::commands
