"""A Stratum miner, enough of one to find blocks on a chain for tests and shares on a quiet node."""

import hashlib
import json
import socket
import struct
import time

DIFFICULTY_1 = 0xFFFF << 208


class Miner:
    def __init__(self, port, name, difficulty=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.lines = self.socket.makefile("rb")
        self.number = 0
        self.name = name
        self.job = self.target = None
        self.extranonce2 = 0
        self.extranonce1, self.size = self.ask("mining.subscribe", ["box-test/1"])[1:3]
        assert self.ask("mining.authorize", [name, f"d={difficulty}" if difficulty else "x"]) is True

    def ask(self, method, params):
        self.number += 1
        self.send({"id": self.number, "method": method, "params": params})
        while True:
            message = self.read()
            if message.get("id") == self.number and "method" not in message:
                if message.get("error"):
                    return message["error"]
                return message["result"]

    def send(self, message):
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def read(self):
        line = self.lines.readline()
        if not line:
            raise EOFError("the box closed the connection")
        message = json.loads(line)
        if message.get("method") == "mining.notify":
            self.job = message["params"]
        if message.get("method") == "mining.set_difficulty":
            self.target = int(DIFFICULTY_1 / message["params"][0])
        return message

    def wait_for_job(self):
        while self.job is None:
            self.read()
        return self.job

    def newest(self):
        """Reads what has come already."""
        self.socket.settimeout(0.05)
        try:
            while True:
                self.read()
        except TimeoutError:
            # A buffered reader that has timed out once reads no more.
            self.lines = self.socket.makefile("rb")
        finally:
            self.socket.settimeout(60)

    def mine(self, solves_block, until=None):
        """Searches the newest job: (job, extranonce2, time, nonce, hash) of a header that solves a block,
        or one that is a share. `None` when the time is over."""
        self.wait_for_job()
        job, prev, coinbase1, coinbase2, branch, version, bits, time_, _ = self.job
        self.extranonce2 += 1
        extranonce2 = self.extranonce2.to_bytes(self.size, "big").hex()
        root = sha256d(bytes.fromhex(coinbase1 + self.extranonce1 + extranonce2 + coinbase2))
        for node in branch:
            root = sha256d(root + bytes.fromhex(node))
        prev = b"".join(struct.pack("<I", int(prev[at:at + 8], 16)) for at in range(0, 64, 8))
        head = struct.pack("<I", int(version, 16)) + prev + root + struct.pack("<II", int(time_, 16), int(bits, 16))
        compact = int(bits, 16)
        network = (compact & 0x7FFFFF) << 8 * ((compact >> 24) - 3)
        target = network if solves_block else self.target
        first = hashlib.sha256(head[:64])
        for nonce in range(1 << 32):
            half = first.copy()
            half.update(head[64:] + struct.pack("<I", nonce))
            found = hashlib.sha256(half.digest()).digest()
            if int.from_bytes(found, "little") <= target:
                return job, extranonce2, time_, f"{nonce:08x}", found[::-1].hex()
            if nonce % 4096 == 0 and until and time.monotonic() > until:
                return None

    def submit(self, found):
        return self.ask("mining.submit", [self.name, *found[:4]])

    def close(self):
        self.socket.close()


def sha256d(data):
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
