// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>

#include "abi.hpp"

namespace dmawire::test {

/// The capture ioctls of a device node spoken raw. Each answers its errno, or 0.
class CaptureQueue {
 public:
  explicit CaptureQueue(int device) : device_(device) {}

  [[nodiscard]] int attach(int dmabuf, uint32_t* index = nullptr, uint32_t flags = 0) const {
    dmawire_attach request{.size = sizeof(request), .flags = flags, .fd = dmabuf};
    const int error = call(device_, DMAWIRE_IOC_ATTACH, &request);
    if (error == 0 && index != nullptr)
      *index = request.out_index;
    return error;
  }
  [[nodiscard]] int detach(uint32_t index) const {
    dmawire_detach request{.size = sizeof(request), .index = index};
    return call(device_, DMAWIRE_IOC_DETACH, &request);
  }
  [[nodiscard]] int start(uint32_t rate = 0) const {
    dmawire_start request{.size = sizeof(request), .rate = rate};
    return call(device_, DMAWIRE_IOC_START, &request);
  }
  [[nodiscard]] int stop() const {
    dmawire_stop request{.size = sizeof(request)};
    return call(device_, DMAWIRE_IOC_STOP, &request);
  }
  [[nodiscard]] int enqueue(uint32_t index, uint64_t offset, uint32_t length,
                            uint64_t user_data = 0) const {
    dmawire_enqueue request{.size = sizeof(request),
                            .index = index,
                            .length = length,
                            .offset = offset,
                            .user_data = user_data};
    return call(device_, DMAWIRE_IOC_ENQUEUE, &request);
  }
  [[nodiscard]] int dequeue(dmawire_dequeue* taken) const {
    *taken = {.size = sizeof(*taken)};
    return call(device_, DMAWIRE_IOC_DEQUEUE, taken);
  }
  /// The next completion, which must come. Task work left by a ring that was closed before
  /// interrupts a wait.
  [[nodiscard]] dmawire_dequeue dequeue() const {
    dmawire_dequeue taken;
    int error = EINTR;
    while (error == EINTR)
      error = dequeue(&taken);
    EXPECT_EQ(error, 0);
    return taken;
  }
  [[nodiscard]] dmawire_status status() const {
    dmawire_status request{.size = sizeof(request)};
    EXPECT_EQ(call(device_, DMAWIRE_IOC_STATUS, &request), 0);
    return request;
  }

 private:
  int device_;
};

}  // namespace dmawire::test
