// SPDX-License-Identifier: MIT
//
// The calls of an input and the interesting values of each of their fields.

#include <fcntl.h>
#include <liburing.h>
#include <linux/dma-buf.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include "input.hpp"
#include "world.hpp"

namespace dmawire::fuzz {
namespace {

constexpr std::int64_t most = INT64_MAX;
constexpr std::int64_t least = INT64_MIN;

const Values reference{{0, 1, 2, 3, -1, -2, -3}, true};
const Values few{{0, 1, 2, 3, 4, 5, 6, 7}, true};
const Values bits{{0, 1, 2, 4, 8, 0x80, 0x8000'0000, 0xffff'ffff}};
const Values lengths{{0,      1,      4095,    4096,    4097,      8192,     65'535,
                      65'536, 65'537, 131'072, 200'000, 262'144,   most,     least,
                      -1,     -4096,  -4097,   -65'536, 1LL << 32, 1LL << 40}};
const Values offsets{
    {0, 1, 4095, 4096, 8192, 61'440, 65'536, 1 << 20, -4096, -1, most, least, 1LL << 32}};
// Of user memory they are addresses: in an area, at its end, and where nothing can be.
constexpr auto area_1 = static_cast<std::int64_t>(arena::begin + arena::area_size);
const Values starts{{0, 1, 4096, 65'536, area_1, area_1 + 1, area_1 + 4095, area_1 - 1,
                     area_1 - 4096, most, least, -1, -4096, -131'072}};
const Values backings{{0, 1, 2, 3, 4, 8, 0x80, 0x8000'0000, 0xffff'ffff}};
const Values directions{{0, 1, 2, 3, -1}};
const Values nodes{{-1, 0, 1, 63, 1023, 1024, -2, INT32_MAX, INT32_MIN}};
const Values fd_flags{{O_RDWR | O_CLOEXEC, O_RDWR, O_RDONLY, O_RDONLY | O_CLOEXEC, O_WRONLY,
                       O_ACCMODE, O_RDWR | O_NONBLOCK, O_RDWR | O_APPEND, -1}};
// -1: the struct's own; others as they are.
const Values sizes{{-1, 0,  4,  8,  15,  16,  31,  32,   40,   47,   48,
                    56, 60, 64, 96, 135, 136, 144, 4095, 4096, 4097, 0xffff'ffff}};
const Values slots{{0, 1, 2, 3, 4, 7, 8, 0xffff, 0x7fff'ffff, 0xffff'ffff}};
const Values indexes{{0, 1, 2, 3, 4095, 4096, 0xffff'ffff}};
const Values rates{{0, 1, 100, 1000, 1'000'000, 1'000'001, 0xffff'ffff}};
const Values protections{
    {PROT_READ | PROT_WRITE, PROT_READ, PROT_WRITE, PROT_NONE, PROT_READ | PROT_EXEC}};
const Values map_flags{{MAP_SHARED, MAP_PRIVATE, MAP_SHARED | MAP_POPULATE, MAP_SHARED | MAP_LOCKED,
                        MAP_SHARED_VALIDATE, MAP_SHARED_VALIDATE | MAP_SYNC}};
const Values advices{{MADV_DONTNEED, MADV_DONTFORK, MADV_DOFORK, MADV_REMOVE, MADV_HUGEPAGE,
                      MADV_COLD, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_PAGEOUT, MADV_FREE,
                      MADV_WILLNEED, MADV_COLLAPSE, MADV_MERGEABLE}};
const Values whences{{SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, -1}};
const Values syncs{{DMA_BUF_SYNC_RW, DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE,
                    DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END,
                    DMA_BUF_SYNC_WRITE | DMA_BUF_SYNC_END, 0, DMA_BUF_SYNC_END, 8, -1}};
const Values sqe_flags{{0, IOSQE_ASYNC, IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_IO_DRAIN,
                        IOSQE_ASYNC | IOSQE_IO_LINK, IOSQE_CQE_SKIP_SUCCESS, IOSQE_FIXED_FILE,
                        IOSQE_BUFFER_SELECT, 0xff}};
const Values ring_flags{{0, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
                         IORING_SETUP_SQPOLL, IORING_SETUP_IOPOLL, IORING_SETUP_SQE128,
                         IORING_SETUP_CQE32, IORING_SETUP_COOP_TASKRUN, IORING_SETUP_R_DISABLED}};
const Values seals{{0, F_SEAL_SHRINK, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL,
                    F_SEAL_SHRINK | F_SEAL_WRITE, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE}};
const Values allocations{{0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          FALLOC_FL_ZERO_RANGE, FALLOC_FL_COLLAPSE_RANGE}};
const Values pages_of_files{{0, 1, 2, 8, 15, 16, 31, 63, 64, 1024, most, -1}};
const Values open_modes{{O_PATH, O_RDWR, O_RDONLY, O_WRONLY}};
const Values send_flags{{0, MSG_WAITALL, MSG_DONTWAIT, MSG_MORE}};

// Fields that all structs have: the size passed to the kernel, the contents of the tail beyond the
// part that the kernel knows, and the defect of the pointer (enum Pointer).
const Field size{"size", &sizes, -1};
const Field tail{"tail", &few};
const Field pointer{"ptr", &few};
const Field device{"dev", &reference};
const Field buffer{"fd", &reference};
const Field ring{"ring", &reference};
const Field file{"memfd", &reference};
const Field area{"area", &few};  // a place for a mapping
const Field slot{"slot", &slots};
const Field index{"index", &indexes};
const Field offset{"offset", &offsets};
const Field length{"length", &lengths, 4096};

}  // namespace

const std::vector<CallType>& grammar() {
  static const std::vector<CallType> types{
      {"open", {{"mode", &few, O_RDWR}, {"node", &few}, {"waits", &few}}},
      {"reopen", {{"kind", &few, 1}, buffer, {"mode", &open_modes, O_PATH}}},
      {"close", {{"kind", &few, 1}, buffer}},
      {"create",
       {device,
        length,
        {"flags", &bits},
        {"backing", &backings},
        {"direction", &directions, 2},
        {"node", &nodes, -1},
        {"fd_flags", &fd_flags, O_RDWR | O_CLOEXEC},
        {"reserved", &bits},
        {"start", &starts},
        {"memfd", &few},
        size,
        tail,
        pointer}},
      {"info", {device, {"flags", &bits}, size, tail, pointer}},
      {"query", {device, buffer, {"flags", &bits}, size, tail, pointer}},
      {"odd_ioctl", {device, {"nr", &few}, {"magic", &bits, 0xda}, {"shape", &bits}, pointer}},
      {"attach", {device, buffer, {"flags", &bits}, size, tail, pointer}},
      {"detach", {device, index, {"flags", &bits}, {"reserved", &bits}, size, tail, pointer}},
      {"start",
       {device, {"rate", &rates}, {"flags", &bits}, {"reserved", &bits}, size, tail, pointer}},
      {"stop", {device, {"flags", &bits}, size, tail, pointer}},
      {"enqueue", {device, index, offset, length, {"flags", &bits}, size, tail, pointer}},
      {"dequeue", {device, {"flags", &bits}, size, tail, pointer}},
      {"lend", {device, buffer, {"how", &few}}},
      {"status", {device, {"flags", &bits}, size, tail, pointer}},
      {"foreign", {{"how", &few}}},
      {"other", {{"how", &few}}},
      {"memfd", {{"how", &few}, {"seals", &seals, F_SEAL_SHRINK}}},
      {"seal", {file, {"seals", &seals, F_SEAL_WRITE}}},
      {"fallocate",
       {file, offset, length, {"mode", &allocations, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE}}},
      {"dup", {buffer, {"how", &few}}},
      {"pass", {buffer, {"receive", &few, 1}}},
      {"sync", {buffer, {"flags", &syncs, DMA_BUF_SYNC_RW}, pointer}},
      {"sync_part",
       {device,
        buffer,
        {"flags", &syncs, DMA_BUF_SYNC_RW},
        offset,
        {"length", &lengths},
        {"reserved", &bits},
        size,
        tail,
        pointer}},
      {"set_name", {buffer, {"length", &few, 5}, pointer}},
      {"export_sync", {buffer, {"flags", &syncs, DMA_BUF_SYNC_RW}, pointer}},
      {"fence", {{"how", &few}}},
      {"import_sync", {buffer, {"fence", &reference}, {"flags", &syncs, DMA_BUF_SYNC_RW}, pointer}},
      {"seek", {buffer, offset, {"whence", &whences, SEEK_END}}},
      {"poke", {{"kind", &few, 1}, buffer, {"how", &few}}},
      {"map",
       {buffer,
        area,
        offset,
        length,
        {"prot", &protections, PROT_READ | PROT_WRITE},
        {"flags", &map_flags, MAP_SHARED}}},
      {"touch", {area, offset, length, {"how", &few}}},
      {"unmap", {area, offset, length}},
      {"remap",
       {area, offset, length, {"new_length", &lengths, 4096}, {"to", &few}, {"move", &few}}},
      {"remap_pages", {area, offset, length, {"page", &pages_of_files}, {"flags", &map_flags}}},
      {"protect", {area, offset, length, {"prot", &protections, PROT_READ}}},
      {"advise", {area, offset, length, {"advice", &advices, MADV_DONTNEED}}},
      {"fork", {area, {"how", &few}, {"wait", &few}}},
      {"ring", {{"flags", &ring_flags}, {"slots", &few, 4}}},
      {"ring_exit", {ring}},
      {"ring_table", {ring, {"slots", &few}}},
      {"register",
       {ring,
        device,
        buffer,
        slot,
        offset,
        {"length", &lengths},
        {"flags", &bits},
        size,
        tail,
        pointer,
        {"sqe_flags", &sqe_flags},
        {"submit", &few, 1}}},
      {"unregister",
       {ring,
        device,
        slot,
        {"flags", &bits},
        {"reserved", &bits},
        size,
        tail,
        pointer,
        {"sqe_flags", &sqe_flags},
        {"submit", &few, 1}}},
      {"capture",
       {ring,
        device,
        index,
        offset,
        length,
        {"flags", &bits},
        size,
        tail,
        pointer,
        {"sqe_flags", &sqe_flags},
        {"submit", &few, 1}}},
      {"odd_command",
       {ring,
        device,
        {"op", &bits, 2},
        {"off", &bits},
        {"len", &bits},
        {"uring_flags", &bits},
        pointer,
        {"sqe_flags", &sqe_flags},
        {"submit", &few, 1}}},
      {"register_address", {ring, slot, area, offset, length}},
      {"send",
       {ring,
        {"socket", &few},
        slot,
        offset,
        length,
        {"flags", &send_flags},
        {"sqe_flags", &sqe_flags},
        {"submit", &few, 1}}},
      {"file",
       {ring, slot, offset, length, {"how", &few}, {"sqe_flags", &sqe_flags}, {"submit", &few, 1}}},
      {"reap", {ring}},
      {"drain", {{"socket", &few}}},
      {"import", {buffer, {"how", &few}}},
      {"driver", {{"how", &few}}},
      {"signal", {{"how", &few}}},
      {"limit", {{"how", &few}}},
  };
  return types;
}

}  // namespace dmawire::fuzz
