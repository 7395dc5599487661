"""A disk that can lose its power: an NBD server which keeps what is written in memory until the
guest says flush, as a card's own cache does. https://github.com/NetworkBlockDevice/nbd, proto.md"""

import os
import random
import socket
import struct
import threading

SECTOR = 512
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FUA = 1


class Disk:
    def __init__(self, image, path):
        self.file = open(image, "r+b", buffering=0)
        self.size = os.path.getsize(image)
        self.lock = threading.Lock()
        self.unflushed = {}  # number of sector -> its bytes
        self.written = 0  # bytes that the guest wrote, ever
        self.flushes = 0
        self.path = path
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def cut(self, kind, dice=random):
        """The power fails, after the emulator was killed. `killed`: all that was written arrives, as when
        only the guest dies. `unflushed`: nothing arrives that was not flushed. `torn`: each sector of it
        by chance, in no order. Returns the number of bytes that are gone."""
        with self.lock:
            kept = {number: data for number, data in self.unflushed.items()
                    if kind == "killed" or (kind == "torn" and dice.random() < 0.5)}
            gone = len(self.unflushed) - len(kept)
            self.unflushed = kept
            self.flush()
            return gone * SECTOR

    def close(self):
        self.listener.close()
        self.cut("killed")
        self.file.close()

    # What follows runs in the server's threads.

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.client, args=(connection,), daemon=True).start()

    def client(self, connection):
        try:
            if self.negotiate(connection):
                self.transmit(connection)
        except (OSError, EOFError):
            pass
        connection.close()

    def negotiate(self, connection):
        connection.sendall(b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 3))
        take(connection, 4)
        while True:
            _, option, length = struct.unpack(">8sII", take(connection, 16))
            take(connection, length)
            answer = lambda kind, data=b"": connection.sendall(
                struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)
            flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA
            if option == 1:  # EXPORT_NAME
                connection.sendall(struct.pack(">QH", self.size, flags))
                return True
            if option == 2:  # ABORT
                answer(1)
                return False
            if option in (6, 7):  # INFO, GO
                answer(3, struct.pack(">HQH", 0, self.size, flags))
                answer(1)
                if option == 7:
                    return True
                continue
            answer(0x80000001)

    def transmit(self, connection):
        while True:
            _, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", take(connection, 28))
            data = b""
            if kind == READ:
                with self.lock:
                    data = self.read(offset, length)
            elif kind == WRITE:
                sent = take(connection, length)
                with self.lock:
                    self.write(offset, sent)
                    if flags & FUA:
                        self.flush(range(offset // SECTOR, (offset + length) // SECTOR))
            elif kind == FLUSH:
                with self.lock:
                    self.flushes += 1
                    self.flush()
            elif kind == DISCONNECT:
                return
            connection.sendall(struct.pack(">IIQ", 0x67446698, 0, handle) + data)

    def read(self, offset, length):
        data = bytearray(os.pread(self.file.fileno(), length, offset))
        if self.unflushed:
            first = offset // SECTOR
            for number in range(first, first + length // SECTOR):
                if number in self.unflushed:
                    at = (number - first) * SECTOR
                    data[at:at + SECTOR] = self.unflushed[number]
        return bytes(data)

    def write(self, offset, data):
        self.written += len(data)
        for at in range(0, len(data), SECTOR):
            self.unflushed[(offset + at) // SECTOR] = data[at:at + SECTOR]

    def flush(self, only=None):
        numbers = sorted(self.unflushed if only is None else [n for n in only if n in self.unflushed])
        run, start = bytearray(), None
        for number in numbers:
            if start is not None and number != start + len(run) // SECTOR:
                os.pwrite(self.file.fileno(), run, start * SECTOR)
                run, start = bytearray(), None
            if start is None:
                start = number
            run += self.unflushed.pop(number)
        if start is not None:
            os.pwrite(self.file.fileno(), run, start * SECTOR)


def take(connection, length):
    data = bytearray()
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)
