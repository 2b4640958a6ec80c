// SPDX-License-Identifier: MIT
#pragma once

#include "sys.hpp"

namespace dmawire::test {

/// Puts the library's table of system calls back at the end of a test that changed entries of it.
class FakeSys {
 public:
  FakeSys() : real_(sys()) {}
  ~FakeSys() { sys() = real_; }
  FakeSys(const FakeSys&) = delete;
  FakeSys& operator=(const FakeSys&) = delete;

  Sys* operator->() noexcept { return &sys(); }

 private:
  const Sys real_;
};

}  // namespace dmawire::test
