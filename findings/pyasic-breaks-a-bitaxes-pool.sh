#!/bin/sh
# pyasic 0.79.0 reads a Bitaxe's pool as "stratum+tcp://HOST:PORT" from the settings stratumURL and
# stratumPort, and writes that text back into stratumURL. AxeOS wants the host alone there: it hands the
# text to getaddrinfo (stratum_socket.c), and its own page cuts the scheme off, although its openapi.yaml
# shows one. The password, which AxeOS does not tell, is written back empty, so that the stored one is
# lost. AxeOS answers a PATCH with an empty 200; pyasic calls that an error. So settings that are written
# back as they were read stop the miner. What we send has the host and the port apart, and no password.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" --quiet --disable-pip-version-check install pyasic==0.79.0
"$dir/venv/bin/python" - <<'PYTHON'
import asyncio
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from threading import Thread

from pyasic import APIError
from pyasic.miners.bitaxe import BitAxeGamma

print("pyasic", version("pyasic"))
# Of the answer to GET /api/system/info, what pyasic reads for settings.
info = {"ASICModel": "BM1370", "stratumURL": "192.168.1.10", "stratumPort": 3333,
        "stratumUser": "bc1qexample.gamma", "autofanspeed": 1, "fanspeed": 43}
sent = []


class Bitaxe(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(json.dumps(info).encode())

    def do_PATCH(self):
        sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.reply(b"")

    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


async def main():
    server = HTTPServer(("127.0.0.1", 0), Bitaxe)
    Thread(target=server.serve_forever, daemon=True).start()
    miner = BitAxeGamma("127.0.0.1")
    miner.web.port = server.server_port
    config = await miner.get_config()
    try:
        await miner.send_config(config)
        outcome = "taken"
    except APIError as error:
        outcome = f"APIError: {str(error).split(':')[0]}"
    print("read:   ", {name: info[name] for name in ("stratumURL", "stratumPort", "stratumUser")})
    print("written:", sent[0])
    print("outcome:", outcome)
    assert sent[0]["stratumURL"] == "stratum+tcp://192.168.1.10:3333", "it writes the host now"
    assert "stratumPort" not in sent[0], "it writes the port now"
    assert sent[0]["stratumPassword"] == "", "it keeps the password now"
    assert outcome.startswith("APIError"), "it takes an empty answer now"


asyncio.run(main())
PYTHON
