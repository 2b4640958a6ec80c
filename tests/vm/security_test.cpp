// SPDX-License-Identifier: MIT
//
// The promises of kmod/SECURITY.md (S) and the prohibitions of docs/backings.md (B): the tests that
// keep each sentence, by the numbers in these documents, and tests that fit no other file.

#include <fcntl.h>
#include <fnmatch.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <string>
#include <vector>

#include "abi.hpp"
#include "capture_queue.hpp"
#include "capturing.hpp"
#include "eventually.hpp"
#include "given_memory.hpp"
#include "guest.hpp"
#include "mapped.hpp"
#include "slot_ring.hpp"

namespace dmawire::test {
namespace {

/// Tests as a filter of GoogleTest names them. ci/lint looks for the numbers in the documents.
struct Promise {
  const char* number;
  const char* kept_by;
};

constexpr Promise kPromises[] = {
    // Permissions.
    {"S1", "Member.CannotRaiseTheLimits:Node.IsGivenToItsGroupByUdev"},
    {"S2", "Member.*"},
    {"S3", "ReadOnly.*:Vgem.*:Mapping.*:Uring.*"},
    {"S4", "WirePath.DeliversFramesOfAnOddSizeFromAPipe:CapturePath.DeliversFramesOfAnOddSize"},
    {"S5", "UserMemoryAt.TakesAFrameByDmaAndNothingAroundItIsTouched:Edu.WritesNothingAfterStop*"},
    {"S6", "Queue.BelongsToOneOpenFileAtATime:Capture.IsForOneProgramAtATime"},
    {"S7", "Node.IsForRootAndItsGroupAlone:Node.IsGivenToItsGroupByUdev"},
    {"S8", "EveryIoctl.*:AnytimeIoctl.*:Race.*"},
    {"S9", "Member.*:FreshMemory.*:UserMemoryAt.*:Memfd.*:Kill.*:Pressure.*"},
    // Abilities of a member of the group.
    {"S10",
     "IoctlInfo.LimitIsHalfOfRam*:IoctlCreate.RejectsWhat*LimitForbids*:"
     "Member.HasNoMoreMemoryHoweverManyFilesItOpens"},
    {"S11", "MemoryCgroup.IsChargedForEveryPageAndGetsEveryPageBack:Security.PiecesOfSlots*"},
    {"S12",
     "BufferLifetime.OutlivesItsDeviceAndStaysCharged:Mapping.SurvivesTheDescriptor*:"
     "Uring.TheSlotKeepsTheBuffer*:Vgem.KeepsTheBufferAlive:Ending.*:"
     "Security.ANodeThatIsTakenAway*"},
    {"S30", "SenderPath.KilledWhileItsPeerDoesNotRead*"},
    {"S13", "Mapping.AdviceToPageItOutLeavesItAlone"},
    {"S14", "Member.PinsNoMoreThanItMayLock:UserMemory.OutlivesItsProcess*"},
    {"S15", "Security.APageOfAHugeOneCountsAsItself"},
    {"S16", "Memfd.AHolePunchedIntoItIsSeenByMappingsAndNotByTheBuffer"},
    {"S17", "MemfdRange.IsNotTakenFromTheFileThroughAMapping"},
    {"S31", "MemfdRange.OfAWritableBufferCannotBeSealed*"},
    {"S32", "MemfdRange.SealedAgainstFutureWrites*"},
    {"S18", "LongPiece.*:DeviceMemory.*:IoctlCreate.RejectsWhatTheModulesLimitForbids*"},
    {"S33", "Accounting.CreateAtTheLimitOfACgroup*"},
    {"S19", "Contig.KeepsWhatIsStillInUse"},
    {"S20", "Contig.IsPinnedAsUserMemoryOrRefusedAtOnce"},
    {"S21", "ModuleLifetime.AnOpenDeviceHoldsTheModule"},
    {"S22", "ModuleLifetime.ADescriptorInFlightHoldsTheModule:Share.OneCapturesOneSends*"},
    {"S23", "ReadOnly.*"},
    {"S24", "Security.ADeviceWritesThroughAReadOnlyDescriptor"},
    {"S25", "Queue.BelongsToOneOpenFileAtATime:Capture.IsForOneProgramAtATime"},
    {"S26",
     "Fences.AreMadeWhenTheDeviceGetsTheRange:"
     "Fences.OfADeviceThatHangsCarryEtimedoutOnceItIsStopped"},
    // Abilities of the administrator.
    {"S27", "Node.IsGivenToItsGroupByUdev"},
    {"S28", "Member.CannotRaiseTheLimits"},
    {"S29", "IoctlCreate.ALimitBelowWhatIsInUseRefusesMoreAndTakesNothingAway"},
    // Prohibitions for every backing.
    {"B12", "Accounting.AFullCgroupIsAnError*"},
    {"B10", "ReservedMemfd.*:MemfdRange.CannotBeLeft*:MemfdRange.IsNot*"},
    {"B11", "MemfdRange.OfAWritableBufferCannotBeSealed*:MemfdRange.CanBeSealedAfterARefusal"},
    {"B1", "MemoryCgroup.PastItsLimit*:Buffer.FailsWithEnomemWhenMemoryIsExhausted*"},
    {"B2", "Memfd.RejectsOneThatMayShrinkWithEperm"},
    {"B3",
     "Memfd.RejectsOneThatMayNotBeWritten*:Memfd.ForReadingIsNotWrittenByAnybody:"
     "Memfd.CannotBeSealed*"},
    {"B4", "UserMemoryAt.TakesAFrame*:UserMemoryAt.IsWrittenThroughASlot*"},
    {"B5", "Security.MemoryThatSharesACacheLine*"},
    {"B6", "ContigBuffer.IsRefusedWithEnomemWhereNoPieceIsAsLong"},
    {"B7", "Contig.IsRegisteredByAddressOrRefusedAtOnce:Contig.IsPinnedAsUserMemory*"},
    {"B8", "Contig.KeepsWhatIsStillInUse:Contig.HoldsTheModuleAsLongAsItLives"},
    {"B9", "Coherent.OfTheDeviceItself*:Coherent.IsSentByACopyOnlyIfItHasNoPages"},
};

/// The tests of this program, without the parameters they are run with.
std::vector<std::string> all_tests() {
  const testing::UnitTest& program = *testing::UnitTest::GetInstance();
  std::vector<std::string> names;
  for (int i = 0; i < program.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *program.GetTestSuite(i);
    const std::string suite_name = suite.name();
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const std::string name = suite.GetTestInfo(j)->name();
      names.push_back(suite_name.substr(suite_name.find('/') + 1) + "." +
                      name.substr(0, name.find('/')));
    }
  }
  return names;
}

TEST(Security, EachPromiseIsKeptByTestsOfThisProgram) {
  const std::vector<std::string> tests = all_tests();
  for (const Promise& promise : kPromises) {
    std::istringstream patterns{promise.kept_by};
    for (std::string pattern; std::getline(patterns, pattern, ':');) {
      EXPECT_TRUE(std::ranges::any_of(
          tests,
          [&](const std::string& name) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; }))
          << promise.number << ": " << pattern;
    }
  }
}

TEST(Security, PiecesOfSlotsAreChargedToTheMemoryCgroup) {
  if (!has_direct())
    GTEST_SKIP() << "this kernel takes no dma-bufs into a ring's table";
  if (!write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory"))
    GTEST_SKIP() << "no memory controller of cgroup v2 at /sys/fs/cgroup";
  constexpr unsigned slots = 1'024;
  constexpr uint64_t length = 32 * kMiB;
  // At least one for every 64 KiB: an address, an offset and a length.
  constexpr uint64_t pieces = slots * (length / kFolio) * 16;
  const std::string path = "/sys/fs/cgroup/dmawire-slots";
  ASSERT_EQ(mkdir(path.c_str(), 0755), 0);
  const UniqueFd device = open_device();
  const UniqueFd buffer = create_buffer(device.get(), length);
  const int status = in_child([&] {
    if (!write_text(path + "/cgroup.procs", "0"))
      return 1;
    SlotRing ring;
    if (io_uring_register_buffers_sparse(ring.get(), slots) != 0)
      return 2;
    const auto charged = [&] { return std::stoull(read_text(path + "/memory.current")); };
    const uint64_t before = charged();
    for (unsigned slot = 0; slot < slots; ++slot)
      if (ring.register_slot(device.get(), buffer.get(), slot) != 0)
        return 3;
    // The kernel keeps charges for up to 64 pages per CPU in stock.
    return charged() + kMiB >= before + pieces ? 0 : 4;
  });
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(eventually([&] { return rmdir(path.c_str()) == 0 || errno != EBUSY; }));
}

TEST(Security, ANodeThatIsTakenAwayLeavesWhatWasMadeOfIt) {
  constexpr const char* node = "/dev/dmawire0";
  struct stat before {};
  ASSERT_EQ(stat(node, &before), 0);
  const int status = without_rights(0, [] { return open_device().valid() ? 1 : 0; });
  EXPECT_EQ(status, 0) << "the node is everybody's";

  ASSERT_EQ(chmod(node, 0666), 0);
  int ready[2];
  int gone[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(gone, O_CLOEXEC), 0);
  const pid_t member = fork();
  ASSERT_GE(member, 0);
  if (member == 0) {
    _exit(without_rights(0, [&] {
      const UniqueFd device = open_device();
      const UniqueFd buffer = create_buffer(device.get(), kMiB);
      char byte = 0;
      if (write(ready[1], &byte, 1) != 1 || read(gone[0], &byte, 1) != 1)
        return 1;
      Mapped mapping(buffer.get(), kMiB);
      if (open_device().valid() || mapping.error() != 0)
        return 2;
      mapping.bytes()[0] = 1;
      // Open descriptors stay usable, too.
      return try_create(device.get(), kPage) == 0 ? 0 : 3;
    }));
  }
  close(ready[1]);
  close(gone[0]);
  char byte = 0;
  EXPECT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(chmod(node, before.st_mode & 07777), 0);
  EXPECT_EQ(write(gone[1], &byte, 1), 1);
  int ended = 0;
  EXPECT_EQ(waitpid(member, &ended, 0), member);
  EXPECT_EQ(ended, 0);
  close(ready[0]);
  close(gone[1]);
}

TEST(Security, APageOfAHugeOneCountsAsItself) {
  const HugePages pages(2 * kMiB, 1);
  if (!pages.available())
    GTEST_SKIP() << "this guest has no page of 2 MiB to spare";
  const UniqueFd memfd = make_memfd(2 * kMiB, 2 * kMiB);
  const AlignedMapping mapping(memfd.get(), 2 * kMiB, 2 * kMiB);
  ASSERT_EQ(mapping.error(), 0);
  const UniqueFd device = open_device();
  const int status = without_rights(16 * kPage, [&] {
    const uint8_t* data = mapping.bytes().data();
    if (create_error(device.get(), user_request(data + kMiB, 16 * kPage)) != 0)
      return 1;
    if (create_error(device.get(), user_request(data + kMiB, 17 * kPage)) != EDQUOT)
      return 2;
    if (create_error(device.get(), memfd_request(memfd.get(), 0, 16 * kPage)) != 0)
      return 3;
    return create_error(device.get(), memfd_request(memfd.get(), 0, 17 * kPage)) == EDQUOT ? 0 : 4;
  });
  EXPECT_EQ(status, 0);
}

TEST(Security, ADeviceWritesThroughAReadOnlyDescriptor) {
  const UniqueFd device = open_device();
  const UniqueFd buffer = create_buffer(device.get(), 4 * kPage, O_RDONLY | O_CLOEXEC);
  const Mapped memory(buffer.get(), 4 * kPage, 0, PROT_READ);
  ASSERT_EQ(memory.error(), 0);
  const CaptureQueue queue(device.get());
  uint32_t index = 0;
  ASSERT_EQ(queue.attach(buffer.get(), &index), 0);
  ASSERT_EQ(queue.enqueue(index, 0, 4 * kPage), 0);
  ASSERT_EQ(queue.start(), 0);
  EXPECT_EQ(queue.dequeue().out_result, static_cast<int>(4 * kPage));
  EXPECT_EQ(queue.stop(), 0);
  EXPECT_EQ(queue.detach(index), 0);
  EXPECT_EQ(frame_fault(memory.bytes(), 0), "");
}

TEST(Security, MemoryThatSharesACacheLineIsRefusedForADeviceThatIsNotCoherent) {
  const DriverModule driver("dmawire_dmaengine");
  const UniqueFd device = open_driver("dmaengine");
  if (!device.valid() || read_text("/proc/cpuinfo").find("CPU implementer") == std::string::npos)
    GTEST_SKIP() << "this machine has no DMA controller that is not coherent with the CPU's caches";
  const Anonymous memory(4 * kPage);
  const CaptureQueue queue(device.get());
  struct Place {
    size_t begin;
    size_t length;
    int error;
  };
  for (const Place& place : {Place{0, kPage, 0}, Place{256, 512, 0}, Place{1, kPage, EOPNOTSUPP},
                             Place{256, 100, EOPNOTSUPP}, Place{256 + 8, 512 - 8, EOPNOTSUPP}}) {
    SCOPED_TRACE(testing::Message() << place.length << " bytes at " << place.begin);
    const UniqueFd buffer =
        create(device.get(), user_request(memory.data() + place.begin, place.length));
    uint32_t index = 0;
    EXPECT_EQ(queue.attach(buffer.get(), &index), place.error);
    if (place.error == 0) {
      EXPECT_EQ(queue.detach(index), 0);
    }
  }
}

}  // namespace
}  // namespace dmawire::test
