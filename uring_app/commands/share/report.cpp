// SPDX-License-Identifier: MIT
#include "report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "../units.hpp"

namespace dmawire::commands {

void print_json(const ShareReport& report) {
  const ShareStatistics& share = report.share;
  nlohmann::ordered_json row;
  row["frames"] = share.published;
  row["bytes"] = share.bytes;
  row["seconds"] = report.seconds;
  row["cpu_seconds"] = report.cpu_seconds;
  row["clients"] = share.clients;
  row["refused"] = share.refused;
  row["dropped"] = share.dropped;
  row["lent"] = share.lent;
  row["returned"] = share.returned;
  row["reclaimed"] = share.reclaimed;
  row["skipped"] = share.skipped;
  row["unseen"] = share.unseen;
  row["pool"] = report.pool;
  row["home"] = report.home;
  if (report.capture) {
    row["captured"] = report.capture->captured;
    row["lost"] = report.capture->lost;
    row["failed"] = report.capture->failed;
    row["canceled"] = report.capture->canceled;
  }
  fmt::print("{}\n", row.dump());
}

void print_text(const ShareReport& report) {
  const ShareStatistics& share = report.share;
  fmt::print("shared         {} frames, {} bytes ({}) in {:.3f} s; {} were lent to nobody\n",
             share.published, share.bytes, format_size(share.bytes), report.seconds, share.unseen);
  if (report.capture) {
    fmt::print("captured       {} frames; {} lost for want of room, {} failed\n",
               report.capture->captured, report.capture->lost, report.capture->failed);
  }
  fmt::print("clients        {}; {} refused, {} dropped\n", share.clients, share.refused,
             share.dropped);
  fmt::print("lent           {} times: {} returned, {} taken back from clients that had gone\n",
             share.lent, share.returned, share.reclaimed);
  fmt::print("skipped        {} times, a client held as many as it may\n", share.skipped);
  fmt::print("home           {} of {} frames\n", report.home, report.pool);
  fmt::print("CPU            {:.3f} s\n", report.cpu_seconds);
}

}  // namespace dmawire::commands
