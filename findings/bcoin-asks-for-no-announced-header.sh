#!/bin/sh
# One would guess that a full node that sends and takes `sendheaders` (BIP 130) fetches a block whose
# header is announced to it. bcoin 1.0.2 ignores such a `headers`, and asks for the block after an `inv`
# alone; and where nothing follows a locator it answers `getheaders` not at all, where Bitcoin Core sends
# an empty list. So who hands over a block by its header waits for ever, and so does who counts answers.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
# leveldown 6.1.1 brings its binaries; bcoin's own version of it would have to be compiled.
echo '{"dependencies": {"bcoin": "1.0.2"}, "overrides": {"leveldown": "6.1.1"}}' >package.json
npm --silent --no-audit --no-fund --ignore-scripts install >/dev/null
NODE_BACKEND=js DIR="$dir" python3 - <<'PYTHON'
import base64, hashlib, json, os, re, socket, struct, subprocess, time, urllib.request

root = os.environ["DIR"]
package = json.load(open(root + "/node_modules/bcoin/package.json"))
print("bcoin", package["version"])


def free():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


p2p, http = free(), free()
node = subprocess.Popen(
    ["node", root + "/node_modules/bcoin/bin/node", "--network=regtest", "--memory=true",
     "--no-wallet", "--listen=true", "--host=127.0.0.1", f"--port={p2p}", "--only=127.0.0.1:1",
     "--workers=false", "--http-host=127.0.0.1", f"--http-port={http}", "--api-key=x",
     f"--prefix={root}/data", "--log-level=error"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rpc(method, *params):
    request = urllib.request.Request(
        f"http://127.0.0.1:{http}/", json.dumps({"method": method, "params": params}).encode(),
        {"Authorization": "Basic " + base64.b64encode(b"x:x").decode()})
    return json.load(urllib.request.urlopen(request))["result"]


def patiently(what):
    for _ in range(150):
        try:
            return what()
        except OSError:
            time.sleep(0.2)
    return what()


def sha256d(data):
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


class Peer:
    def __init__(self):
        self.socket = patiently(lambda: socket.create_connection(("127.0.0.1", p2p)))
        self.buffer = b""
        # Services: NODE_WITNESS.
        self.send("version", struct.pack("<iQq", 70016, 8, int(time.time())) + bytes(8 + 16 + 2)
                  + bytes(8 + 16 + 2) + struct.pack("<Q", 7) + b"\x03/x/" + struct.pack("<i?", 0, False))
        assert self.wait("version") is not None
        self.send("verack")
        assert self.wait("verack") is not None
        self.send("sendheaders")

    def send(self, command, payload=b""):
        head = bytes.fromhex("fabfb5da") + command.encode().ljust(12, b"\0")
        self.socket.sendall(head + struct.pack("<I", len(payload)) + sha256d(payload)[:4] + payload)

    def wait(self, wanted, seconds=3):
        """The payload of the next such message, or None."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            size = struct.unpack("<I", self.buffer[16:20])[0] + 24 if len(self.buffer) >= 24 else 24
            if len(self.buffer) >= size > 24 or self.buffer[16:20] == bytes(4):
                message, self.buffer = self.buffer[:size], self.buffer[size:]
                command = message[4:16].rstrip(b"\0").decode()
                if command == "ping":
                    self.send("pong", message[24:])
                if command == wanted:
                    return message[24:]
                continue
            self.socket.settimeout(left)
            try:
                self.buffer += self.socket.recv(65536)
            except TimeoutError:
                break
        return None

    def get_headers(self, locator):
        self.send("getheaders", struct.pack("<i", 70016) + b"\x01" + locator + bytes(32))
        return self.wait("headers")


try:
    best = bytes.fromhex(patiently(lambda: rpc("getbestblockhash")))[::-1]
    template = rpc("getblocktemplate", {"rules": ["segwit"]})
    # A block of its own template, with nothing but a coinbase of height 1.
    script = b"\x51\x01\x00"
    coinbase = (struct.pack("<i", 1) + b"\x01" + bytes(32) + b"\xff" * 4 + bytes([len(script)]) + script
                + b"\xff" * 4 + b"\x01" + struct.pack("<q", template["coinbasevalue"]) + b"\x01\x51"
                + bytes(4))
    start = (struct.pack("<i", template["version"]) + best + sha256d(coinbase)
             + struct.pack("<I", template["curtime"]) + bytes.fromhex(template["bits"])[::-1])
    header = next(h for n in range(1000) if sha256d(h := start + struct.pack("<I", n))[31] < 0x7F)
    peer = Peer()
    empty = peer.get_headers(best)
    print("getheaders from the tip:", "no answer" if empty is None else empty.hex())
    peer.send("headers", b"\x01" + header + b"\0")
    by_header = peer.wait("getdata")
    print("after headers:", "no getdata" if by_header is None else "getdata")
    peer.send("inv", b"\x01" + struct.pack("<I", 2) + sha256d(header))
    by_inv = peer.wait("getdata")
    print("after inv:", "no getdata" if by_inv is None else "getdata")
    peer.send("block", header + b"\x01" + coinbase)
    answer = peer.get_headers(best)
    print("getheaders after the block:", "its header" if answer == b"\x01" + header + b"\0" else answer)
    assert empty is None, "it answers now"
    assert by_header is None, "it asks for an announced header now"
    assert by_inv is not None and answer == b"\x01" + header + b"\0", "it takes no block by inv"
finally:
    node.kill()
    node.wait()
PYTHON
