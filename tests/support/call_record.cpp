// SPDX-License-Identifier: MIT
#include "call_record.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "guest.hpp"

namespace dmawire::test {
namespace {

const std::string tracing = "/sys/kernel/tracing/";
const std::string group = "dmawire_record";

}  // namespace

CallRecord::CallRecord(std::string function, size_t arguments)
    : name_(std::move(function)),
      instance_(tracing + "instances/" + group + "_" + name_),
      arguments_(arguments) {
  std::string probe = "p:" + group + "/" + name_ + " " + name_;
  for (size_t i = 0; i < arguments_; ++i)
    probe += " a" + std::to_string(i) + "=$arg" + std::to_string(i + 1) + ":x64";
  works_ = write_text(tracing + "kprobe_events", probe);
  if (!works_)
    return;
  EXPECT_EQ(mkdir(instance_.c_str(), 0700), 0) << instance_;
  EXPECT_TRUE(write_text(instance_ + "/buffer_size_kb", "4096"));
  EXPECT_TRUE(write_text(instance_ + "/events/" + group + "/" + name_ + "/enable", "1"));
}

CallRecord::~CallRecord() {
  if (!works_)
    return;
  write_text(instance_ + "/events/" + group + "/" + name_ + "/enable", "0");
  rmdir(instance_.c_str());
  write_text(tracing + "kprobe_events", "-:" + group + "/" + name_);
}

std::vector<std::vector<uint64_t>> CallRecord::calls() const {
  std::ifstream trace{instance_ + "/trace"};
  std::vector<std::vector<uint64_t>> calls;
  for (std::string line; std::getline(trace, line);) {
    EXPECT_EQ(line.find("LOST"), std::string::npos) << "the trace buffer is too small";
    std::vector<uint64_t> call;
    for (size_t i = 0; i < arguments_; ++i) {
      const std::string key = " a" + std::to_string(i) + "=";
      const size_t at = line.find(key);
      if (at != std::string::npos)
        call.push_back(std::stoull(line.substr(at + key.size()), nullptr, 16));
    }
    if (!call.empty() && call.size() == arguments_)
      calls.push_back(std::move(call));
  }
  return calls;
}

}  // namespace dmawire::test
