// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <linux/videodev2.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include <dmawire/unique_fd.hpp>
#include "guest.hpp"

namespace dmawire::test {

/// The cameras of the kernel's virtual video driver, as load_vivid() has it make them: webcams,
/// without the other inputs.
enum class VividCamera {
  vmap,    ///< writes to a dma-buf through vmap
  dma,     ///< maps it for DMA, and wants it in one piece
  planes,  ///< speaks the multi-planar interface
};

/// False if the kernel has no vivid.
inline bool load_vivid() {
  return in_child([] {
           execlp("modprobe", "modprobe", "-q", "vivid", "n_devs=3", "allocators=0,1,0",
                  "node_types=0x1,0x1,0x1", "multiplanar=1,1,2", "num_inputs=1,1,1",
                  "input_types=0,0,0", nullptr);
           return 127;
         }) == 0;
}

/// All of its nodes must be closed. False if it is still loaded.
inline bool unload_vivid() {
  return in_child([] {
           execlp("modprobe", "modprobe", "-r", "vivid", nullptr);
           return 127;
         }) == 0;
}

/// The node of one of the cameras; empty if it does not exist.
inline std::string vivid_node(VividCamera camera) {
  const std::string bus = "platform:vivid-00" + std::to_string(static_cast<int>(camera));
  for (int number = 0; number < 16; ++number) {
    std::string path = "/dev/video" + std::to_string(number);
    const UniqueFd node{open(path.c_str(), O_RDWR | O_CLOEXEC)};
    v4l2_capability capability{};
    if (node.valid() && ioctl(node.get(), VIDIOC_QUERYCAP, &capability) == 0 &&
        bus == reinterpret_cast<const char*>(capability.bus_info)) {
      return path;
    }
  }
  return {};
}

}  // namespace dmawire::test
