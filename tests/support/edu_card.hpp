// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace dmawire::test {

/// QEMU's teaching device, by the files that sysfs has for it. Its driver is dmawire_edu.
class EduCard {
 public:
  EduCard();

  [[nodiscard]] bool present() const { return !path_.empty(); }
  /// Its directory in sysfs.
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Forbids it to reach memory, interrupts included, as if its link was cut. Starting a run allows
  /// it again.
  void cut_off() const;
  [[nodiscard]] bool bind() const { return tell_driver("bind"); }
  [[nodiscard]] bool unbind() const { return tell_driver("unbind"); }

  /// The driver's parameters for modprobe on the kernel's command line.
  static std::string driver_parameters();

 private:
  bool tell_driver(const std::string& file) const;

  std::string path_;
};

}  // namespace dmawire::test
