// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <csignal>
#include <ctime>

namespace dmawire::fuzz {

/// While it lives, SIGALRM keeps interrupting the waits of this thread, for example CPU access to a
/// dma-buf that is queued to a device and may never be filled.
class Impatience {
 public:
  Impatience() {
    struct sigaction nothing {};
    nothing.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &nothing, nullptr);
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGALRM;
    event._sigev_un._tid = ::gettid();
    ::timer_create(CLOCK_MONOTONIC, &event, &timer_);
    constexpr timespec often{.tv_sec = 0, .tv_nsec = 10'000'000};
    const itimerspec times{.it_interval = often, .it_value = often};
    ::timer_settime(timer_, 0, &times, nullptr);
  }
  ~Impatience() { ::timer_delete(timer_); }
  Impatience(const Impatience&) = delete;
  Impatience& operator=(const Impatience&) = delete;

 private:
  timer_t timer_{};
};

}  // namespace dmawire::fuzz
