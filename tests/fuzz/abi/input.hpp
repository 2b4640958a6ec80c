// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

/// The fuzzer's inputs: short sequences of calls, as text and under mutation.
///
/// An input is some lines, ended by an empty one. The first may be `parallel` (another thread makes
/// the second half of the calls at the same time) or `torn` (another thread rewrites the structs
/// while the kernel reads them), or both after one another. Each other line is a call: its name,
/// and the fields that are not at their default, as in
///
///     create length=65536 flags=1
///     map length=65536
///     register slot=1 offset=4096
///
/// A `#` begins a comment. Descriptors, rings and mappings are referenced by number among all of
/// their kind that exist at that moment, modulo their count, so a sequence stays meaningful when a
/// mutation removes a call; negative numbers stand for wrong ones (see Executor). grammar() has all
/// calls and fields.
namespace dmawire::fuzz {

inline constexpr std::size_t max_calls = 24;

struct Values {
  std::vector<std::int64_t> interesting;
  bool only_these = false;  ///< all others mean the same as one of them
};

struct Field {
  const char* name;
  const Values* values;     ///< worth trying
  std::int64_t normal = 0;  ///< the default
};

struct CallType {
  const char* name;
  std::vector<Field> fields;
};

/// The calls there are. A Call's `type` is an index into it.
const std::vector<CallType>& grammar();

struct Call {
  std::size_t type = 0;
  std::vector<std::int64_t> values;  ///< one for each field

  [[nodiscard]] std::int64_t get(std::string_view field) const;
  bool operator==(const Call&) const = default;
};

struct Input {
  bool parallel = false;
  bool torn = false;
  std::vector<Call> calls;
};

std::string to_text(const Input& input);

/// All inputs of a text; throws std::invalid_argument that names the line.
std::vector<Input> parse_inputs(std::string_view text);

/// Makes inputs, by chance or out of others.
class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  Input make();
  /// A changed copy of one of `corpus`, which is not empty.
  Input change(const std::vector<Input>& corpus);
  /// One of 0 .. `count` - 1.
  std::size_t below(std::size_t count) { return random_() % count; }

 private:
  Call make_call(std::size_t type);
  void change_once(Input& input, const Input& other);
  void change_field(Call& call);
  std::int64_t change_value(const Field& field, std::int64_t value);

  std::mt19937_64 random_;
};

}  // namespace dmawire::fuzz
