// SPDX-License-Identifier: MIT
#include "call_timer.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "guest.hpp"

namespace dmawire::test {
namespace {

const std::string tracing = "/sys/kernel/tracing/";

}  // namespace

CallTimer::CallTimer(const std::vector<std::string>& functions) {
  // Each write takes one.
  for (const std::string& function : functions) {
    std::ofstream filter{tracing + "set_ftrace_filter", std::ios::app};
    EXPECT_TRUE(filter << function << std::endl) << "this kernel does not trace " << function;
  }
  EXPECT_TRUE(write_text(tracing + "current_tracer", "function_graph"));
  EXPECT_TRUE(write_text(tracing + "options/funcgraph-tail", "1"));
}

CallTimer::~CallTimer() {
  EXPECT_TRUE(write_text(tracing + "current_tracer", "nop"));
  EXPECT_TRUE(write_text(tracing + "set_ftrace_filter", "\n"));
}

double CallTimer::microseconds_in(const std::string& function) const {
  // " 1)  10.123 us    |    inner();" and " 1) ! 645.310 us   |  } /* outer [module] */"
  std::istringstream lines{read_text(tracing + "trace")};
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    const size_t unit = line.find(" us ");
    if (unit == std::string::npos || line.find(function, unit) == std::string::npos)
      continue;
    const size_t number = line.find_last_not_of("0123456789.", unit - 1) + 1;
    sum += std::stod(line.substr(number, unit - number));
  }
  EXPECT_GT(sum, 0) << function << " was not called";
  return sum;
}

}  // namespace dmawire::test
