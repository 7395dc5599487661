"""The box in an emulator: its card, its network, its serial line, and its power switch."""

import json
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from nbd import Disk

MIB = 1 << 20
BOOT_AT = 2 * MIB


# What differs between the emulated boards, behind the card `card` and the network `lan`. On the
# Raspberry Pi 3 the emulator ends when the watchdog is armed, so its driver is left out.
BOARDS = {
    "virt": (["-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "512", "-rtc", "base=2020-01-01T00:00:00",
              "-device", "virtio-blk-pci,drive=card", "-device", "virtio-rng-pci",
              "-device", "virtio-net-pci,netdev=lan,romfile="], "console=ttyAMA0"),
    "raspi3b": (["-M", "raspi3b", "-device", "usb-net,netdev=lan", "-serial", "null"],
                "console=ttyS1,115200 modprobe.blacklist=bcm2835_wdt"),
}


class Machine:
    def __init__(self, card, kernel, initramfs, work, patience):
        self.card, self.kernel, self.initramfs, self.work, self.patience = card, kernel, initramfs, work, patience
        self.process = None
        self.disk = None
        self.page, self.stratum, self.ssh_port = free_port(), free_port(), free_port()
        self.boots = 0

    def on(self, words="", board="virt"):
        """Power. The clock stands at 2020 each time, as boards have none."""
        hardware, console = BOARDS[board]
        assert self.process is None
        self.disk = Disk(self.card, self.work / "disk.socket")
        self.boots += 1
        self.serial = self.work / f"serial-{self.boots}.log"
        forward = [f"hostfwd=tcp:127.0.0.1:{port}-:{to}" for port, to in
                   [(self.page, 80), (self.stratum, 3333), (self.ssh_port, 22)]]
        trees = {"raspi3b": ["-dtb", self.kernel.with_name("bcm2837-rpi-3-b.dtb")]}.get(board, [])
        command = [
            "qemu-system-aarch64", "-nodefaults", "-display", "none", *hardware, "-serial", f"file:{self.serial}",
            "-kernel", self.kernel, "-initrd", self.initramfs, *trees,
            "-append", f"{console} panic=5 net.ifnames=0 quiet loglevel=4 {words}",
            "-drive", f"file=nbd+unix:///?socket={self.disk.path},format=raw,id=card,cache=writeback,"
                      f"if={'sd' if board == 'raspi3b' else 'none'}",
            "-netdev", ",".join(["user,id=lan", *forward]),
        ]
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.work / "qemu.log", "ab"))

    def off(self, kind="killed"):
        """The plug is pulled. Returns how many written bytes the card had not kept."""
        self.process.kill()
        self.process.wait()
        self.process = None
        gone = self.disk.cut(kind)
        self.disk.close()
        self.disk = None
        return gone

    def stop(self):
        """Off, if it is on."""
        if self.process:
            self.off()

    def seconds(self):
        return time.monotonic() - self.started

    def told(self):
        return self.serial.read_text(errors="replace") if self.serial.exists() else ""

    def get(self, path, timeout=20):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.page}{path}", timeout=timeout) as answer:
            return answer.read()

    def api(self, path):
        return json.loads(self.get(path))

    def wait(self, what, ready, patience=None):
        """Asks until the answer is true; a machine that is dead or too slow fails with its last words."""
        end = time.monotonic() + (patience or self.patience)
        while time.monotonic() < end:
            try:
                answer = ready()
            except (OSError, ValueError, EOFError, subprocess.SubprocessError):
                answer = None
            if answer:
                return answer
            if self.process is not None and self.process.poll() is not None:
                break
            time.sleep(0.5)
        raise AssertionError(f"Waited in vain for {what}. The serial line's end:\n{self.told()[-3000:]}")

    def wait_for_page(self):
        self.wait("the page", lambda: b"<html" in self.get("/"))

    def wait_for_shell(self):
        """It comes after what mining needs."""
        self.wait("SSH", lambda: self.shell("true")[0] == 0)

    def shell(self, command, timeout=600):
        """Runs it in the box, through SSH and the key on the card."""
        words = ["ssh", "-q", "-i", self.work / "key", "-p", self.ssh_port, "-o", "StrictHostKeyChecking=no", "-o",
                 "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "root@127.0.0.1", command]
        done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
        if done.returncode == 255:
            raise OSError(done.stderr.decode(errors="replace"))
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace").strip()

    # The card in another computer.

    def put(self, name, text):
        source = self.work / "to-card"
        source.write_text(text)
        self.mtools("mcopy", "-o", source, f"::{name}")

    def read(self, name):
        return self.mtools("mtype", f"::{name}").decode()

    def mtools(self, command, *words):
        assert self.process is None
        where = f"{self.card}@@{BOOT_AT}"
        return subprocess.run([command, "-i", where, *map(str, words)], check=True, capture_output=True).stdout

    def partition(self, start_mib, size):
        with open(self.card, "rb") as card:
            card.seek(start_mib * MIB)
            return card.read(size)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
