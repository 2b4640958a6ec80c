// SPDX-License-Identifier: MIT
#include "table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "../units.hpp"

namespace dmawire::commands::bench {
namespace {

using Format = std::function<std::string(const Row&)>;

struct Column {
  const char* head;
  Format cell;
};

Row value_of(const Row& row, const char* key) {
  return row.contains(key) ? row[key] : Row{};
}

std::string text(const Row& value) {
  return value.is_null() ? "-" : value.is_string() ? value.get<std::string>() : value.dump();
}

Format plain(const char* key) {
  return [key](const Row& row) { return text(value_of(row, key)); };
}

/// A number in `digits` significant digits, in plain notation.
Format number(const char* key, int digits, double factor = 1) {
  return [=](const Row& row) -> std::string {
    const Row value = value_of(row, key);
    if (!value.is_number()) {
      return "-";
    }
    const double scaled = value.get<double>() * factor;
    const int whole = scaled < 10 ? 1 : 1 + static_cast<int>(std::log10(scaled));
    return fmt::format("{:.{}f}", scaled, std::max(0, digits - whole));
  };
}

std::string size_cell(const Row& row) {
  const std::uint64_t bytes = row["size"].get<std::uint64_t>();
  return format_frame_size(bytes);
}

/// What the kernel said of its notifications.
std::string verdict_cell(const Row& row) {
  const Row all = value_of(row, "notifications");
  if (!all.is_number() || all == 0) {
    return "-";
  }
  const Row zero_copied = value_of(row, "zerocopied");
  if (!zero_copied.is_number()) {
    return fmt::format("{} told", text(all));
  }
  const Row merged = value_of(row, "merged");
  const double good = zero_copied.get<double>() + (merged.is_number() ? merged.get<double>() : 0);
  const double share = 100 * good / all.get<double>();
  return fmt::format("{:.{}f} %", share, share == 100 ? 0 : 1);
}

std::string verified_cell(const Row& row) {
  const Row value = value_of(row, "verified");
  return !value.is_boolean() ? "-" : value.get<bool>() ? "yes" : "WRONG";
}

/// Elsewhere it follows from the size, and whether data is hot.
std::string buffers_cell(const Row& row) {
  return value_of(row, "offset").is_number() ? text(value_of(row, "buffers")) : "-";
}

std::string path_cell(const Row& row) {
  const std::string path = text(value_of(row, "path"));
  return path == "auto" && value_of(row, "chosen").is_string()
             ? fmt::format("auto: {}", text(row["chosen"]))
             : path;
}

/// What tells the cases apart. Those that are the same in every row are said once, with a word
/// that makes a bare number understood.
const std::vector<std::pair<const char*, Column>>& circumstances() {
  static const std::vector<std::pair<const char*, Column>> all{
      {"", {"proto", plain("proto")}},
      {"frames of", {"size", size_cell}},
      {"depth", {"depth", plain("depth")}},
      {"connections", {"conns", plain("connections")}},
      {"gather", {"gather", plain("gather")}},
      {"batch", {"batch", plain("batch")}},
      {"buffers", {"buffers", buffers_cell}},
      {"offset", {"offset", plain("offset")}},
      {"memory", {"source", plain("source")}},
      {"layout", {"layout", plain("layout")}},
      {"backing", {"backing", plain("backing")}},
      {"data", {"data", plain("data")}},
      {"repeats", {"repeats", plain("repeats")}},
      {"through", {"device", plain("device")}},
      {"clock", {"clock", plain("clock")}},
      {"kernel", {"kernel", plain("kernel")}},
  };
  return all;
}

const std::vector<Column>& figures() {
  static const std::vector<Column> all{
      {"GiB/s", number("gib_per_s", 4)},
      {"frames/s", number("frames_per_s", 1)},
      {"CPU s/GiB", number("cpu_s_per_gib", 4)},
      {"+-%", number("spread", 2, 50)},
      {"thread", number("thread_cpu_s_per_gib", 4)},
      {"receiver", number("receiver_cpu_s_per_gib", 4)},
      {"calls/send", number("syscalls_per_send", 3)},
      {"zero-copy", verdict_cell},
  };
  return all;
}

bool measured(const Row& row) {
  return row["cpu_s_per_gib"].is_number();
}

/// Whether a cell is the same in all rows that have one.
bool is_constant(std::span<const Row> rows, const Column& column) {
  std::string seen;
  for (const Row& row : rows) {
    const std::string cell = column.cell(row);
    if (cell == "-") {
      continue;
    }
    if (!seen.empty() && seen != cell) {
      return false;
    }
    seen = cell;
  }
  return true;
}

bool any(std::span<const Row> rows, const Column& column) {
  return std::any_of(rows.begin(), rows.end(),
                     [&](const Row& row) { return column.cell(row) != "-"; });
}

/// The columns of this table; what needs none is put into `said_once`.
std::vector<Column> choose_columns(std::span<const Row> rows, std::string& said_once) {
  std::vector<Column> columns{{"path", path_cell}};
  for (const auto& [word, column] : circumstances()) {
    if (!is_constant(rows, column)) {
      columns.push_back(column);
    } else if (any(rows, column)) {
      const auto row =
          std::find_if(rows.begin(), rows.end(),
                       [&cell = column.cell](const Row& one) { return cell(one) != "-"; });
      said_once += fmt::format("{}{}{}{}", said_once.empty() ? "" : ", ", word, *word ? " " : "",
                               column.cell(*row));
    }
  }
  columns.insert(columns.end(), figures().begin(), figures().end());
  if (const Column verified{"verified", verified_cell}; any(rows, verified)) {
    columns.push_back(verified);
  }
  return columns;
}

bool looks_like_number(const std::string& cell) {
  return cell == "-" || (!cell.empty() && std::isdigit(static_cast<unsigned char>(cell.front())));
}

std::string csv_cell(const Row& value) {
  if (value.is_null()) {
    return "";
  }
  if (!value.is_string()) {
    return value.dump();
  }
  std::string quoted = "\"";
  for (const char letter : value.get<std::string>()) {
    quoted += letter;
    if (letter == '"') {
      quoted += letter;
    }
  }
  return quoted + '"';
}

}  // namespace

std::string format_cells(const std::vector<std::vector<std::string>>& cells) {
  const std::size_t width = cells.front().size();
  std::string out;
  std::vector<std::size_t> widths(width, 0);
  std::vector<bool> numbers(width, true);
  for (std::size_t column = 0; column < width; ++column) {
    for (std::size_t line = 0; line < cells.size(); ++line) {
      widths[column] = std::max(widths[column], cells[line][column].size());
      numbers[column] = numbers[column] && (line == 0 || looks_like_number(cells[line][column]));
    }
  }
  for (const auto& line : cells) {
    std::string text_line;
    for (std::size_t column = 0; column < width; ++column) {
      text_line += numbers[column] ? fmt::format("{:>{}}  ", line[column], widths[column])
                                   : fmt::format("{:<{}}  ", line[column], widths[column]);
    }
    text_line.erase(text_line.find_last_not_of(' ') + 1);
    out += text_line + '\n';
  }
  return out;
}

std::string format_table(std::span<const Row> rows) {
  std::vector<Row> good;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(good), measured);
  std::string out;
  if (!good.empty()) {
    std::string said_once;
    const std::vector<Column> columns = choose_columns(good, said_once);
    std::vector<std::vector<std::string>> cells(1);
    for (const Column& column : columns) {
      cells.front().emplace_back(column.head);
    }
    for (const Row& row : good) {
      std::vector<std::string> line;
      line.reserve(columns.size());
      for (const Column& column : columns) {
        line.push_back(column.cell(row));
      }
      cells.push_back(std::move(line));
    }
    out += said_once + "\n\n" + format_cells(cells);
  }
  for (const Row& row : rows) {
    if (!measured(row)) {
      out += fmt::format("{} {} {}: {}\n", path_cell(row), text(row["proto"]), size_cell(row),
                         text(value_of(row, "error")));
    }
  }
  return out;
}

std::string format_csv(std::span<const Row> rows) {
  std::string out;
  if (rows.empty()) {
    return out;
  }
  std::vector<std::string> keys;
  for (const auto& [key, value] : rows.front().items()) {
    out += (keys.empty() ? "" : ",") + key;
    keys.push_back(key);
  }
  out += '\n';
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      out += (i == 0 ? "" : ",") + csv_cell(value_of(row, keys[i].c_str()));
    }
    out += '\n';
  }
  return out;
}

}  // namespace dmawire::commands::bench
