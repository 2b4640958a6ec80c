// SPDX-License-Identifier: MIT
#include "commands/recv/frame_checker.hpp"

#include <gtest/gtest.h>

#include <string>

#include "frames.hpp"

namespace dmawire::commands {
namespace {

using test::make_frame;
using Transport = FrameChecker::Transport;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span{text});
}

/// A checker's result for a stream that comes in pieces of `piece` bytes.
FrameChecker::Result check(const std::string& stream, std::size_t piece, bool* good = nullptr) {
  FrameChecker checker{Transport::stream};
  for (std::size_t at = 0; at < stream.size(); at += piece) {
    checker.add(bytes_of(stream).subspan(at, std::min(piece, stream.size() - at)));
  }
  checker.finish();
  if (good != nullptr) {
    *good = checker.good();
  }
  return checker.result();
}

TEST(FrameChecker, FindsFramesHoweverTheStreamIsCut) {
  const std::string stream = make_frame(0, 100) + make_frame(1, sizeof(dmawire_frame_header)) +
                             make_frame(2, 5000, 64) + make_frame(3, 41);
  for (const std::size_t piece : {1, 7, 40, 100, 141, 6000}) {
    bool good = false;
    const FrameChecker::Result result = check(stream, piece, &good);
    EXPECT_EQ(result.frames, 4U) << piece;
    EXPECT_EQ(result.bad, 0U) << piece;
    EXPECT_EQ(result.lost, 0U) << piece;
    EXPECT_EQ(result.first_sequence, 0U);
    EXPECT_EQ(result.last_sequence, 3U);
    EXPECT_TRUE(good);
  }
}

TEST(FrameChecker, SeesEveryDamagedByteThatIsChecked) {
  for (std::size_t at = sizeof(dmawire_frame_header); at < 300; ++at) {
    std::string stream = make_frame(0, 300) + make_frame(1, 300);
    stream[at] = static_cast<char>(stream[at] ^ 1);
    const FrameChecker::Result result = check(stream, 64);
    EXPECT_EQ(result.frames, 1U) << at;
    EXPECT_EQ(result.bad, 1U) << at;
  }
}

TEST(FrameChecker, IgnoresWhatIsNotChecked) {
  std::string stream = make_frame(0, 300, 200);
  stream[250] = 'x';
  EXPECT_EQ(check(stream, 64).bad, 0U);
}

TEST(FrameChecker, CountsGapsAndIsContent) {
  bool good = false;
  const FrameChecker::Result result =
      check(make_frame(5, 64) + make_frame(9, 64) + make_frame(10, 64), 64, &good);
  EXPECT_EQ(result.frames, 3U);
  EXPECT_EQ(result.lost, 3U);
  EXPECT_EQ(result.first_sequence, 5U);
  EXPECT_EQ(result.last_sequence, 10U);
  EXPECT_TRUE(good);
}

TEST(FrameChecker, IsNotContentWithAStreamOutOfOrder) {
  bool good = true;
  const FrameChecker::Result result = check(make_frame(1, 64) + make_frame(0, 64), 64, &good);
  EXPECT_EQ(result.out_of_order, 1U);
  EXPECT_EQ(result.lost, 0U);
  EXPECT_EQ(result.first_sequence, 0U);
  EXPECT_FALSE(good);
}

TEST(FrameChecker, SeesAFrameThatIsNotWhole) {
  bool good = true;
  const std::string stream = make_frame(0, 100) + make_frame(1, 100);
  EXPECT_EQ(check(stream.substr(0, 199), 200, &good).bad, 1U);
  EXPECT_FALSE(good);
  EXPECT_EQ(check(stream.substr(0, 101), 200).bad, 1U);
  EXPECT_EQ(check(stream.substr(0, 100), 200).bad, 0U);
}

TEST(FrameChecker, GivesUpWhereNoFrameBegins) {
  bool good = true;
  const FrameChecker::Result result =
      check(make_frame(0, 100) + std::string(1000, 'x') + make_frame(1, 100), 64, &good);
  EXPECT_EQ(result.frames, 1U);
  EXPECT_EQ(result.bad, 1U);
  EXPECT_FALSE(good);
}

TEST(FrameChecker, RefusesHeadersThatCannotBe) {
  for (const auto& [length, checked] :
       {std::pair{100U, 20U}, std::pair{100U, 101U}, std::pair{20U, 20U}, std::pair{0U, 0U}}) {
    std::string frame = make_frame(0, 100);
    dmawire_frame_header header{};
    std::memcpy(&header, frame.data(), sizeof(header));
    header.length = length;
    header.checked = checked;
    std::memcpy(frame.data(), &header, sizeof(header));
    EXPECT_EQ(check(frame, 100).bad, 1U) << length << ' ' << checked;
  }
}

TEST(FrameChecker, TakesDatagramsInAnyOrder) {
  FrameChecker checker{Transport::datagrams};
  for (const std::uint64_t number : {0, 2, 1, 5}) {
    checker.add(bytes_of(make_frame(number, 1400)));
  }
  const FrameChecker::Result result = checker.result();
  EXPECT_EQ(result.frames, 4U);
  EXPECT_EQ(result.out_of_order, 1U);
  EXPECT_EQ(result.lost, 2U);
  EXPECT_TRUE(checker.good());
}

TEST(FrameChecker, WantsOneWholeFrameInADatagramAndGoesOn) {
  FrameChecker checker{Transport::datagrams};
  checker.add(bytes_of(make_frame(0, 100).substr(0, 99)));
  checker.add(bytes_of(make_frame(1, 100) + "x"));
  checker.add(bytes_of("hello"));
  checker.add(bytes_of(std::string(100, 'x')));
  checker.add(bytes_of(make_frame(2, 100)));
  EXPECT_EQ(checker.result().bad, 4U);
  EXPECT_EQ(checker.result().frames, 1U);
  EXPECT_FALSE(checker.good());
}

}  // namespace
}  // namespace dmawire::commands
