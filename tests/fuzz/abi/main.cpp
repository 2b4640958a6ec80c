// SPDX-License-Identifier: MIT
//
// Searches for sequences of calls that the module does not handle. Needs root, the module, and a
// kernel with KCOV and with debug checks that panic: KASAN, lockdep and similar detect half of the
// bugs. abi_rules.hpp detects the other half.

#include <getopt.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "batch.hpp"

namespace dmawire::fuzz {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int found_something = 1;
constexpr int wrong_usage = 2;
constexpr int no_coverage = 3;

constexpr const char* usage_text =
    "usage: dmawire_abi_fuzz --seconds N [--seed S] [--corpus DIR] [--out DIR] [--blind]\n"
    "  --corpus DIR  runs the inputs of DIR/*.txt first, even if that takes longer than N\n"
    "  --out DIR     writes what is worth keeping to DIR/corpus.txt; with `-` for DIR to standard\n"
    "                output, and the report to standard error\n"
    "  --blind       without KCOV: the inputs of the corpus, and changes of them at random\n"
    "exit status: 1 something was found, or hardly anything was done; 2 wrong usage; 3 this "
    "kernel\n"
    "has no KCOV\n";

struct Options {
  std::chrono::seconds time{0};
  std::uint64_t seed = 1;
  std::string corpus;
  std::string out;
  bool blind = false;
};

std::vector<Input> read_corpus(const std::string& directory) {
  std::vector<Input> inputs;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator{directory}) {
    if (entry.path().extension() == ".txt") {
      files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  for (const fs::path& path : files) {
    std::ostringstream text;
    text << std::ifstream{path}.rdbuf();
    std::ranges::move(parse_inputs(text.str()), std::back_inserter(inputs));
  }
  return inputs;
}

/// The inputs that reached new features when they were added, and the features of all of them.
class Corpus {
 public:
  void consider(const Input& input, std::span<const Feature> features) {
    bool is_new = false;
    for (const Feature feature : features) {
      is_new = is_new || !seen_[feature];
      points_ += is_point(feature) && !seen_[feature] ? 1 : 0;
      seen_[feature] = true;
    }
    if (is_new) {
      inputs_.push_back(input);
      features_.emplace_back();
      std::ranges::copy_if(features, std::back_inserter(features_.back()),
                           [](Feature feature) { return !is_edge(feature); });
    }
  }

  [[nodiscard]] const std::vector<Input>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] std::size_t points() const noexcept { return points_; }

  /// Few and short inputs that pass all points and see all results.
  [[nodiscard]] std::vector<Input> essence() const {
    std::vector<std::size_t> order(inputs_.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      order[i] = i;
    }
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return inputs_[i].calls.size(); });
    std::vector<unsigned> times(end_of_features);
    std::erase_if(order, [&](std::size_t i) { return !adds(features_[i], times); });
    std::vector<Input> kept;
    for (auto i = order.rbegin(); i != order.rend(); ++i) {
      if (!is_covered_without(features_[*i], times)) {
        kept.push_back(inputs_[*i]);
      }
    }
    std::ranges::reverse(kept);
    return kept;
  }

 private:
  static bool adds(const std::vector<Feature>& features, std::vector<unsigned>& times) {
    if (std::ranges::none_of(features, [&](Feature feature) { return times[feature] == 0; })) {
      return false;
    }
    for (const Feature feature : features) {
      ++times[feature];
    }
    return true;
  }
  static bool is_covered_without(const std::vector<Feature>& features,
                                 std::vector<unsigned>& times) {
    if (std::ranges::any_of(features, [&](Feature feature) { return times[feature] == 1; })) {
      return false;
    }
    for (const Feature feature : features) {
      --times[feature];
    }
    return true;
  }

  std::vector<Input> inputs_;
  std::vector<std::vector<Feature>> features_;  ///< of each, without edges
  std::vector<bool> seen_ = std::vector<bool>(end_of_features);
  std::size_t points_ = 0;
};

class Fuzzer {
 public:
  explicit Fuzzer(const Options& options)
      : options_(options), mutator_(options.seed), runner_(options.blind) {}

  int run();

 private:
  bool run_batch(std::span<const Input> inputs);
  bool replay(std::span<const Input> inputs);
  std::vector<Input> next_batch();
  void report_finding(std::span<const Input> inputs, const BatchRunner::Finding& finding);
  void name_culprit(std::span<const Input> inputs);
  void write_corpus(const std::vector<Input>& inputs) const;
  [[nodiscard]] int verdict(double seconds) const;

  const Options& options_;
  Mutator mutator_;
  BatchRunner runner_;
  Corpus corpus_;
  std::size_t executions_ = 0;
};

bool Fuzzer::run_batch(std::span<const Input> inputs) {
  const std::optional<BatchRunner::Finding> finding = runner_.run(inputs);
  if (finding) {
    report_finding(inputs, *finding);
    return false;
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    corpus_.consider(inputs[i], runner_.features(i));
  }
  executions_ += inputs.size();
  return true;
}

void Fuzzer::report_finding(std::span<const Input> inputs, const BatchRunner::Finding& finding) {
  std::printf("fuzz: FOUND after %zu executions: %s\n", executions_, finding.what.c_str());
  if (finding.input) {
    std::printf("by\n%s\n", to_text(inputs[*finding.input]).c_str());
  } else {
    name_culprit(inputs);
  }
}

/// Which of them leaves something behind, if one does it alone.
void Fuzzer::name_culprit(std::span<const Input> inputs) {
  for (const Input& input : inputs) {
    const std::optional<BatchRunner::Finding> finding = runner_.run({&input, 1});
    std::printf("%s\n%s\n", finding ? "with this one it is again or still so:" : "not by",
                to_text(input).c_str());
  }
}

bool Fuzzer::replay(std::span<const Input> inputs) {
  while (!inputs.empty()) {
    const std::size_t count = std::min(inputs.size(), BatchRunner::most);
    if (!run_batch(inputs.first(count))) {
      return false;
    }
    inputs = inputs.subspan(count);
  }
  return true;
}

std::vector<Input> Fuzzer::next_batch() {
  constexpr std::size_t fresh_one_in = 8;
  std::vector<Input> batch;
  for (std::size_t i = 0; i < BatchRunner::most; ++i) {
    const bool fresh = corpus_.inputs().empty() || mutator_.below(fresh_one_in) == 0;
    batch.push_back(fresh ? mutator_.make() : mutator_.change(corpus_.inputs()));
  }
  return batch;
}

void Fuzzer::write_corpus(const std::vector<Input>& inputs) const {
  std::string text = "# SPDX-License-Identifier: MIT\n";
  for (const Input& input : inputs) {
    text += to_text(input) + '\n';
  }
  if (options_.out == "-") {
    std::cout << text << std::flush;
  } else if (!options_.out.empty()) {
    std::ofstream{fs::path{options_.out} / "corpus.txt"} << text;
  }
}

int Fuzzer::verdict(double seconds) const {
  constexpr double fewest_a_second = 2;  // on the slowest machine there are ten times as many
  if (static_cast<double>(executions_) < fewest_a_second * seconds) {
    std::printf("fuzz: that is too few to say anything\n");
    return found_something;
  }
  if (corpus_.points() == 0 && !options_.blind) {
    std::printf("fuzz: no point of dmawire was seen: it is not instrumented\n");
    return found_something;
  }
  return EXIT_SUCCESS;
}

int Fuzzer::run() {
  const std::vector<Input> before =
      options_.corpus.empty() ? std::vector<Input>{} : read_corpus(options_.corpus);
  const Clock::time_point begin = Clock::now();
  if (!replay(before)) {
    return found_something;
  }
  while (Clock::now() < begin + options_.time) {
    if (!run_batch(next_batch())) {
      return found_something;
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const std::vector<Input> essence = corpus_.essence();
  write_corpus(essence);
  std::fprintf(options_.out == "-" ? stderr : stdout,
               "fuzz: %zu executions in %.0f s, %zu program points of dmawire reached, %zu inputs "
               "in the corpus\n",
               executions_, seconds, corpus_.points(), essence.size());
  return verdict(seconds);
}

[[noreturn]] void refuse() {
  std::fputs(usage_text, stderr);
  std::exit(wrong_usage);
}

Options parse(int argc, char** argv) {
  static constexpr option known[] = {
      {"seconds", required_argument, nullptr, 't'}, {"seed", required_argument, nullptr, 's'},
      {"corpus", required_argument, nullptr, 'c'},  {"out", required_argument, nullptr, 'o'},
      {"blind", no_argument, nullptr, 'b'},         {}};
  Options options;
  for (int name = 0; (name = ::getopt_long(argc, argv, "", known, nullptr)) != -1;) {
    switch (name) {
      case 't':
        options.time = std::chrono::seconds{std::atol(optarg)};
        break;
      case 's':
        options.seed = std::strtoull(optarg, nullptr, 0);
        break;
      case 'c':
        options.corpus = optarg;
        break;
      case 'o':
        options.out = optarg;
        break;
      case 'b':
        options.blind = true;
        break;
      default:
        refuse();
    }
  }
  if (optind != argc || options.time.count() < 1) {
    refuse();
  }
  return options;
}

}  // namespace
}  // namespace dmawire::fuzz

int main(int argc, char** argv) {
  using namespace dmawire::fuzz;
  const Options options = parse(argc, argv);
  if (!options.blind && !std::filesystem::exists("/sys/kernel/debug/kcov")) {
    std::fputs("fuzz: /sys/kernel/debug/kcov is not there: no KCOV, or no debugfs\n", stderr);
    return no_coverage;
  }
  try {
    return Fuzzer{options}.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz: %s\n", error.what());
    return found_something;
  }
}
