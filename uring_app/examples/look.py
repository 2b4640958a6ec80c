#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""look.py SOCKET [FRAMES]: looks at what `uring_app share SOCKET` lends, as look.cpp does.

The protocol of include/dmawire/share.h with nothing but the standard library.
"""

import array
import mmap
import os
import socket
import struct
import sys

MAGIC, VERSION = 0x65726168, 1
HELLO, WELCOME, BUFFERS, FRAMES, DONE, END = range(1, 7)
MAX_ENTRIES = 64
HEADER = struct.Struct("=4I")  # type, size, count, reserved
WELCOME_BODY = struct.Struct("=4I2Q")  # version, hold, buffers, frames, frame_length, stride
BUFFER = struct.Struct("=4I2Q")  # id, flags, first_frame, frames, length, offset
FRAME = struct.Struct("=2I4Q4I")  # id, buffer, offset, length, sequence, timestamp, skipped, lost, ...
END_BODY = struct.Struct("=2I")  # reason, skipped


class Owner:
    """The connection to who lends."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)
        self.memory = []
        self.send(HELLO, 0, struct.pack("=4I", MAGIC, VERSION, 1, 0))
        _, body, _ = self.receive(WELCOME)
        buffers = WELCOME_BODY.unpack(body)[2]
        while len(self.memory) < buffers:
            _, body, descriptors = self.receive(BUFFERS)
            for (_, _, _, _, length, _), fd in zip(BUFFER.iter_unpack(body), descriptors):
                if os.lseek(fd, 0, os.SEEK_END) < length:
                    sys.exit("a buffer is shorter than its owner says")
                self.memory.append(mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ))
                os.close(fd)  # the mapping stays

    def send(self, kind, count, body):
        self.socket.send(HEADER.pack(kind, HEADER.size + len(body), count, 0) + body)

    def receive(self, *kinds):
        room = array.array("i", [0]) * MAX_ENTRIES
        packet, control, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(len(room) * room.itemsize))
        if not packet:
            sys.exit("the owner is gone")
        kind = HEADER.unpack_from(packet)[0]
        if kind == END and END not in kinds:
            sys.exit(f"the owner shares nothing, reason {END_BODY.unpack_from(packet, HEADER.size)[0]}")
        if kind not in kinds:
            sys.exit("the owner does not keep to the protocol")
        descriptors = array.array("i")
        for level, what, data in control:
            if level == socket.SOL_SOCKET and what == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) // descriptors.itemsize * descriptors.itemsize])
        return kind, packet[HEADER.size :], descriptors


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} SOCKET [FRAMES]")
    left = int(sys.argv[2]) if len(sys.argv) == 3 else float("inf")
    owner = Owner(sys.argv[1])
    while left > 0:
        kind, body, _ = owner.receive(FRAMES, END)
        if kind == END:
            print("the end: reason", END_BODY.unpack(body)[0])
            return
        for frame, buffer, offset, length, sequence, _, skipped, lost, _, _ in FRAME.iter_unpack(body):
            view = owner.memory[buffer][offset : offset + length]
            print(f"frame {sequence}: {length} bytes, sum {sum(view)}, {skipped} skipped, {lost} lost", flush=True)
            owner.send(DONE, 1, struct.pack("=I", frame))
            left -= 1


if __name__ == "__main__":
    main()
