// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/uapi.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <dmawire/unique_fd.hpp>

#include "abi.hpp"
#include "capture_queue.hpp"
#include "mapped.hpp"

/// Devices that capture, and the drivers behind them.
namespace dmawire::test {

/// A module of this repository, loaded for as long as this lives.
class DriverModule {
 public:
  explicit DriverModule(std::string name, const std::string& parameters = "");
  ~DriverModule();
  DriverModule(const DriverModule&) = delete;
  DriverModule& operator=(const DriverModule&) = delete;

 private:
  std::string name_;
};

/// N of the /dev/dmawireN of a driver, by the name that INFO returns; nullopt if it has no node.
std::optional<int> number_of_driver(const std::string& name);

/// That node; an invalid descriptor if it does not exist.
UniqueFd open_driver(const std::string& name);

/// A buffer that a device captures into, spoken raw.
class Capturing {
 public:
  Capturing(const std::string& driver, size_t length) : Capturing(driver, create_request(length)) {}
  Capturing(const std::string& driver, const dmawire_create& request);

  int enqueue(uint64_t offset, uint32_t length) { return queue_.enqueue(index_, offset, length); }
  int start() { return queue_.start(); }
  int stop() { return queue_.stop(); }
  int detach() { return queue_.detach(index_); }
  /// Waits some seconds for a completion; its errno, or 0.
  int dequeue(dmawire_dequeue& taken);
  /// The same; a test failure if nothing can be dequeued.
  dmawire_dequeue dequeue();
  [[nodiscard]] dmawire_status status() const { return queue_.status(); }
  /// The events of poll(2) within @p milliseconds.
  [[nodiscard]] int poll(int milliseconds) const;

  [[nodiscard]] int device() const { return device_.get(); }
  [[nodiscard]] int buffer() const { return buffer_.get(); }
  [[nodiscard]] std::span<uint8_t> memory() const { return memory_.bytes(); }
  [[nodiscard]] std::span<const uint8_t> frame(const dmawire_dequeue& taken) const;

 private:
  UniqueFd device_;
  CaptureQueue queue_{device_.get()};
  UniqueFd buffer_;
  Mapped memory_;
  uint32_t index_ = 0;
};

/// Describes a defect of a frame that has a header; empty if it has no defect.
std::string frame_fault(std::span<const uint8_t> frame, uint64_t sequence);

/// The memory of a typical capture program: frames one behind the other in memory of its own, of a
/// length that is not rounded. Each is made a buffer; the device fills all of them, `rounds` times.
void expect_a_ring_of_frames_is_filled(int device, uint8_t* first, size_t frame, size_t count,
                                       unsigned rounds);

}  // namespace dmawire::test
