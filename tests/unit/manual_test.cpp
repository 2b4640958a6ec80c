// SPDX-License-Identifier: MIT
//
// The manual pages and the completion, checked against the program's own help and the ABI's header.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "process.hpp"

namespace dmawire::test {
namespace {

using Names = std::set<std::string>;

const std::filesystem::path source{DMAWIRE_SOURCE_DIR};

std::string read(const std::filesystem::path& path) {
  std::ifstream file{path};
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// The first group of every match of `pattern`.
std::vector<std::string> all_matches(const std::string& text, const std::string& pattern) {
  const std::regex regex{pattern, std::regex::ECMAScript | std::regex::multiline};
  std::vector<std::string> found;
  std::transform(std::sregex_iterator{text.begin(), text.end(), regex}, {},
                 std::back_inserter(found),
                 [](const std::smatch& match) { return match[1].str(); });
  return found;
}

Names names_in(const std::string& text, const std::string& pattern) {
  const std::vector<std::string> found = all_matches(text, pattern);
  return {found.begin(), found.end()};
}

std::string help_of(const std::string& command, const std::string& action = "") {
  std::vector<std::string> words{URING_APP};
  for (const std::string& word : {command, action}) {
    if (!word.empty()) {
      words.push_back(word);
    }
  }
  words.emplace_back("--help");
  const Process::Result result = run(words);
  EXPECT_EQ(result.status, 0) << result.err;
  return result.out;
}

/// The names under "Subcommands:".
Names commands_in(const std::string& help) {
  const std::size_t begin = help.find("Subcommands:");
  return begin == std::string::npos ? Names{} : names_in(help.substr(begin), "^  ([a-z]+) ");
}

Names commands() {
  return commands_in(help_of(""));
}

std::filesystem::path page_of(const std::string& command) {
  return source / "docs/man" / ("uring_app" + (command.empty() ? "" : "-" + command) + ".1");
}

/// Each long option of the help, with its line.
std::map<std::string, std::string> options_of(const std::string& help) {
  std::map<std::string, std::string> options;
  for (const std::string& line : all_matches(help, "^  (-.*)$")) {
    const std::vector<std::string> name = all_matches(line, "(--[a-z0-9-]+)");
    options.emplace(name.at(0), line);
  }
  return options;
}

/// The options of a command and of its own subcommands.
std::map<std::string, std::string> all_options_of(const std::string& command) {
  const std::string help = help_of(command);
  auto options = options_of(help);
  if (!command.empty()) {
    for (const std::string& action : commands_in(help)) {
      options.merge(options_of(help_of(command, action)));
    }
  }
  return options;
}

/// Each long option of the page (".It Fl -name" or ".It Fl n , -name"), with its description.
std::map<std::string, std::string> described_in(const std::string& page) {
  std::map<std::string, std::string> options;
  const std::regex item{R"(\n\.It Fl (?:\w , )?-([a-z0-9-]+)([^\n]*))"};
  const std::sregex_iterator begin{page.begin(), page.end(), item};
  for (auto it = begin; it != std::sregex_iterator{}; ++it) {
    const std::string rest = it->suffix();
    const std::string text = rest.substr(0, std::min(rest.find("\n.It Fl"), rest.find("\n.S")));
    EXPECT_TRUE(options.emplace("--" + it->str(1), it->str(2) + text).second) << it->str(1);
  }
  return options;
}

/// Whether `text` has `word` with nothing that could belong to it on either side.
bool has_word(const std::string& text, const std::string& word) {
  static const std::string inner =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-";
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || inner.find(text[at - 1]) == std::string::npos) &&
        (end == text.size() || inner.find(text[end]) == std::string::npos)) {
      return true;
    }
  }
  return false;
}

/// The words that an option accepts, and its default.
std::vector<std::string> values_of(const std::string& line) {
  std::vector<std::string> values;
  std::stringstream choices{all_matches(line + "{}", "\\{([^}]*)\\}").front()};
  for (std::string word; std::getline(choices, word, ',');) {
    values.push_back(word);
  }
  // CLI11 writes NAME=usual, and from 2.4 on NAME [usual].
  for (const char* usual : {"^\\S+ [^=]*=([\\w,:-]*\\w)", " \\[([\\w,:-]*\\w)\\](?: |$)"}) {
    const std::vector<std::string> found = all_matches(line, usual);
    values.insert(values.end(), found.begin(), found.end());
  }
  return values;
}

std::string joined(const Names& names) {
  std::string text;
  for (const std::string& name : names) {
    text += " " + name;
  }
  return text;
}

template <typename Value>
Names keys_of(const std::map<std::string, Value>& map) {
  Names keys;
  for (const auto& [key, value] : map) {
    keys.insert(key);
  }
  return keys;
}

TEST(Manual, HasAPageForEachCommandAndNoOther) {
  Names pages;
  for (const auto& entry : std::filesystem::directory_iterator{source / "docs/man"}) {
    for (const std::string& name :
         all_matches(entry.path().filename().string(), "^uring_app-([a-z]+)\\.1$")) {
      pages.insert(name);
    }
  }
  EXPECT_EQ(joined(pages), joined(commands()));
  EXPECT_EQ(joined(names_in(read(page_of("")), "^\\.It Xr uring_app-([a-z]+) 1")),
            joined(commands()));
}

TEST(Manual, DescribesEveryOptionOfEveryCommandAndNoOther) {
  Names all = commands();
  all.insert("");  // the program itself
  for (const std::string& command : all) {
    SCOPED_TRACE(page_of(command));
    const auto options = all_options_of(command);
    const auto described = described_in(read(page_of(command)));
    EXPECT_EQ(joined(keys_of(described)), joined(keys_of(options)));
  }
}

TEST(Manual, TellsWhatAnOptionTakesAndWhatItIsWithoutBeingGiven) {
  std::size_t values = 0;
  for (const std::string& command : commands()) {
    const auto described = described_in(read(page_of(command)));
    for (const auto& [option, line] : all_options_of(command)) {
      for (const std::string& value : values_of(line)) {
        ++values;
        const auto entry = described.find(option);
        ASSERT_NE(entry, described.end()) << command << " " << option;
        EXPECT_TRUE(has_word(entry->second, value)) << command << " " << option << ": " << value;
      }
    }
  }
  EXPECT_GT(values, 30U);  // or the help is no longer understood here
}

/// The text after ".It Bq Er NAME" or " *   NAME  text" of each error, in one line.
std::map<std::string, std::string> errors_in(std::string text, const std::string& item) {
  text = std::regex_replace(text, std::regex{item}, "\n@$1 ");
  std::map<std::string, std::string> errors;
  std::stringstream paragraphs{text};
  std::string paragraph;
  std::getline(paragraphs, paragraph, '@');
  while (std::getline(paragraphs, paragraph, '@')) {
    std::stringstream words{paragraph};
    std::string name;
    words >> name;
    for (std::string word; words >> word;) {
      errors[name] += " " + word;
    }
  }
  return errors;
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const std::size_t from = text.find(begin) + begin.size();
  const std::size_t to = text.find(end, from);
  EXPECT_NE(to, std::string::npos) << begin << " ... " << end;
  return text.substr(from, to - from);
}

TEST(Manual, HasTheErrorsOfTheAbiInItsWords) {
  const std::string header = read(source / "include/dmawire/uapi.h");
  const std::string page = read(source / "docs/man/dmawire.4");
  const std::string section = std::regex_replace(
      between(header, "for all ioctls)", "OWNERSHIP AND LIFETIME"), std::regex{"\n \\*"}, "\n");
  const auto specified = errors_in(section, "\n   (E[A-Z0-9]+) ");
  EXPECT_GT(specified.size(), 15U);
  EXPECT_EQ(errors_in(between(page, ".Sh ERRORS", "\n.El"), "\n\\.It Bq Er (E[A-Z0-9]+)"),
            specified);
}

TEST(Manual, NamesEveryCommandOfTheAbiAndEveryParameterOfTheModule) {
  const std::string page = read(source / "docs/man/dmawire.4");
  EXPECT_EQ(joined(names_in(page, "^\\.It Dv (DMAWIRE_\\w+)")),
            joined(names_in(read(source / "include/dmawire/uapi.h"),
                            "^#define (DMAWIRE_(?:IOC|URING_CMD)_(?!MAGIC)\\w+) ")));

  std::string module = read(source / "kmod/drivers/pattern.c");
  for (const auto& entry : std::filesystem::directory_iterator{source / "kmod/core"}) {
    module += read(entry.path());
  }
  EXPECT_EQ(joined(names_in(page, "^\\.It Va (\\w+)")),
            joined(names_in(module, "^module_param\\((\\w+)")));
}

/// Source text with string literals that stand one behind the other made one.
std::string sources_of(const std::filesystem::path& folder) {
  std::string text;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{folder}) {
    if (entry.path().extension() == ".cpp") {
      text += read(entry.path());
    }
  }
  return std::regex_replace(text, std::regex{"\"\\s+\""}, "");
}

TEST(Troubleshooting, HeadingsAreWhatTheProgramSays) {
  const std::string program = sources_of(source / "uring_app");
  const std::vector<std::string> headings =
      all_matches(read(source / "docs/troubleshooting.md"), "^### (.*)$");
  EXPECT_GT(headings.size(), 20U);
  for (const std::string& heading : headings) {
    EXPECT_NE(program.find(heading), std::string::npos) << heading;
  }
}

/// The shell's completions of `line`.
Names completions(const std::string& line) {
  const Process::Result result = run(
      {"bash", "-c",
       R"(source "$1" && COMP_LINE=$2 COMP_POINT=${#2} && _uring_app "$3" && printf '%s\n' "${COMPREPLY[@]}")",
       "bash", source / "docs/completion/uring_app.bash", line, URING_APP});
  EXPECT_EQ(result.status, 0) << line << ": " << result.err;
  return names_in(result.out, "^(.+)$");
}

TEST(Completion, KnowsTheCommandsAndTheirOptions) {
  Names words = commands();
  words.merge(Names{"-h", "--help", "--version"});
  EXPECT_EQ(joined(completions("uring_app ")), joined(words));
  for (const std::string& command : commands()) {
    EXPECT_EQ(joined(completions("uring_app " + command + " --")),
              joined(keys_of(options_of(help_of(command)))));
  }
  EXPECT_EQ(joined(completions("uring_app send --hash --tot")), " --total");
}

TEST(Completion, KnowsWhatAnOptionTakes) {
  EXPECT_EQ(joined(completions("uring_app send --tx ")), " auto copy direct fixed msg plain");
  EXPECT_EQ(joined(completions("uring_app send --tx=d")), " direct");
  EXPECT_EQ(joined(completions("uring_app send --backing memfd:")), " 1G 2M");
  EXPECT_EQ(joined(completions("uring_app send --file /proc/self/stat")),
            " /proc/self/stat /proc/self/statm /proc/self/status");
  EXPECT_EQ(joined(completions("uring_app send --total ")), "");
}

}  // namespace
}  // namespace dmawire::test
