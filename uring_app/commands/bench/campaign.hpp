// SPDX-License-Identifier: MIT
#pragma once

#include <dmawire/error.hpp>
#include <vector>

#include "peer.hpp"
#include "plan.hpp"
#include "row.hpp"
#include "run.hpp"

namespace dmawire::commands::bench {

/// How the cases of a plan are measured.
struct Conduct {
  Amount amount;
  Place place;
  std::uint32_t repeats = 5;
  std::uint32_t warm_up = 1;  ///< runs before those that count
  bool verify = false;        ///< one more run of each case, which only verifies
};

/// Runs every case once, then every case again, and so on, so that what disturbs the machine for a
/// while disturbs all of them. A case that fails has a row that says why and is not tried again.
/// Throws Error if none succeeds.
[[nodiscard]] std::vector<Row> measure(const Plan& plan, const Conduct& conduct);

}  // namespace dmawire::commands::bench
