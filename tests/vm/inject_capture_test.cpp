// SPDX-License-Identifier: MIT
// Every failure of the calls of a capture.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "abi.hpp"
#include "capture_queue.hpp"
#include "capturing.hpp"
#include "edu_card.hpp"
#include "inject.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

/// Calls on a device that does DMA.
class InjectEdu : public Inject {
 protected:
  void SetUp() override {
    Inject::SetUp();
    if (IsSkipped() || HasFatalFailure())
      return;
    if (!card_.present())
      GTEST_SKIP() << "this machine has no edu device";
    driver_.emplace("dmawire_edu", EduCard::driver_parameters());
    edu_ = open_driver("edu");
  }

  const EduCard card_;
  std::optional<DriverModule> driver_;
  UniqueFd edu_;
};

TEST_F(InjectEdu, CreatingCoherentMemory) {
  dmawire_create request = {};
  sweep("CREATE (coherent)", {ENOMEM, EFAULT},
        {.prepare =
             [&] {
               request = create_request(40 * kPage);
               request.backing = DMAWIRE_BACKING_COHERENT;
             },
         .call = [&] { return call(edu_.get(), DMAWIRE_IOC_CREATE, &request); },
         .settle =
             [&](int error) {
               if (error == 0)
                 close(request.out_fd);
             }});
}

TEST_F(InjectEdu, Attaching) {
  CaptureQueue queue{edu_.get()};
  const UniqueFd buffer = create_buffer(edu_.get(), kMiB + kPage);
  uint32_t index = 0;
  sweep("ATTACH (edu)", {ENOMEM, EFAULT},
        {.prepare = nothing,
         .call = [&] { return queue.attach(buffer.get(), &index); },
         .settle =
             [&](int error) {
               if (error == 0) {
                 EXPECT_EQ(queue.detach(index), 0);
               }
             }});
}

TEST_F(Inject, RegisteringADevice) {
  const DriverModule driver{"dmawire_broken"};
  const std::string file = "/sys/module/dmawire_broken/parameters/registered";
  const auto registers = [&](const char* yes_or_no) { return write_text(file, yes_or_no); };
  const UniqueFd registered{::open(file.c_str(), O_WRONLY | O_CLOEXEC)};
  const std::optional<int> number = number_of_driver("broken");
  ASSERT_TRUE(number);
  ASSERT_TRUE(registers("N"));
  sweep("dmawire_device_register()", {ENOMEM, EFAULT},
        {.prepare = nothing,
         .call = [&] { return write(registered.get(), "Y", 1) == 1 ? 0 : errno; },
         .settle =
             [&](int error) {
               EXPECT_EQ(number_of_driver("broken"), error == 0 ? number : std::nullopt);
               EXPECT_TRUE(registers("N"));
             }});
}

/// The calls of a capture, with a dma-buf that takes a hundred frames.
class InjectCapture : public Inject {
 protected:
  static constexpr uint32_t frame = 16 * kPage;

  void SetUp() override {
    Inject::SetUp();
    if (IsSkipped() || HasFatalFailure())
      return;
    // The fence of the last queued range stays with the buffer, and holds the module.
    make_attached();
    EXPECT_EQ(enqueue(), 0);
    take_back(true);
    detach();
  }

  void make_attached() { ASSERT_EQ(queue_.attach(buffer_.get(), &index_), 0); }
  int enqueue() { return queue_.enqueue(index_, 0, frame); }
  /// A queued range completes, once; then the queue is as it was.
  void take_back(bool given) {
    EXPECT_EQ(queue_.stop(), 0);
    dmawire_dequeue taken;
    EXPECT_EQ(queue_.dequeue(&taken), given ? 0 : ECANCELED);
    EXPECT_EQ(queue_.status().out_queued, 0U);
  }
  void detach() { EXPECT_EQ(queue_.detach(index_), 0); }

  CaptureQueue queue_{device_.get()};
  UniqueFd buffer_ = create_buffer(device_.get(), 100 * frame);
  uint32_t index_ = 0;
};

TEST_F(InjectCapture, Attach) {
  sweep("ATTACH", {ENOMEM, EFAULT},
        {.prepare = nothing,
         .call = [&] { return queue_.attach(buffer_.get(), &index_); },
         .settle =
             [&](int error) {
               if (error == 0)
                 detach();
             }});
}

TEST_F(InjectCapture, Detach) {
  sweep("DETACH", {ENOMEM, EFAULT},
        {.prepare = [&] { make_attached(); },
         .call = [&] { return queue_.detach(index_); },
         .settle =
             [&](int error) {
               if (error != 0)
                 detach();
             }});
}

TEST_F(InjectCapture, Start) {
  sweep("START", {ENOMEM, EFAULT},
        {.prepare = [&] { make_attached(); },
         .call = [&] { return queue_.start(); },
         .settle =
             [&](int error) {
               EXPECT_EQ(queue_.status().out_running, error == 0 ? 1U : 0U);
               take_back(false);
               detach();
             }});
}

TEST_F(InjectCapture, Stop) {
  sweep("STOP", {EFAULT},
        {.prepare =
             [&] {
               make_attached();
               ASSERT_EQ(queue_.start(1), 0);
               ASSERT_EQ(enqueue(), 0);
             },
         .call = [&] { return queue_.stop(); },
         .settle =
             [&](int) {
               take_back(true);
               detach();
             }});
}

TEST_F(InjectCapture, Give) {
  sweep("ENQUEUE", {ENOMEM, EFAULT},
        {.prepare = [&] { make_attached(); },
         .call = [&] { return enqueue(); },
         .settle =
             [&](int error) {
               take_back(error == 0);
               detach();
             }});
}

TEST_F(InjectCapture, Take) {
  dmawire_dequeue taken;
  sweep(
      "DEQUEUE", {EFAULT},
      {.prepare =
           [&] {
             make_attached();
             ASSERT_EQ(enqueue(), 0);
             ASSERT_EQ(queue_.stop(), 0);
           },
       .call = [&] { return queue_.dequeue(&taken); },
       .settle =
           [&](int) {
             (void)queue_.dequeue(&taken);  // where the struct could not be read it is still there
             detach();
           }});
}

TEST_F(InjectCapture, Status) {
  dmawire_status request = {};
  sweep("STATUS", {EFAULT},
        {.prepare = [&] { request = {.size = sizeof(request)}; },
         .call = [&] { return call(device_.get(), DMAWIRE_IOC_STATUS, &request); },
         .settle = [](int) {}});
}

TEST_F(InjectCapture, AsARequestOfIoUring) {
  std::optional<SlotRing> ring;
  dmawire_uring_capture capture;
  bool submitted = false;
  sweep("CAPTURE", {ENOMEM, EFAULT, EAGAIN},
        {.prepare =
             [&] {
               make_attached();
               ring.emplace();
               capture = {.size = sizeof(capture), .index = index_, .length = frame};
               io_uring_sqe* const sqe = io_uring_get_sqe(ring->get());
               io_uring_prep_rw(IORING_OP_URING_CMD, sqe, device_.get(), &capture, 0, 0);
               sqe->cmd_op = DMAWIRE_URING_CMD_CAPTURE;
             },
         .call =
             [&] {
               const int count = io_uring_submit(ring->get());
               submitted = count == 1;
               return submitted ? 0 : count < 0 ? -count : EAGAIN;
             },
         .settle =
             [&](int) {
               if (submitted) {
                 EXPECT_EQ(queue_.stop(), 0);
                 const int result = -ring->next_result();
                 EXPECT_TRUE(result == ECANCELED || result == ENOMEM || result == EFAULT)
                     << strerrorname_np(result);
               }
               EXPECT_EQ(queue_.status().out_queued, 0U);
               ring.reset();
               detach();
             }});
}

}  // namespace
}  // namespace dmawire::test
