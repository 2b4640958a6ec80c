// SPDX-License-Identifier: MIT
#include "slowest_tests.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <iterator>
#include <vector>

namespace dmawire::test {
namespace {

constexpr std::ptrdiff_t max_printed = 20;

}  // namespace

void SlowestTests::OnTestProgramEnd(const testing::UnitTest& tests) {
  std::vector<const testing::TestInfo*> infos;
  for (int i = 0; i < tests.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *tests.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j) {
      if (suite.GetTestInfo(j)->should_run()) {
        infos.push_back(suite.GetTestInfo(j));
      }
    }
  }
  if (std::ssize(infos) <= max_printed) {
    return;
  }
  std::ranges::partial_sort(infos, infos.begin() + max_printed, std::greater{},
                            [](const auto* info) { return info->result()->elapsed_time(); });
  infos.resize(max_printed);
  int64_t sum = 0;
  for (const testing::TestInfo* info : infos) {
    sum += info->result()->elapsed_time();
    printf("slow: %6" PRId64 " ms %s.%s\n", int64_t{info->result()->elapsed_time()},
           info->test_suite_name(), info->name());
  }
  printf("slow: %" PRId64 " of %" PRId64 " ms in these %td\n", sum, int64_t{tests.elapsed_time()},
         max_printed);
}

}  // namespace dmawire::test
