// SPDX-License-Identifier: MIT
#include <dmawire/recorder.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <dmawire/error.hpp>
#include <dmawire/exporters.hpp>
#include <dmawire/sender.hpp>
#include <fstream>
#include <string>

#include "fake_sys.hpp"
#include "loopback.hpp"

namespace dmawire::test {
namespace {

constexpr std::size_t frame_length = 8192;
constexpr std::uint32_t pool_size = 4;

/// Records on the ring of a sender to this machine. O_DIRECT is for guests: not every disk has it.
class RecorderTest : public testing::TestWithParam<Path> {
 protected:
  RecorderTest() {
    fake_->create = [](const char* path, int flags, mode_t mode) {
      EXPECT_TRUE((flags & O_DIRECT) != 0);
      return ::open(path, (flags & ~O_DIRECT) | O_CREAT, mode);
    };
    const UniqueFd made{::mkstemp(path_.data())};
  }
  ~RecorderTest() override { ::unlink(path_.c_str()); }

  Frame numbered(char number) {
    Frame frame = std::move(*pool_.take());
    std::fill(frame.bytes().begin(), frame.bytes().end(), static_cast<std::byte>(number));
    return frame;
  }
  [[nodiscard]] std::string stored() const {
    std::ifstream file{path_, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
  }

  FakeSys fake_;
  std::string path_ = "/tmp/dmawire-record.XXXXXX";
  Loopback connection_;
  FramePool pool_ = make_pool(Exporter::memfd, pool_size, frame_length);
  std::unique_ptr<Sender> sender_ = make_sender(GetParam(), std::array{connection_.near.get()},
                                                pool_, {.client_requests = pool_size});
};
INSTANTIATE_TEST_SUITE_P(Every, RecorderTest, testing::Values(Path::fixed, Path::plain, Path::copy),
                         [](const auto& parameter) { return std::string{name(parameter.param)}; });

TEST_P(RecorderTest, WritesFramesInTheirOrderAndEndsTheFileWithTheLast) {
  Recorder recorder{path_, pool_, *sender_};
  EXPECT_FALSE(recorder.write(numbered('a'), frame_length));
  EXPECT_FALSE(recorder.write(numbered('b'), 5000));
  EXPECT_FALSE(recorder.write(numbered('c'), 100));
  EXPECT_EQ(pool_.available(), 1U);
  EXPECT_FALSE(recorder.finish());
  EXPECT_EQ(pool_.available(), pool_size);
  EXPECT_EQ(recorder.bytes(), frame_length + 5000 + 100);
  const std::string file = stored();
  ASSERT_EQ(file.size(), frame_length + 8192 + 100);
  EXPECT_EQ(file.substr(0, frame_length), std::string(frame_length, 'a'));
  EXPECT_EQ(file.substr(frame_length, 5000), std::string(5000, 'b'));
  EXPECT_EQ(file.substr(frame_length + 8192), std::string(100, 'c'));
}

TEST_P(RecorderTest, SharesAFrameWithTheSenderUntilBothAreDone) {
  Recorder recorder{path_, pool_, *sender_};
  Frame frame = numbered('x');
  EXPECT_FALSE(recorder.write(frame.share(), frame_length));
  EXPECT_FALSE(sender_->send(std::move(frame), frame_length));
  EXPECT_EQ(pool_.available(), pool_size - 1);
  EXPECT_FALSE(recorder.finish());
  std::string arrived(frame_length, '\0');
  EXPECT_FALSE(sender_->finish());
  EXPECT_EQ(::recv(connection_.far.get(), arrived.data(), arrived.size(), MSG_WAITALL),
            static_cast<ssize_t>(frame_length));
  EXPECT_EQ(arrived, std::string(frame_length, 'x'));
  EXPECT_EQ(stored(), arrived);
  EXPECT_EQ(pool_.available(), pool_size);
}

/// The first write of more than a block looks shorter than it was.
int shorten_one(io_uring* ring, unsigned wait_for) {
  const int status = ::io_uring_submit_and_wait(ring, wait_for);
  unsigned head;
  io_uring_cqe* cqe;
  io_uring_for_each_cqe(ring, head, cqe) {
    if (cqe->res == static_cast<int>(frame_length)) {
      cqe->res = 4096;
    }
  }
  return status;
}

TEST_P(RecorderTest, WritesTheRestOfAShortWrite) {
  Recorder recorder{path_, pool_, *sender_};
  fake_->ring_submit_and_wait = shorten_one;
  EXPECT_FALSE(recorder.write(numbered('a'), frame_length));
  EXPECT_FALSE(recorder.finish());
  EXPECT_EQ(recorder.bytes(), frame_length);
  EXPECT_EQ(stored(), std::string(frame_length, 'a'));
}

TEST_P(RecorderTest, TellsThatTheDiskIsFullAndGivesFramesBack) {
  fake_->create = [](const char*, int, mode_t) {
    return ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  };
  Recorder recorder{path_, pool_, *sender_};
  EXPECT_FALSE(recorder.write(numbered('a'), frame_length));
  EXPECT_EQ(recorder.finish().value(), ENOSPC);
  EXPECT_EQ(recorder.write(numbered('b'), frame_length).value(), ENOSPC);
  EXPECT_EQ(recorder.failure().value(), ENOSPC);
  EXPECT_EQ(recorder.bytes(), 0U);
  EXPECT_EQ(pool_.available(), pool_size);
}

TEST_P(RecorderTest, SaysWhyAFileCannotBeMade) {
  fake_->create = [](const char*, int, mode_t) {
    errno = EINVAL;
    return -1;
  };
  try {
    const Recorder recorder{path_, pool_, *sender_};
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::impossible);
    EXPECT_NE(std::string{error.what()}.find("no O_DIRECT"), std::string::npos) << error.what();
  }
}

TEST_P(RecorderTest, WritesOnARingOfItsOwnToo) {
  Recorder recorder{path_, pool_};
  EXPECT_FALSE(recorder.write(numbered('a'), frame_length));
  EXPECT_FALSE(recorder.wait());
  EXPECT_EQ(pool_.available(), pool_size);
  EXPECT_FALSE(recorder.wait()) << "there is nothing to wait for";
  EXPECT_FALSE(recorder.write(numbered('b'), 100));
  EXPECT_FALSE(recorder.finish());
  EXPECT_EQ(stored(), std::string(frame_length, 'a') + std::string(100, 'b'));
}

TEST(Recorder, RefusesFramesThatDoNotBeginOnPages) {
  FramePool side_by_side = make_pool(Exporter::memfd, 2, 5000);
  try {
    const Recorder recorder{"/dev/null", side_by_side};
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::impossible);
    EXPECT_NE(std::string{error.what()}.find("multiple of 4096"), std::string::npos)
        << error.what();
  }
}

TEST(Recorder, NeedsASenderWithARing) {
  const Loopback connection;
  FramePool pool = make_pool(Exporter::memfd, 1, frame_length);
  const auto sender = make_sender(Path::msg, std::array{connection.near.get()}, pool, {});
  EXPECT_THROW((Recorder{"/dev/null", pool, *sender}), Error);
}

}  // namespace
}  // namespace dmawire::test
