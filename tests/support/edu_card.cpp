// SPDX-License-Identifier: MIT
#include "edu_card.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>

#include <dmawire/unique_fd.hpp>

#include "guest.hpp"

namespace dmawire::test {

EduCard::EduCard() {
  for (const auto& entry : std::filesystem::directory_iterator{"/sys/bus/pci/devices"}) {
    const std::string path = entry.path();
    if (read_text(path + "/vendor") == "0x1234\n" && read_text(path + "/device") == "0x11e8\n") {
      path_ = path;
    }
  }
}

void EduCard::cut_off() const {
  constexpr off_t command_register = 4;
  constexpr std::uint16_t bus_master = 4;
  const UniqueFd config{::open((path_ + "/config").c_str(), O_RDWR | O_CLOEXEC)};
  std::uint16_t command = 0;
  ASSERT_EQ(::pread(config.get(), &command, sizeof(command), command_register), 2);
  command &= static_cast<std::uint16_t>(~bus_master);
  ASSERT_EQ(::pwrite(config.get(), &command, sizeof(command), command_register), 2);
}

std::string EduCard::driver_parameters() {
  const std::string line = read_text("/proc/cmdline");
  const std::string prefix = "dmawire_edu.";
  const std::size_t begin = line.find(prefix);
  if (begin == std::string::npos) {
    return {};
  }
  const std::size_t end = line.find_first_of(" \n", begin);
  return line.substr(begin + prefix.size(), end - begin - prefix.size());
}

bool EduCard::tell_driver(const std::string& file) const {
  return write_text("/sys/bus/pci/drivers/dmawire_edu/" + file,
                    std::filesystem::path{path_}.filename());
}

}  // namespace dmawire::test
