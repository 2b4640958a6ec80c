// SPDX-License-Identifier: MIT
//
// `uring_app bench`: its handling of words and numbers, and real, very small runs over loopback.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <sstream>
#include <stack>
#include <string>
#include <vector>

#include "commands/bench/baseline.hpp"
#include "commands/bench/message.hpp"
#include "commands/bench/pattern.hpp"
#include "commands/bench/plan.hpp"
#include "commands/bench/plot.hpp"
#include "commands/bench/proc.hpp"
#include "commands/bench/row.hpp"
#include "commands/bench/setup.hpp"
#include "commands/bench/table.hpp"
#include "transfer.hpp"

namespace dmawire::test {
namespace {

using namespace commands::bench;

/// A temporary file, empty until a test writes it.
class TemporaryName {
 public:
  TemporaryName() { ::close(::mkstemp(path_)); }
  explicit TemporaryName(const std::string& contents) : TemporaryName() {
    std::ofstream{path_} << contents;
  }
  ~TemporaryName() { ::unlink(path_); }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  [[nodiscard]] std::string path() const { return path_; }
  [[nodiscard]] std::string contents() const {
    std::ifstream stream{path_};
    return {std::istreambuf_iterator<char>{stream}, {}};
  }

 private:
  char path_[32] = "/tmp/dmawire-test.XXXXXX";
};

Process::Result bench(const Words& more) {
  Words words{URING_APP, "bench"};
  words.insert(words.end(), more.begin(), more.end());
  return run(words);
}

/// As small as a run can be and still be one.
Words tiny(const Words& more) {
  Words words{"--source", "memfd",     "--total", "1M",        "--repeats",
              "2",        "--warm-up", "0",       "--buffers", "64"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Row row(const std::string& path, std::uint64_t size, double cpu, double rate) {
  return {{"path", path},      {"proto", "tcp"},           {"size", size},
          {"depth", 64},       {"connections", 1},         {"cpu_s_per_gib", cpu},
          {"gib_per_s", rate}, {"syscalls_per_send", 0.1}, {"clock", "real"}};
}

std::string as_file(const std::vector<Row>& rows) {
  return Row(rows).dump();
}

/// Whether every element that is opened is closed, in order, and nothing else is amiss that would
/// make a viewer refuse it.
bool is_well_formed(const std::string& xml) {
  std::stack<std::string> open;
  for (std::size_t at = 0; (at = xml.find('<', at)) != std::string::npos;) {
    const std::size_t end = xml.find('>', at);
    if (end == std::string::npos) {
      return false;
    }
    const std::string tag = xml.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
    if (tag.find('<') != std::string::npos || std::count(tag.begin(), tag.end(), '"') % 2 != 0) {
      return false;
    }
    if (tag.front() == '/') {
      if (open.empty() || "/" + open.top() != tag) {
        return false;
      }
      open.pop();
    } else if (tag.back() != '/') {
      open.push(name);
    }
    at = end;
  }
  return open.empty();
}

TEST(BenchPlan, SplitsListsAndRefusesGaps) {
  EXPECT_EQ(split_list("a"), (std::vector<std::string>{"a"}));
  EXPECT_EQ(split_list("a,bc,d"), (std::vector<std::string>{"a", "bc", "d"}));
  for (const char* text : {"", ",", "a,", ",a", "a,,b"}) {
    EXPECT_THROW(split_list(text), std::invalid_argument) << text;
  }
}

TEST(BenchPlan, ParsesWholeNumbersWithinLimits) {
  EXPECT_EQ(parse_number("7", 1, 7), 7U);
  for (const char* text : {"0", "8", "-1", "1.5", "1x", "", " 1", "99999999999999999999"}) {
    EXPECT_THROW(static_cast<void>(parse_number(text, 1, 7)), std::invalid_argument) << text;
  }
}

TEST(BenchPlan, HasEveryCombination) {
  Plan plan;
  plan.paths = {Path::fixed, std::nullopt};
  plan.sizes = {1000, 2000, 3000};
  plan.gathers = {1, 16};
  plan.protocols = {Protocol::tcp, Protocol::udp};
  const std::vector<Case> cases = plan.cases();
  EXPECT_EQ(cases.size(), 24U);
  EXPECT_EQ(path_name(cases.front()), "fixed");
  EXPECT_EQ(path_name(cases.back()), "auto");
}

TEST(BenchPlan, ColdDataIsFarMoreThanHotAndBuffersSayOtherwise) {
  Plan plan;
  plan.data = {Data::cold, Data::hot};
  plan.sizes = {4096};
  const std::vector<Case> cases = plan.cases();
  EXPECT_EQ(cases.front().frames, 16'384U);
  EXPECT_EQ(cases.back().frames, 64U);
  plan.frames = {3};
  EXPECT_EQ(plan.cases().front().frames, 3U);
}

TEST(BenchRow, MedianIsInTheMiddle) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(median({7}), 7);
}

TEST(BenchRow, SpreadIsTheRangeInMedians) {
  EXPECT_DOUBLE_EQ(spread({1, 2, 4}), 1.5);
  EXPECT_EQ(spread({5}), 0);
  EXPECT_EQ(spread({0, 0}), 0);
}

TEST(BenchRow, TakesTimesInTheMiddleAndCountsThatBelongTogether) {
  std::vector<Measurement> runs(3);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    runs[i].statistics.bytes = 1ULL << 30;
    runs[i].statistics.notifications = 100 + i;
    runs[i].busy_seconds = 3.0 - static_cast<double>(i);
    runs[i].seconds = 1.0 + static_cast<double>(i);
    runs[i].device = "lo";
  }
  const Row made = make_row({.path = Path::fixed, .size = 4096}, runs);
  EXPECT_EQ(made["cpu_s_per_gib"], 2.0);
  EXPECT_EQ(made["seconds"], 2.0);
  EXPECT_EQ(made["gib_per_s"], 0.5);
  EXPECT_EQ(made["notifications"], 101);
  EXPECT_EQ(made["repeats"], 3);
  EXPECT_TRUE(made["zerocopied"].is_null());
  EXPECT_TRUE(made["error"].is_null());
}

TEST(BenchRow, HasTheSameKeysWhetherItFailedOrNot) {
  const Case what{.path = Path::direct, .size = 4096};
  const Row good = make_row(what, std::vector<Measurement>(1));
  const Row bad = make_error_row(what, "no");
  ASSERT_EQ(good.size(), bad.size());
  for (const auto& [key, value] : good.items()) {
    EXPECT_TRUE(bad.contains(key)) << key;
  }
  EXPECT_EQ(bad["error"], "no");
}

std::optional<std::vector<Row>> parsed(const Row& one, RowKind kind = RowKind::transfer) {
  std::istringstream text{as_file({one})};
  return parse_rows(text, kind);
}

Row with(Row row, const char* key, const Row& value) {
  row[key] = value;
  return row;
}

TEST(BenchRow, WithFiguresThatNoClockMakesIsRefused) {
  const Row good = row("direct", 4096, 1, 1);
  EXPECT_TRUE(parsed(good));
  EXPECT_TRUE(parsed(with(good, "spread", nullptr)));
  for (const char* key : {"size", "depth", "connections"}) {
    for (const Row& value :
         {Row(0), Row(-1), Row(1.5), Row(1e300), Row(UINT64_MAX), Row(nullptr)}) {
      EXPECT_FALSE(parsed(with(good, key, value))) << key << ' ' << value;
    }
  }
  for (const char* key : {"cpu_s_per_gib", "gib_per_s", "gib_per_s_min", "spread", "merged"}) {
    for (const Row& value : {Row(-1), Row(1e308), Row(5e-324), Row("1"), Row::array()}) {
      EXPECT_FALSE(parsed(with(good, key, value))) << key << ' ' << value;
    }
  }
  EXPECT_FALSE(parsed(with(good, "more", Row::parse("[[[]]]"))));
}

TEST(BenchRow, OfSetupHasAllFiguresOrSaysWhyNot) {
  const Row good{{"path", "fixed"},       {"source", "memfd"},     {"layout", "pages"},
                 {"bytes", 4096},         {"create_seconds", 0.1}, {"register_seconds", 0.1},
                 {"seconds", 0.2},        {"release_seconds", 0},  {"locked_bytes", 0},
                 {"page_table_bytes", 0}, {"error", nullptr}};
  EXPECT_TRUE(parsed(good, RowKind::setup));
  const Row half = with(good, "create_seconds", nullptr);
  EXPECT_FALSE(parsed(half, RowKind::setup));
  const auto failed = parsed(with(half, "error", "refused"), RowKind::setup);
  ASSERT_TRUE(failed);
  EXPECT_NE(format_setup_table(*failed).find("refused"), std::string::npos);
}

TEST(BenchTable, TakesRowsOfBeforeNotificationsWereMerged) {
  Row old = row("direct", 4096, 1, 1);
  old["notifications"] = 4;
  old["zerocopied"] = 3;
  EXPECT_NE(format_table(std::vector<Row>{old}).find("75.0 %"), std::string::npos);
}

TEST(BenchProc, ReadsFieldsInBytesAndPassesOverWhatIsNone) {
  const auto field = [](const char* text) {
    std::istringstream file{text};
    return parse_kernel_field(file, "VmLck");
  };
  EXPECT_EQ(field("VmPeak:\t 8 kB\nVmLck:\t      64 kB\n"), 65'536U);
  for (const char* text : {"", "VmLck", "VmLck:", "VmLck: x", "VmLckX: 1", "VmLck: -1",
                           "VmLck: 99999999999999999999", "VmLck: 18446744073709551615"}) {
    EXPECT_EQ(field(text), 0U) << text;
  }
}

TEST(BenchProc, AddsUpWhatCpusDidNotWork) {
  const auto idle = [](const char* text) {
    std::istringstream file{text};
    return parse_idle_ticks(file);
  };
  EXPECT_EQ(idle("cpu  1 2 4 8 16 32 64 128 256 0\n"), 8 + 16 + 128);
  EXPECT_FALSE(idle("cpu  1 2 4 8"));
  EXPECT_FALSE(idle("cpu  a"));
}

TEST(BenchMessage, IsWholeAndItsTextEndsWithIt) {
  Message message{.kind = Message::Kind::failed};
  message.text.fill('x');
  const auto bytes = std::as_bytes(std::span{&message, 1});
  EXPECT_EQ(parse_message(bytes)->text_string().size(), message.text.size());
  EXPECT_FALSE(parse_message(bytes.first(bytes.size() - 1)));
  EXPECT_FALSE(parse_message({}));
  std::vector<std::byte> longer{bytes.begin(), bytes.end()};
  longer.emplace_back();
  EXPECT_FALSE(parse_message(longer));
}

TEST(BenchBaseline, FindsWhatGotWorsePastTheTolerance) {
  const std::vector<Row> before{row("fixed", 4096, 1.0, 1), row("copy", 4096, 2.0, 1)};
  const std::vector<Row> now{row("fixed", 4096, 1.2, 1), row("copy", 4096, 2.1, 1),
                             row("direct", 4096, 1.0, 1)};
  const Comparison at_ten = compare(now, before, 10);
  EXPECT_EQ(at_ten.compared, 2U);
  ASSERT_EQ(at_ten.worse.size(), 1U);
  EXPECT_NE(at_ten.worse.front().find("path fixed"), std::string::npos) << at_ten.worse.front();
  EXPECT_NE(at_ten.worse.front().find("+20.0 %"), std::string::npos) << at_ten.worse.front();
  EXPECT_EQ(at_ten.unmatched.size(), 1U);
  EXPECT_TRUE(compare(now, before, 30).worse.empty());
}

TEST(BenchBaseline, ARowThatFailsNowIsWorse) {
  Row failed = row("fixed", 4096, 1, 1);
  failed["cpu_s_per_gib"] = nullptr;
  failed["error"] = "refused";
  EXPECT_EQ(compare(std::vector<Row>{failed}, std::vector<Row>{row("fixed", 4096, 1, 1)}, 10)
                .worse.size(),
            1U);
}

TEST(BenchPlot, IsWellFormedWhateverTheRowsHold) {
  std::vector<Row> rows;
  EXPECT_TRUE(is_well_formed(format_plot(rows)));
  for (const char* path : {"direct", "fixed", "<&\">"}) {
    for (const std::uint64_t size : {1472, 4096, 65'000}) {
      rows.push_back(row(path, size, 0.01 * static_cast<double>(size), 3));
      const std::string plot = format_plot(rows);
      EXPECT_TRUE(is_well_formed(plot)) << plot;
      EXPECT_EQ(plot.find("nan"), std::string::npos);
      EXPECT_EQ(plot.find("inf"), std::string::npos);
    }
  }
  const std::string plot = format_plot(rows);
  for (const char* word : {"direct", "GiB/s", "s per GiB", "1472 B", "4 KiB", "size of a frame"}) {
    EXPECT_NE(plot.find(word), std::string::npos) << word;
  }
}

TEST(BenchPlot, LeavesOutWhatWasNotMeasured) {
  Row failed = row("direct", 4096, 1, 1);
  failed["cpu_s_per_gib"] = nullptr;
  const std::string plot = format_plot(std::vector<Row>{failed, row("copy", 4096, 0, 1)});
  EXPECT_EQ(plot.find("direct"), std::string::npos);
  EXPECT_TRUE(is_well_formed(plot));
  EXPECT_EQ(plot.find("nan"), std::string::npos);
  EXPECT_EQ(plot.find("inf"), std::string::npos);
}

TEST(BenchCsv, HasAHeadAndQuotesText) {
  Row failed = row("direct", 4096, 1, 1);
  failed["error"] = "said \"no\", twice";
  failed["cpu_s_per_gib"] = nullptr;
  const std::string csv = format_csv(std::vector<Row>{failed});
  EXPECT_EQ(csv.substr(0, 30), "path,proto,size,depth,connecti");
  EXPECT_NE(csv.find("\"said \"\"no\"\", twice\""), std::string::npos) << csv;
  EXPECT_NE(csv.find("\"direct\",\"tcp\",4096,64,1,,1.0"), std::string::npos) << csv;
}

TEST(BenchTable, SaysOnceWhatIsTheSame) {
  const std::string table =
      format_table(std::vector<Row>{row("fixed", 4096, 1, 1), row("copy", 8192, 1, 1)});
  EXPECT_EQ(table.find("depth 64"), table.rfind("depth 64"));
  EXPECT_NE(table.find("4 KiB"), std::string::npos);
  EXPECT_NE(table.find("8 KiB"), std::string::npos);
}

TEST(BenchPattern, TellsWhetherItIsWhole) {
  for (const std::size_t size : {8U, 9U, 1472U, 4096U}) {
    std::vector<std::byte> frame(size);
    fill_pattern(frame, 3);
    EXPECT_TRUE(is_pattern(frame)) << size;
    frame[size / 2] ^= std::byte{1};
    EXPECT_FALSE(is_pattern(frame)) << size;
  }
  std::vector<std::byte> one(4096);
  std::vector<std::byte> other(4096);
  fill_pattern(one, 1);
  fill_pattern(other, 2);
  EXPECT_NE(one, other);
}

TEST(Bench, MisuseIsStatusTwo) {
  const Words misuses[] = {{"--tx", "pigeon"},
                           {"--tx", "fixed,,copy"},
                           {"--size", "12Q"},
                           {"--size", "0"},
                           {"--depth", "0"},
                           {"--gather", "65"},
                           {"--proto", "sctp"},
                           {"--layout", "round"},
                           {"--repeats", "0"},
                           {"--total", "1M", "--time", "1"},
                           {"--json", "--csv"},
                           {"--netns", "a"},
                           {"--netns", "a,b,c"},
                           {"127.0.0.1:1", "--netns", "a,b"},
                           {"127.0.0.1"},
                           {"--setup", "--plot", "x"},
                           {"--device", "1"},
                           {"--memory", "--plot", "x"},
                           {"--setup", "--populate"},
                           {"--populate", "--plot", "x"}};
  for (const Words& misuse : misuses) {
    const Process::Result result = bench(misuse);
    EXPECT_EQ(result.status, 2) << misuse.back() << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(result.err.empty());
  }
}

TEST(Bench, PrintsRowsWithAllTheKeysThatOtherToolsRead) {
  const Process::Result result =
      bench(tiny({"--tx", "fixed,plain,msg,copy,auto", "--size", "4K,16K", "--verify", "--json"}));
  ASSERT_EQ(result.status, 0) << result.err;
  const auto rows = nlohmann::json::parse(result.out);
  ASSERT_EQ(rows.size(), 10U);
  for (const auto& one : rows) {
    for (const char* key : {"path", "proto", "size", "depth", "connections", "bytes", "seconds",
                            "gib_per_s", "sends_per_s", "cpu_s_per_gib", "syscalls_per_send",
                            "notifications", "zerocopied", "copied", "merged", "clock"}) {
      EXPECT_TRUE(one.contains(key)) << key;
    }
    EXPECT_TRUE(one["error"].is_null()) << one["error"];
    EXPECT_EQ(one["bytes"], 1 << 20);
    EXPECT_EQ(one["received_bytes"], 1 << 20);
    EXPECT_EQ(one["verified"], true) << one["path"];
    EXPECT_EQ(one["device"], "lo");
    EXPECT_EQ(one["repeats"], 2);
  }
}

TEST(Bench, SharesFramesAmongConnections) {
  const Process::Result result =
      bench(tiny({"--tx", "fixed", "--size", "4K", "--connections", "3", "--verify", "--json"}));
  ASSERT_EQ(result.status, 0) << result.err;
  const auto rows = nlohmann::json::parse(result.out);
  EXPECT_EQ(rows[0]["verified"], true);
  EXPECT_EQ(rows[0]["connections"], 3);
}

TEST(Bench, SendsDatagrams) {
  const Process::Result result =
      bench(tiny({"--tx", "fixed,copy", "--proto", "udp", "--size", "1472", "--verify", "--json"}));
  ASSERT_EQ(result.status, 0) << result.err;
  for (const auto& one : nlohmann::json::parse(result.out)) {
    EXPECT_EQ(one["proto"], "udp");
    EXPECT_EQ(one["verified"], true);
  }
}

TEST(Bench, APathThatIsNotPossibleIsARowWithTheReason) {
  const Process::Result result = bench(tiny({"--tx", "direct,copy", "--size", "4K", "--json"}));
  ASSERT_EQ(result.status, 0) << result.err;
  const auto rows = nlohmann::json::parse(result.out);
  EXPECT_TRUE(rows[0]["error"].is_string());
  EXPECT_TRUE(rows[0]["cpu_s_per_gib"].is_null());
  EXPECT_TRUE(rows[1]["error"].is_null());
}

TEST(Bench, WithNoPossiblePathItIsNotPossible) {
  const Process::Result result = bench(tiny({"--tx", "direct", "--json"}));
  EXPECT_EQ(result.status, 3) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("direct"), std::string::npos) << result.err;
}

TEST(Bench, SaysThatNobodyReceives) {
  const Process::Result result = bench(tiny({"127.0.0.1:1", "--tx", "copy"}));
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("nothing listens there"), std::string::npos) << result.err;
}

TEST(Bench, SendsToAReceiverThatIsThereAlready) {
  class Receiver receiver {
    {
      "--again"
    }
  };
  const Process::Result result = bench(tiny({"127.0.0.1:" + receiver.port(), "--tx", "fixed,copy",
                                             "--size", "4K", "--connections", "2", "--json"}));
  ASSERT_EQ(result.status, 0) << result.err;
  for (const auto& one : nlohmann::json::parse(result.out)) {
    EXPECT_TRUE(one["error"].is_null()) << one["error"];
    EXPECT_EQ(one["bytes"], 1 << 20);
  }
}

TEST(Bench, StopsAfterTheTime) {
  const Process::Result result =
      bench({"--source", "memfd", "--tx", "copy", "--size", "4K", "--repeats", "1", "--warm-up",
             "0", "--time", "0.1", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto rows = nlohmann::json::parse(result.out);
  EXPECT_GE(rows[0]["seconds"], 0.1);
  EXPECT_LT(rows[0]["seconds"], 10);
}

TEST(Bench, ComparesWithABaselineAndFailsWhenItGotWorse) {
  const TemporaryName before{as_file({row("fixed", 4096, 1.0, 1), row("copy", 4096, 2.0, 1)})};
  const TemporaryName same{as_file({row("fixed", 4096, 1.05, 1), row("copy", 4096, 1.5, 1)})};
  const TemporaryName worse{as_file({row("fixed", 4096, 1.5, 1), row("copy", 4096, 1.5, 1)})};
  const TemporaryName other{as_file({row("plain", 4096, 1.5, 1)})};
  EXPECT_EQ(bench({"--from", same.path(), "--baseline", before.path()}).status, 0);
  const Process::Result result =
      bench({"--from", worse.path(), "--baseline", before.path(), "--tolerance", "20"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("worse: path fixed"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("1 of 2 rows"), std::string::npos) << result.err;
  EXPECT_FALSE(result.out.empty());
  EXPECT_EQ(
      bench({"--from", worse.path(), "--baseline", before.path(), "--tolerance", "60"}).status, 0);
  EXPECT_EQ(bench({"--from", other.path(), "--baseline", before.path()}).status, 1);
}

TEST(Bench, RefusesFilesThatAreNotItsOwn) {
  const TemporaryName before{"[{\"path\": 7}]"};
  const TemporaryName text{"hello"};
  for (const TemporaryName* file : {&before, &text}) {
    const Process::Result result = bench({"--from", file->path()});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.err.find("does not hold what"), std::string::npos) << result.err;
  }
  EXPECT_EQ(bench({"--from", "/nonexistent"}).status, 1);
}

TEST(Bench, DrawsAndListsWhatItMeasured) {
  const TemporaryName plot;
  const Process::Result result =
      bench(tiny({"--tx", "fixed,copy", "--size", "4K,16K", "--csv", "--plot", plot.path()}));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_TRUE(
      result.out.starts_with("path,proto,size,depth,connections,bytes,seconds,gib_per_s,"
                             "sends_per_s,cpu_s_per_gib,syscalls_per_send,notifications,"
                             "zerocopied,copied,merged,clock,"))
      << result.out;
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 5);
  EXPECT_TRUE(is_well_formed(plot.contents()));
}

TEST(Bench, MeasuresSettingUp) {
  const Process::Result result = bench({"--setup", "--source", "memfd", "--tx", "fixed", "--size",
                                        "4M", "--repeats", "2", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto rows = nlohmann::json::parse(result.out);
  EXPECT_EQ(rows[0]["bytes"], 4 << 20);
  EXPECT_GT(rows[0]["seconds"], 0);
  EXPECT_GE(rows[0]["mapped_bytes"], 4 << 20);
  const Process::Result too_much = bench({"--setup", "--source", "memfd", "--size", "4M,1000T"});
  ASSERT_EQ(too_much.status, 0) << too_much.err;
  EXPECT_NE(too_much.out.find("is too much"), std::string::npos) << too_much.out;
}

TEST(Bench, MeasuresTheFirstTouchOfMemory) {
  const Words words{"--populate", "--source", "memfd", "--size", "4M,1000T", "--repeats", "2"};
  const Process::Result table = bench(words);
  ASSERT_EQ(table.status, 0) << table.err;
  EXPECT_NE(table.out.find("is too much"), std::string::npos) << table.out;
  Words json{words};
  json.emplace_back("--json");
  const auto rows = nlohmann::json::parse(bench(json).out);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["bytes"], 4 << 20);
  EXPECT_GE(rows[0]["faults"], 1);
  for (const char* key : {"fault_seconds", "populate_seconds", "touch_seconds"}) {
    EXPECT_GT(rows[0][key], 0) << key;
    EXPECT_TRUE(rows[1][key].is_null()) << key;
  }
}

}  // namespace
}  // namespace dmawire::test
