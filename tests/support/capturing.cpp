// SPDX-License-Identifier: MIT
#include "capturing.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "given_memory.hpp"

namespace dmawire::test {
namespace {

constexpr int kTakeMilliseconds = 20'000;
constexpr int kMostNodes = 64;

UniqueFd open_node(int number) {
  return UniqueFd{open(("/dev/dmawire" + std::to_string(number)).c_str(), O_RDWR | O_CLOEXEC)};
}

}  // namespace

DriverModule::DriverModule(std::string name, const std::string& parameters)
    : name_(std::move(name)) {
  utsname kernel = {};
  uname(&kernel);
  const std::string path =
      std::string("/lib/modules/") + kernel.release + "/extra/" + name_ + ".ko";
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(file.valid() && syscall(SYS_finit_module, file.get(), parameters.c_str(), 0) == 0)
      << path << ": " << strerror(errno);
}

DriverModule::~DriverModule() {
  EXPECT_EQ(syscall(SYS_delete_module, name_.c_str(), O_NONBLOCK), 0)
      << name_ << ": " << strerror(errno);
}

std::optional<int> number_of_driver(const std::string& name) {
  for (int number = 0; number < kMostNodes; ++number) {
    const UniqueFd device = open_node(number);
    if (device.valid() && name == info(device.get()).out_driver)
      return number;
  }
  return std::nullopt;
}

UniqueFd open_driver(const std::string& name) {
  const std::optional<int> number = number_of_driver(name);
  return number ? open_node(*number) : UniqueFd{};
}

Capturing::Capturing(const std::string& driver, const dmawire_create& request)
    : device_(open_driver(driver)),
      buffer_(create(device_.get(), request)),
      memory_(buffer_.get(), request.length) {
  const int error = queue_.attach(buffer_.get(), &index_);
  EXPECT_EQ(error, 0) << "ATTACH: " << strerror(error);
}

int Capturing::dequeue(dmawire_dequeue& taken) {
  if (status().out_queued != 0 && poll(kTakeMilliseconds) == 0)
    return ETIMEDOUT;
  return queue_.dequeue(&taken);
}

dmawire_dequeue Capturing::dequeue() {
  dmawire_dequeue taken = {};
  const int error = dequeue(taken);
  EXPECT_EQ(error, 0) << "DEQUEUE: " << strerror(error);
  return taken;
}

int Capturing::poll(int milliseconds) const {
  pollfd events = {.fd = device_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&events, 1, milliseconds) < 0 ? -1 : events.revents;
}

std::span<const uint8_t> Capturing::frame(const dmawire_dequeue& taken) const {
  EXPECT_GE(taken.out_result, 0) << strerror(-taken.out_result);
  return taken.out_result < 0
             ? std::span<const uint8_t>{}
             : memory().subspan(taken.out_offset, static_cast<size_t>(taken.out_result));
}

std::string frame_fault(std::span<const uint8_t> frame, uint64_t sequence) {
  std::string copy(reinterpret_cast<const char*>(frame.data()), frame.size());
  dmawire_frame_header header = {};
  if (frame.size() < sizeof(header))
    return "it is shorter than its header";
  memcpy(&header, copy.data(), sizeof(header));
  if (header.magic != DMAWIRE_FRAME_MAGIC)
    return "it does not begin with a header";
  if (header.length != frame.size() || header.checked > header.length)
    return "its header tells another length";
  if (header.sequence != sequence)
    return "its header tells number " + std::to_string(header.sequence);
  memset(copy.data() + offsetof(dmawire_frame_header, checksum), 0, sizeof(header.checksum));
  if (XXH64(copy.data(), header.checked, 0) != header.checksum)
    return "its checksum is wrong";
  return {};
}

void expect_a_ring_of_frames_is_filled(int device, uint8_t* first, size_t frame, size_t count,
                                       unsigned rounds) {
  const CaptureQueue queue{device};
  std::vector<uint32_t> indexes(count);
  for (size_t i = 0; i < count; ++i) {
    const UniqueFd buffer = create(device, user_request(first + i * frame, frame));
    ASSERT_EQ(queue.attach(buffer.get(), &indexes[i]), 0);
  }
  for (unsigned round = 0; round < rounds; ++round) {
    for (const uint32_t index : indexes)
      ASSERT_EQ(queue.enqueue(index, 0, static_cast<uint32_t>(frame)), 0);
    ASSERT_EQ(queue.start(), 0);
    for (size_t i = 0; i < count; ++i) {
      const dmawire_dequeue taken = queue.dequeue();
      EXPECT_EQ(taken.out_result, static_cast<int>(frame));
      EXPECT_EQ(frame_fault({first + taken.out_index * frame, frame}, taken.out_sequence), "");
    }
    EXPECT_EQ(queue.stop(), 0);
  }
  for (const uint32_t index : indexes)
    EXPECT_EQ(queue.detach(index), 0);
  EXPECT_EQ(first[-1], 0);
  EXPECT_EQ(first[count * frame], 0);
}

}  // namespace dmawire::test
