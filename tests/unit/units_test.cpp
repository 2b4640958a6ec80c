// SPDX-License-Identifier: MIT
#include "commands/units.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace dmawire::commands {
namespace {

TEST(Units, ParsesBinarySizes) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("1471"), 1471U);
  EXPECT_EQ(parse_size("64K"), 65'536U);
  EXPECT_EQ(parse_size("3M"), 3'145'728U);
  EXPECT_EQ(parse_size("1G"), 1U << 30);
  EXPECT_EQ(parse_size("2T"), 2ULL << 40);
}

TEST(Units, RefusesWhatIsNoSize) {
  for (const char* text : {"", "K", "64k", "64KB", "-1", "1.5M", " 1", "1 K", "0x10"}) {
    EXPECT_THROW((void)parse_size(text), std::invalid_argument) << text;
  }
}

TEST(Units, RefusesWhatDoesNotFit) {
  EXPECT_EQ(parse_size("18446744073709551615"), ~0ULL);
  for (const char* text : {"18446744073709551616", "18446744073709551615K", "16777216T"}) {
    EXPECT_THROW((void)parse_size(text), std::invalid_argument) << text;
  }
}

TEST(Units, ParsesWidthAndHeight) {
  const Dimensions dimensions = parse_dimensions("640x480");
  EXPECT_EQ(dimensions.width, 640U);
  EXPECT_EQ(dimensions.height, 480U);
  for (const char* text : {"", "640", "x480", "640x", "640x480x2", "0x480", "640x0", "640X480",
                           "-1x480", "4294967296x1", " 1x1", "1x1 "}) {
    EXPECT_THROW((void)parse_dimensions(text), std::invalid_argument) << text;
  }
}

TEST(Units, FormatsSizesShort) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(65'536), "64 KiB");
  EXPECT_EQ(format_size(1'572'864), "1.5 MiB");
  EXPECT_EQ(format_size(~0ULL), "16777216 TiB");
}

TEST(Units, FormatsHashesWithAllTheirDigits) {
  EXPECT_EQ(format_hash(0xabc), "0000000000000abc");
}

}  // namespace
}  // namespace dmawire::commands
