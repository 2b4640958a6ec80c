// SPDX-License-Identifier: MIT
#include "plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "../units.hpp"

namespace dmawire::commands::bench {
namespace {

constexpr double panel_width = 400;
constexpr double panel_height = 300;
constexpr double left_margin = 70;
constexpr double top_margin = 50;
constexpr double bottom_margin = 55;
constexpr double legend_line = 18;

// Okabe and Ito's colours, which most eyes can tell apart, on white and on black.
constexpr std::array colours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                             "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f"};
constexpr std::array dashes{"", "6 3", "2 3", "8 3 2 3"};

constexpr std::string_view style = R"(<style>
  .paper { fill: #ffffff; }
  text { fill: #1f2328; font: 12px sans-serif; }
  .title { font-weight: bold; }
  .axis { stroke: #57606a; fill: none; }
  .grid { stroke: #d0d7de; stroke-width: 0.5; }
  .line { fill: none; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; }
    text { fill: #e6edf3; }
    .axis { stroke: #8b949e; }
    .grid { stroke: #30363d; }
  }
</style>
)";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char letter : text) {
    switch (letter) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += letter;
    }
  }
  return out;
}

/// What is drawn in a panel, by the keys of a row.
struct Figure {
  const char* title;
  const char* value;
  const char* least;
  const char* greatest;
};
constexpr Figure cpu{"CPU time, s per GiB (less is better)", "cpu_s_per_gib", "cpu_s_per_gib_min",
                     "cpu_s_per_gib_max"};
constexpr Figure rate{"throughput, GiB/s (more is better)", "gib_per_s", "gib_per_s_min",
                      "gib_per_s_max"};

double number(const Row& row, const char* key, const char* otherwise) {
  return row.contains(key) && row[key].is_number() ? row[key].get<double>()
                                                   : row[otherwise].get<double>();
}

/// The rows of one line, by size.
struct Series {
  std::string label;
  std::vector<const Row*> rows;
};

/// Logarithmic: from what is least to what is greatest, with a little room.
class Axis {
 public:
  Axis(double least, double greatest, double from, double to)
      : least_(std::log(least)), greatest_(std::log(greatest)), from_(from), to_(to) {
    if (greatest_ - least_ < 1e-6) {
      least_ -= 0.5;
      greatest_ += 0.5;
    }
  }
  [[nodiscard]] double at(double value) const {
    return from_ + (std::log(value) - least_) / (greatest_ - least_) * (to_ - from_);
  }
  [[nodiscard]] double least() const { return std::exp(least_); }
  [[nodiscard]] double greatest() const { return std::exp(greatest_); }

 private:
  double least_;
  double greatest_;
  double from_;
  double to_;
};

std::string label_text(const Row& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// The keys, beside path and size, that are not the same in all rows.
std::vector<const char*> distinguishing_keys(const std::vector<const Row*>& rows) {
  std::vector<const char*> keys;
  for (const char* key : {"proto", "source", "layout", "backing", "data", "connections", "depth",
                          "gather", "batch", "offset", "device"}) {
    const auto differs = [&](const Row* row) {
      return row->contains(key) && rows.front()->contains(key) &&
             (*row)[key] != (*rows.front())[key];
    };
    if (std::any_of(rows.begin(), rows.end(), differs)) {
      keys.push_back(key);
    }
  }
  return keys;
}

std::vector<Series> group(const std::vector<const Row*>& rows) {
  std::vector<Series> all;
  const std::vector<const char*> keys = distinguishing_keys(rows);
  for (const Row* row : rows) {
    std::string label = (*row)["path"].get<std::string>();
    for (const char* key : keys) {
      if (row->contains(key)) {
        const bool word = (*row)[key].is_string();
        label += fmt::format(" {}{}{}", word ? "" : key, word ? "" : " ", label_text((*row)[key]));
      }
    }
    auto found =
        std::find_if(all.begin(), all.end(), [&](const Series& one) { return one.label == label; });
    if (found == all.end()) {
      found = all.insert(all.end(), {label, {}});
    }
    found->rows.push_back(row);
  }
  for (Series& one : all) {
    std::stable_sort(one.rows.begin(), one.rows.end(), [](const Row* left, const Row* right) {
      return (*left)["size"].get<double>() < (*right)["size"].get<double>();
    });
  }
  return all;
}

std::string pen(std::size_t index) {
  return fmt::format(R"(stroke="{}" stroke-dasharray="{}")", colours[index % colours.size()],
                     dashes[index / colours.size() % dashes.size()]);
}

/// 1, 2 and 5 times the powers of ten between two values; of a wide range the powers alone.
std::vector<double> ticks(double least, double greatest) {
  std::vector<double> values;
  const bool wide = greatest / least > 300;
  const int last = static_cast<int>(std::floor(std::log10(greatest)));
  for (int exponent = static_cast<int>(std::floor(std::log10(least))); exponent <= last;
       ++exponent) {
    const double power = std::pow(10, exponent);
    for (const double step : {1.0, 2.0, 5.0}) {
      const double value = step * power;
      if (value >= least && value <= greatest && (step == 1.0 || !wide)) {
        values.push_back(value);
      }
    }
  }
  return values;
}

class Panel {
 public:
  Panel(const Figure& figure, double left, const std::vector<const Row*>& rows)
      : figure_(figure), left_(left), x_(x_axis(rows)), y_(y_axis(rows)), rows_(rows) {}

  [[nodiscard]] std::string draw(const std::vector<Series>& series) const {
    std::string out = frame();
    for (std::size_t i = 0; i < series.size(); ++i) {
      out += line(series[i], i);
    }
    return out;
  }

 private:
  [[nodiscard]] Axis x_axis(const std::vector<const Row*>& rows) const {
    double least = std::numeric_limits<double>::max();
    double greatest = 0;
    for (const Row* row : rows) {
      least = std::min(least, (*row)["size"].get<double>());
      greatest = std::max(greatest, (*row)["size"].get<double>());
    }
    return {least / 1.2, greatest * 1.2, left_, left_ + panel_width};
  }

  [[nodiscard]] Axis y_axis(const std::vector<const Row*>& rows) const {
    double least = std::numeric_limits<double>::max();
    double greatest = 0;
    for (const Row* row : rows) {
      greatest = std::max(greatest, number(*row, figure_.greatest, figure_.value));
      // A run too short for the clock reads 0, which has no place on this axis but its lower end.
      for (const char* key : {figure_.least, figure_.value}) {
        const double value = number(*row, key, figure_.value);
        least = value > 0 ? std::min(least, value) : least;
      }
    }
    if (greatest <= 0) {
      return {0.1, 1, top_margin + panel_height, top_margin};
    }
    return {least / 1.2, greatest * 1.2, top_margin + panel_height, top_margin};
  }

  [[nodiscard]] std::string frame() const {
    const double bottom = top_margin + panel_height;
    std::string out =
        fmt::format(R"(<text class="title" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)"
                    "\n",
                    left_ + panel_width / 2, top_margin - 14, figure_.title);
    for (const double value : ticks(y_.least(), y_.greatest())) {
      out += fmt::format(
          R"(<path class="grid" d="M{:.1f} {:.1f}h{:.1f}"/><text x="{:.1f}" y="{:.1f}" text-anchor="end">{:g}</text>)"
          "\n",
          left_, y_.at(value), panel_width, left_ - 6, y_.at(value) + 4, value);
    }
    for (const double size : sizes()) {
      out += fmt::format(
          R"(<path class="grid" d="M{:.1f} {:.1f}v{:.1f}"/><text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)"
          "\n",
          x_.at(size), top_margin, panel_height, x_.at(size), bottom + 17, size_label(size));
    }
    out += fmt::format(
        R"(<rect class="axis" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)"
        R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle">size of a frame</text>)"
        "\n",
        left_, top_margin, panel_width, panel_height, left_ + panel_width / 2, bottom + 38);
    return out;
  }

  [[nodiscard]] static std::string size_label(double size) {
    const auto bytes = static_cast<std::uint64_t>(size);
    return format_frame_size(bytes);
  }

  [[nodiscard]] std::vector<double> sizes() const {
    std::vector<double> all;
    for (const Row* row : rows_) {
      all.push_back((*row)["size"].get<double>());
    }
    std::sort(all.begin(), all.end());
    // Labels that would touch are one.
    const auto touches = [this](double left, double right) {
      return x_.at(right) - x_.at(left) < 42;
    };
    all.erase(std::unique(all.begin(), all.end(), touches), all.end());
    return all;
  }

  [[nodiscard]] std::string line(const Series& series, std::size_t index) const {
    std::string points;
    std::string marks;
    for (const Row* row : series.rows) {
      const double x = x_.at((*row)["size"].get<double>());
      const double y = height(number(*row, figure_.value, figure_.value));
      points += fmt::format("{:.1f},{:.1f} ", x, y);
      marks += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>)", x, y,
                           colours[index % colours.size()]);
      marks += fmt::format(R"(<path d="M{:.1f} {:.1f}V{:.1f}" stroke="{}"/>)", x,
                           height(number(*row, figure_.least, figure_.value)),
                           height(number(*row, figure_.greatest, figure_.value)),
                           colours[index % colours.size()]);
    }
    return fmt::format("<g><title>{}</title><polyline class=\"line\" {} points=\"{}\"/>{}</g>\n",
                       escaped(series.label), pen(index), points, marks);
  }

  [[nodiscard]] double height(double value) const { return y_.at(std::max(value, y_.least())); }

  const Figure& figure_;
  double left_;
  Axis x_;
  Axis y_;
  const std::vector<const Row*>& rows_;
};

std::string legend(const std::vector<Series>& series, double top) {
  std::string out;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const double x = left_margin + (i % 2 == 0 ? 0 : panel_width + left_margin);
    const std::size_t line = i / 2;
    const double y = top + legend_line * static_cast<double>(line);
    out += fmt::format(
        R"(<path class="line" {} d="M{:.1f} {:.1f}h30"/><text x="{:.1f}" y="{:.1f}">{}</text>)"
        "\n",
        pen(i), x, y - 4, x + 38, y, escaped(series[i].label));
  }
  return out;
}

}  // namespace

std::string format_plot(std::span<const Row> rows) {
  std::vector<const Row*> good;
  for (const Row& row : rows) {
    if (row["cpu_s_per_gib"].is_number() && row["gib_per_s"].is_number() &&
        row["gib_per_s"].get<double>() > 0) {
      good.push_back(&row);
    }
  }
  const std::vector<Series> series = good.empty() ? std::vector<Series>{} : group(good);
  const double legend_top = top_margin + panel_height + bottom_margin + legend_line;
  const double width = 2 * (left_margin + panel_width) + 20;
  const std::size_t legend_lines = (series.size() + 1) / 2;
  const double height = legend_top + legend_line * static_cast<double>(legend_lines) + 4;
  std::string out = fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" height="{1:.0f}">)"
      "\n{2}<rect class=\"paper\" width=\"{0:.0f}\" height=\"{1:.0f}\"/>\n",
      width, height, style);
  if (good.empty()) {
    out += R"(<text x="20" y="30">nothing could be measured</text>)";
  } else {
    out += Panel{cpu, left_margin, good}.draw(series);
    out += Panel{rate, 2 * left_margin + panel_width, good}.draw(series);
    out += legend(series, legend_top);
  }
  return out + "</svg>\n";
}

}  // namespace dmawire::commands::bench
