// SPDX-License-Identifier: MIT
#include "input.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <stdexcept>

namespace dmawire::fuzz {
namespace {

Call with_defaults(std::size_t type) {
  Call call{.type = type, .values = {}};
  for (const Field& field : grammar().at(type).fields) {
    call.values.push_back(field.normal);
  }
  return call;
}

std::string_view next_part(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

std::invalid_argument bad(std::string_view what, std::string_view line) {
  return std::invalid_argument(std::string{what} + " in '" + std::string{line} + "'");
}

void set_field(Call& call, std::string_view word, std::string_view line) {
  std::string_view number = word;
  const std::string_view name = next_part(number, '=');
  const std::vector<Field>& fields = grammar()[call.type].fields;
  const auto field =
      std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
  std::int64_t value = 0;
  const char* end = number.data() + number.size();
  if (field == fields.end() || std::from_chars(number.data(), end, value).ptr != end ||
      number.empty()) {
    throw bad("no such field or no number: '" + std::string{word} + "'", line);
  }
  call.values[static_cast<std::size_t>(field - fields.begin())] = value;
}

/// The index of a call; grammar().size() if the name is unknown.
std::size_t index_of(std::string_view name) {
  const auto type = std::find_if(grammar().begin(), grammar().end(),
                                 [&](const CallType& t) { return t.name == name; });
  return static_cast<std::size_t>(type - grammar().begin());
}

Call parse_call(std::string_view line) {
  std::string_view rest = line;
  const std::string_view name = next_part(rest, ' ');
  const std::size_t type = index_of(name);
  if (type == grammar().size()) {
    throw bad("no such call", line);
  }
  Call call = with_defaults(type);
  while (!rest.empty()) {
    set_field(call, next_part(rest, ' '), line);
  }
  return call;
}

void add_line(Input& input, std::string_view line) {
  if (line == "parallel") {
    input.parallel = true;
  } else if (line == "torn") {
    input.torn = true;
  } else if (input.calls.size() < max_calls) {
    input.calls.push_back(parse_call(line));
  } else {
    throw bad("too many calls", line);
  }
}

}  // namespace

std::int64_t Call::get(std::string_view field) const {
  const std::vector<Field>& fields = grammar()[type].fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name == field) {
      return values[i];
    }
  }
  std::abort();  // the executor asked for a field that the grammar lacks
}

std::string to_text(const Input& input) {
  std::string text;
  text += input.parallel ? "parallel\n" : "";
  text += input.torn ? "torn\n" : "";
  for (const Call& call : input.calls) {
    const CallType& type = grammar()[call.type];
    text += type.name;
    for (std::size_t i = 0; i < type.fields.size(); ++i) {
      if (call.values[i] != type.fields[i].normal) {
        text += std::string{" "} + type.fields[i].name + "=" + std::to_string(call.values[i]);
      }
    }
    text += '\n';
  }
  return text;
}

std::vector<Input> parse_inputs(std::string_view text) {
  std::vector<Input> inputs(1);
  while (!text.empty()) {
    const std::string_view line = next_part(text, '\n');
    if (line.empty()) {
      inputs.emplace_back();
    } else if (!line.starts_with('#')) {
      add_line(inputs.back(), line);
    }
  }
  std::erase_if(inputs, [](const Input& input) { return input.calls.empty(); });
  return inputs;
}

Call Mutator::make_call(std::size_t type) {
  Call call = with_defaults(type);
  // Most fields stay normal, or hardly anything would ever get past the first check.
  for (std::size_t i = 0; i < grammar()[call.type].fields.size(); ++i) {
    if (below(4) == 0) {
      const Field& field = grammar()[call.type].fields[i];
      call.values[i] = change_value(field, call.values[i]);
    }
  }
  return call;
}

Input Mutator::make() {
  Input input{.parallel = below(8) == 0, .torn = below(8) == 0, .calls = {}};
  if (below(4) != 0) {  // without a buffer there is little to be done
    input.calls.push_back(make_call(index_of("create")));
  }
  const std::size_t count = 1 + below(max_calls / 2);
  for (std::size_t i = 0; i < count; ++i) {
    input.calls.push_back(make_call(below(grammar().size())));
  }
  return input;
}

std::int64_t Mutator::change_value(const Field& field, std::int64_t value) {
  switch (field.values->only_these ? 3 : below(8)) {
    case 0:
      return static_cast<std::int64_t>(static_cast<std::uint64_t>(value) + 1);
    case 1:
      return static_cast<std::int64_t>(static_cast<std::uint64_t>(value) - 1);
    case 2:
      return static_cast<std::int64_t>(static_cast<std::uint64_t>(value) ^ std::uint64_t{1}
                                                                               << below(64));
    default:
      return field.values->interesting[below(field.values->interesting.size())];
  }
}

void Mutator::change_field(Call& call) {
  const std::vector<Field>& fields = grammar()[call.type].fields;
  if (!fields.empty()) {
    const std::size_t i = below(fields.size());
    call.values[i] = change_value(fields[i], call.values[i]);
  }
}

void Mutator::change_once(Input& input, const Input& other) {
  std::vector<Call>& calls = input.calls;
  const auto place = [&] {
    return calls.begin() + static_cast<std::ptrdiff_t>(below(calls.size()));
  };
  switch (below(16)) {
    case 0:
      input.parallel = !input.parallel;
      break;
    case 1:
      input.torn = !input.torn;
      break;
    case 2: {
      const auto from =
          other.calls.begin() + static_cast<std::ptrdiff_t>(below(other.calls.size()));
      calls.insert(place(), from, other.calls.end());
      break;
    }
    case 3:
    case 4:
      if (calls.size() > 1) {
        calls.erase(place());
      }
      break;
    case 5: {
      const Call again = *place();
      calls.insert(place(), again);
      break;
    }
    case 6:
      std::iter_swap(place(), place());
      break;
    case 7:
    case 8:
    case 9:
    case 10:
      calls.insert(place() + static_cast<std::ptrdiff_t>(below(2)),
                   make_call(below(grammar().size())));
      break;
    default:
      change_field(*place());
  }
  calls.resize(std::min(calls.size(), max_calls));
}

Input Mutator::change(const std::vector<Input>& corpus) {
  Input input = corpus[below(corpus.size())];
  const std::size_t count = 1 + below(5);
  for (std::size_t i = 0; i < count; ++i) {
    change_once(input, corpus[below(corpus.size())]);
  }
  return input;
}

}  // namespace dmawire::fuzz
