// SPDX-License-Identifier: MIT
// dmawire_dmaengine against a software DMA controller with injected failures
// (tests/drivers/controller.c): the guarantees for memory, frames and descriptors must hold with
// every behavior of a controller.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "abi.hpp"
#include "capture_queue.hpp"
#include "capturing.hpp"
#include "eventually.hpp"
#include "guest.hpp"
#include "kernel_log.hpp"

namespace dmawire::test {
namespace {

constexpr uint8_t kUnwritten = 0xee;

/// The controller, and the driver on top of it.
class DmaController {
 public:
  explicit DmaController(const std::string& parameters)
      : module_("dmawire_controller", parameters) {}

  void set(const std::string& parameter, int value) const {
    EXPECT_TRUE(write_text(path(parameter), std::to_string(value))) << parameter;
  }
  [[nodiscard]] int get(const std::string& parameter) const {
    return std::atoi(read_text(path(parameter)).c_str());
  }
  /// Its channel's, by which the driver finds it.
  [[nodiscard]] static std::string channel() {
    const std::filesystem::path channels{"/sys/devices/platform/dmawire_controller/dma"};
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator{channels, error})
      return entry.path().filename();
    return "none";
  }

 private:
  static std::string path(const std::string& parameter) {
    return "/sys/module/dmawire_controller/parameters/" + parameter;
  }

  DriverModule module_;
};

class DmaengineController : public testing::Test {
 protected:
  /// Loads a controller, and the driver, which creates a device for it or refuses it.
  void load_copies(const std::string& parameters = "") {
    controller_.emplace(parameters);
    driver_.emplace("dmawire_dmaengine", "memcpy_channel=" + DmaController::channel());
  }
  void load_peripheral(const std::string& kind, const std::string& parameters = "") {
    controller_.emplace("peripheral=" + kind + " " + parameters);
    driver_.emplace("dmawire_dmaengine", "memcpy_channel=none");
  }
  void TearDown() override {
    if (controller_) {
      EXPECT_EQ(controller_->get("unsubmitted"), 0) << "nothing can free such a descriptor";
    }
  }

  KernelLog log_;
  std::optional<DmaController> controller_;
  std::optional<DriverModule> driver_;
};

/// A capture into memory with a fill pattern, so that written bytes show.
class MarkedCapture : public Capturing {
 public:
  explicit MarkedCapture(size_t pages) : Capturing("dmaengine", pages * kPage) {
    std::ranges::fill(memory(), kUnwritten);
  }
};

bool is_all(std::span<const uint8_t> bytes, uint8_t value) {
  return std::ranges::all_of(bytes, [value](uint8_t byte) { return byte == value; });
}

TEST_F(DmaengineController, CopiesFramesOfManySegments) {
  load_copies();
  Capturing capture("dmaengine", 8 * kPage);
  ASSERT_EQ(capture.enqueue(0, 3 * kPage + 8), 0);
  ASSERT_EQ(capture.enqueue(4 * kPage, 64), 0);
  ASSERT_EQ(capture.start(), 0);
  for (uint64_t i = 0; i < 2; ++i)
    EXPECT_EQ(frame_fault(capture.frame(capture.dequeue()), i), "");
  EXPECT_EQ(capture.stop(), 0);
}

TEST_F(DmaengineController, CapturesFramesOfManySegments) {
  load_peripheral("frames");
  MarkedCapture capture(8);
  ASSERT_EQ(capture.enqueue(0, 3 * kPage), 0);
  ASSERT_EQ(capture.start(), 0);
  ASSERT_EQ(capture.enqueue(4 * kPage, kPage / 2), 0);
  EXPECT_EQ(capture.dequeue().out_result, static_cast<int>(3 * kPage));
  EXPECT_EQ(capture.dequeue().out_result, static_cast<int>(kPage / 2));
  for (uint8_t page = 0; page < 3; ++page)
    EXPECT_TRUE(is_all(capture.memory().subspan(page * kPage, kPage), page + 1));
  EXPECT_TRUE(is_all(capture.memory().subspan(4 * kPage, kPage / 2), 4));
  EXPECT_TRUE(is_all(capture.memory().subspan(4 * kPage + kPage / 2, kPage / 2), kUnwritten));
  EXPECT_EQ(capture.stop(), 0);
}

TEST_F(DmaengineController, StopsWhatIsUnderWay) {
  load_peripheral("frames");
  MarkedCapture capture(4);
  controller_->set("hang", 1);
  ASSERT_EQ(capture.enqueue(0, 2 * kPage), 0);
  ASSERT_EQ(capture.start(), 0);
  EXPECT_EQ(controller_->get("issued"), 1);
  ASSERT_EQ(capture.stop(), 0);
  EXPECT_EQ(capture.dequeue().out_result, -ECANCELED);
  EXPECT_EQ(controller_->get("issued"), 0);
  controller_->set("hang", 0);
  ASSERT_EQ(capture.start(), 0);
  ASSERT_EQ(capture.enqueue(0, kPage), 0);
  EXPECT_EQ(capture.dequeue().out_result, static_cast<int>(kPage));
}

TEST_F(DmaengineController, FramesThatGoWrongComeBackWithEio) {
  load_peripheral("frames");
  MarkedCapture capture(4);
  ASSERT_EQ(capture.start(), 0);
  for (const char* fault : {"transfer_error", "submit_error"}) {
    controller_->set(fault, 1);
    ASSERT_EQ(capture.enqueue(0, kPage), 0);
    EXPECT_EQ(capture.dequeue().out_result, -EIO) << fault;
    controller_->set(fault, 0);
  }
  controller_->set("preparations", 0);
  ASSERT_EQ(capture.enqueue(0, kPage), 0);
  EXPECT_EQ(capture.dequeue().out_result, -EIO);
  controller_->set("preparations", -1);
  ASSERT_EQ(capture.enqueue(0, kPage), 0);
  EXPECT_EQ(capture.dequeue().out_result, static_cast<int>(kPage));
}

TEST_F(DmaengineController, CopiesThatGoWrongComeBackWithEio) {
  load_copies();
  Capturing capture("dmaengine", 4 * kPage);
  ASSERT_EQ(capture.start(), 0);
  const auto expect_failure = [&](const char* parameter, int fault, int none) {
    controller_->set(parameter, fault);
    ASSERT_EQ(capture.enqueue(0, 3 * kPage), 0);
    EXPECT_EQ(capture.dequeue().out_result, -EIO) << parameter;
    controller_->set(parameter, none);
  };
  expect_failure("transfer_error", 1, 0);
  expect_failure("submit_error", 1, 0);
  // The first segments are copied.
  for (int preparations : {0, 1, 2})
    expect_failure("preparations", preparations, -1);
  ASSERT_EQ(capture.enqueue(0, 3 * kPage), 0);
  EXPECT_EQ(frame_fault(capture.frame(capture.dequeue()), 0), "");
}

TEST_F(DmaengineController, RefusesAChannelThatCannotBeTerminated) {
  load_copies("no_terminate=1");
  EXPECT_EQ(number_of_driver("dmaengine"), std::nullopt);
  EXPECT_TRUE(log_.says(DmaController::channel() + " cannot be terminated"));
}

TEST_F(DmaengineController, RefusesAPeripheralOnAChannelThatCannotBeTerminated) {
  load_peripheral("frames", "no_terminate=1");
  EXPECT_EQ(number_of_driver("dmaengine"), std::nullopt);
  EXPECT_TRUE(log_.says(DmaController::channel() + " cannot be terminated"));
}

TEST_F(DmaengineController, SubmitsWhatItHasPreparedAlsoIfItIsStopped) {
  load_copies("prepare_ms=300");
  Capturing capture("dmaengine", 4 * kPage);
  ASSERT_EQ(capture.enqueue(0, 2 * kPage), 0);
  ASSERT_EQ(capture.start(), 0);
  ASSERT_TRUE(eventually([this] { return controller_->get("preparing") == 1; }));
  ASSERT_EQ(capture.stop(), 0);
  EXPECT_EQ(capture.dequeue().out_result, -ECANCELED);
  EXPECT_EQ(controller_->get("unsubmitted"), 0);
  EXPECT_EQ(controller_->get("issued"), 0);
}

// In the middle of a transfer of several segments a short frame leaves a hole.
TEST_F(DmaengineController, AFrameThatIsTooShortComesBackWithEio) {
  load_peripheral("frames");
  MarkedCapture capture(4);
  controller_->set("packet", 100);
  ASSERT_EQ(capture.start(), 0);
  for (const uint32_t length : {2 * kPage, kPage, size_t{104}}) {
    ASSERT_EQ(capture.enqueue(0, length), 0);
    EXPECT_EQ(capture.dequeue().out_result, -EIO) << length;
  }
  ASSERT_EQ(capture.enqueue(0, 100), 0);
  EXPECT_EQ(capture.dequeue().out_result, 100);
}

TEST_F(DmaengineController, PacketsLieInOneSegmentAndHaveTheirLength) {
  load_peripheral("packets");
  MarkedCapture capture(4);
  EXPECT_EQ(info(capture.device()).out_max_segments, 1U);
  ASSERT_EQ(capture.start(), 0);
  EXPECT_EQ(capture.enqueue(0, 2 * kPage), EINVAL);
  for (const size_t length : {size_t{100}, size_t{1}, kPage}) {
    std::ranges::fill(capture.memory(), kUnwritten);
    controller_->set("packet", static_cast<int>(length));
    ASSERT_EQ(capture.enqueue(0, kPage), 0);
    const dmawire_dequeue taken = capture.dequeue();
    EXPECT_EQ(taken.out_result, static_cast<int>(length));
    EXPECT_TRUE(
        is_all(capture.memory().first(length), static_cast<uint8_t>(taken.out_sequence + 1)));
    EXPECT_TRUE(is_all(capture.memory().subspan(length), kUnwritten));
  }
}

TEST_F(DmaengineController, RefusesPacketsOfAControllerThatCannotTellTheirLength) {
  constexpr int descriptor = 0, segment = 1;
  load_peripheral("packets", "granularity=" + std::to_string(descriptor));
  EXPECT_EQ(number_of_driver("dmaengine"), std::nullopt);
  EXPECT_TRUE(log_.says(DmaController::channel() + " cannot tell how long a packet is"));
  driver_.reset();
  controller_.reset();

  load_peripheral("packets", "granularity=" + std::to_string(segment));
  EXPECT_NE(number_of_driver("dmaengine"), std::nullopt);
  driver_.reset();
  controller_.reset();

  load_peripheral("frames", "granularity=" + std::to_string(descriptor));
  EXPECT_NE(number_of_driver("dmaengine"), std::nullopt);
}

TEST_F(DmaengineController, ACopyThatHangsFailsTheDeviceUntilTheNextStart) {
  load_copies();
  Capturing capture("dmaengine", 4 * kPage);
  controller_->set("hang", 1);
  ASSERT_EQ(capture.enqueue(0, 2 * kPage), 0);
  ASSERT_EQ(capture.enqueue(2 * kPage, 2 * kPage), 0);
  ASSERT_EQ(capture.start(), 0);
  EXPECT_EQ(capture.dequeue().out_result, -EIO);
  EXPECT_EQ(capture.dequeue().out_result, -EIO);
  EXPECT_EQ(controller_->get("issued"), 0) << "what has come back is not written any more";
  EXPECT_EQ(capture.enqueue(0, kPage), EIO);

  controller_->set("hang", 0);
  ASSERT_EQ(capture.start(), 0);
  ASSERT_EQ(capture.enqueue(0, 2 * kPage), 0);
  EXPECT_EQ(frame_fault(capture.frame(capture.dequeue()), 0), "");
}

/// A controller that goes on and cannot be stopped, for the time being.
class DmaengineWedged : public DmaengineController {
 protected:
  void begin(MarkedCapture& capture) {
    controller_->set("hang", 1);
    controller_->set("terminate_error", EBUSY);
    ASSERT_EQ(capture.enqueue(0, 2 * kPage), 0);
    ASSERT_EQ(capture.start(), 0);
    ASSERT_TRUE(eventually([this] { return controller_->get("issued") == 1; }));
  }

  void TearDown() override {
    if (controller_) {
      EXPECT_EQ(controller_->get("freed"), 0);
      controller_->set("terminate_error", 0);
      controller_->set("hang", 0);
      const UniqueFd device = open_driver("dmaengine");
      EXPECT_EQ(CaptureQueue{device.get()}.start(), 0);
    }
    DmaengineController::TearDown();
  }
};

TEST_F(DmaengineWedged, KeepsItsMemoryUntilItCanBeStopped) {
  load_peripheral("frames");
  MarkedCapture capture(8);
  ASSERT_NO_FATAL_FAILURE(begin(capture));
  EXPECT_EQ(capture.stop(), EIO);
  EXPECT_TRUE(log_.says(DmaController::channel() + " cannot be stopped"));
  EXPECT_EQ(capture.dequeue().out_result, -EIO);
  EXPECT_EQ(capture.status().out_running, 0U);

  EXPECT_EQ(capture.enqueue(4 * kPage, kPage), EIO);
  EXPECT_EQ(capture.start(), EIO);
  EXPECT_EQ(capture.stop(), EIO);
  EXPECT_EQ(capture.detach(), EBUSY);
  EXPECT_EQ(controller_->get("issued"), 1);

  controller_->set("terminate_error", 0);
  ASSERT_EQ(capture.stop(), 0);
  EXPECT_EQ(controller_->get("issued"), 0);
  controller_->set("hang", 0);
  EXPECT_TRUE(is_all(capture.memory(), kUnwritten));
  ASSERT_EQ(capture.enqueue(0, 2 * kPage), 0);
  ASSERT_EQ(capture.start(), 0);
  EXPECT_EQ(capture.dequeue().out_result, static_cast<int>(2 * kPage));
  EXPECT_EQ(capture.stop(), 0);
  EXPECT_EQ(capture.detach(), 0);
}

TEST_F(DmaengineWedged, KeepsItsMemoryWhenItsOwnerIsGone) {
  load_peripheral("frames");
  const uint64_t buffers = module_info().out_buffers;
  {
    MarkedCapture capture(8);
    ASSERT_NO_FATAL_FAILURE(begin(capture));
  }
  EXPECT_EQ(module_info().out_buffers, buffers + 1);
  EXPECT_EQ(controller_->get("freed"), 0);

  // The memory is still allocated; the late callback completes no transfer twice.
  controller_->set("hang", 0);
  EXPECT_TRUE(eventually([this] { return controller_->get("issued") == 0; }));
  MarkedCapture next(4);
  EXPECT_EQ(next.start(), EIO);
  EXPECT_EQ(next.enqueue(0, kPage), EIO);
  EXPECT_EQ(module_info().out_buffers, buffers + 2);

  controller_->set("terminate_error", 0);
  ASSERT_EQ(next.start(), 0);
  EXPECT_TRUE(eventually([&] { return module_info().out_buffers == buffers + 1; }));
  ASSERT_EQ(next.enqueue(0, kPage), 0);
  EXPECT_EQ(next.dequeue().out_result, static_cast<int>(kPage));
}

TEST_F(DmaengineWedged, KeepsWhatACopyWritesTo) {
  load_copies();
  const uint64_t buffers = module_info().out_buffers;
  {
    MarkedCapture capture(8);
    ASSERT_NO_FATAL_FAILURE(begin(capture));
    EXPECT_EQ(capture.dequeue().out_result, -EIO) << "after a time-out";
    EXPECT_EQ(capture.start(), EIO);
  }
  EXPECT_EQ(module_info().out_buffers, buffers + 1);
  EXPECT_EQ(controller_->get("freed"), 0);

  controller_->set("terminate_error", 0);
  MarkedCapture next(4);
  controller_->set("hang", 0);
  ASSERT_EQ(next.start(), 0);
  ASSERT_EQ(next.enqueue(0, kPage), 0);
  EXPECT_EQ(frame_fault(next.frame(next.dequeue()), 0), "");
}

}  // namespace
}  // namespace dmawire::test
