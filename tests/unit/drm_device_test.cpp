// SPDX-License-Identifier: MIT
#include <dmawire/drm_device.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <dmawire/error.hpp>
#include <string>

#include "fake_sys.hpp"
#include "message_of.hpp"

namespace dmawire::test {
namespace {

TEST(DrmDevice, RefusesWhatIsNoNodeOfDrms) {
  const auto open = [] { const DrmDevice device{"/dev/null"}; };
  EXPECT_NE(message_of(open).find("it is no node of DRM's"), std::string::npos);
  try {
    open();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::impossible);
  }
}

TEST(DrmDevice, SaysWhyANodeDoesNotOpen) {
  FakeSys fake;
  fake->open = [](const char*, int) {
    errno = EACCES;
    return -1;
  };
  EXPECT_NE(message_of([] { const DrmDevice device{"/dev/dri/card0"}; }).find("`render`"),
            std::string::npos);
}

TEST(DrmDevice, NamesNodesOfDrmsOnly) {
  for (const std::string& node : DrmDevice::nodes()) {
    EXPECT_TRUE(node.starts_with("/dev/dri/card") || node.starts_with("/dev/dri/renderD")) << node;
  }
}

}  // namespace
}  // namespace dmawire::test
