// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "coverage.hpp"
#include "input.hpp"
#include "world.hpp"

namespace dmawire::fuzz {

/// Something that an execution did for the first time is worth keeping its input for: a program
/// point, two of them after one another, or a call that ends in a certain way.
using Feature = std::uint32_t;
inline constexpr Feature first_edge = 1 << 20;
inline constexpr Feature first_result = 1 << 21;
inline constexpr Feature end_of_features = 1 << 22;
inline bool is_point(Feature feature) {
  return feature < first_edge;
}
inline bool is_edge(Feature feature) {
  return feature >= first_edge && feature < first_result;
}

/// Runs inputs in a child, one after the other, and watches over it.
class BatchRunner {
 public:
  static constexpr std::size_t most = 64;

  explicit BatchRunner(bool blind);
  ~BatchRunner();
  BatchRunner(const BatchRunner&) = delete;
  BatchRunner& operator=(const BatchRunner&) = delete;

  /// Something that must not be.
  struct Finding {
    std::string what;
    std::optional<std::size_t> input;  ///< which it was, if that is known
  };
  /// Up to `most` inputs.
  std::optional<Finding> run(std::span<const Input> inputs);
  /// The features of an input of the last batch.
  [[nodiscard]] std::span<const Feature> features(std::size_t input) const;

 private:
  struct Shared;

  [[noreturn]] void be_child(std::span<const Input> inputs);
  void record(std::size_t input, std::span<const std::uint32_t> results);
  std::optional<Finding> supervise(int child);
  std::optional<Finding> check_counts();

  std::array<Coverage, 2> coverage_;
  Surroundings surroundings_;
  std::optional<ModuleText> text_;
  UniqueFd monitor_;
  Shared* shared_;
  std::vector<bool> seen_;  ///< by the execution being recorded
};

}  // namespace dmawire::fuzz
