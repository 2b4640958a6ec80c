// SPDX-License-Identifier: MIT
#include "ring.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <dmawire/error.hpp>
#include <string>

#include "fake_sys.hpp"

namespace dmawire::test {
namespace {

template <int Status>
int refuse(unsigned, io_uring*, io_uring_params*) {
  return Status;
}

std::string message_of_ring() {
  try {
    const Ring ring{8, 16};
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::impossible);
    return error.what();
  }
  return {};
}

TEST(Ring, SaysWhyThereIsNone) {
  FakeSys fake;
  fake->ring_init = refuse<-ENOSYS>;
  EXPECT_NE(message_of_ring().find("this kernel has no io_uring"), std::string::npos);
  fake->ring_init = refuse<-EPERM>;
  EXPECT_NE(message_of_ring().find("io_uring is forbidden here"), std::string::npos);
  fake->ring_init = refuse<-ENOMEM>;
  EXPECT_NE(message_of_ring().find("ulimit -l"), std::string::npos);
}

TEST(Ring, DoesWithoutWhatAnOldKernelLacks) {
  FakeSys fake;
  fake->ring_init = [](unsigned entries, io_uring* ring, io_uring_params* params) {
    return params->flags & IORING_SETUP_DEFER_TASKRUN
               ? -EINVAL
               : ::io_uring_queue_init_params(entries, ring, params);
  };
  const Ring ring{8, 16};
  EXPECT_GE(ring.fd(), 0);
}

TEST(Ring, SaysHowMuchMemoryWouldHaveToBeLocked) {
  FakeSys fake;
  fake->ring_register_buffers = [](io_uring*, const iovec*, unsigned) { return -ENOMEM; };
  Ring ring{8, 16};
  const iovec buffers[2] = {{nullptr, 4096}, {nullptr, 8192}};
  try {
    ring.register_buffers(buffers);
    FAIL() << "registered";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOMEM);
    EXPECT_NE(std::string{error.what()}.find("12288 bytes must be locked"), std::string::npos);
  }
}

TEST(Ring, TakesASignalForNoError) {
  FakeSys fake;
  fake->ring_submit_and_wait = [](io_uring*, unsigned) { return -EINTR; };
  fake->ring_get_events = [](io_uring*) { return -EINTR; };
  Ring ring{8, 16};
  EXPECT_EQ(ring.submit_and_wait(1), 0);
  EXPECT_EQ(ring.get_events(), 0);
  EXPECT_EQ(ring.enters(), 2U);
}

}  // namespace
}  // namespace dmawire::test
