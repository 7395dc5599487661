"""Nodes on the host's loopback: bcoin on its chain for tests, and one that never finds a block."""

import base64
import contextlib
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

from machine import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
PASSWORD = "only for tests"


class Bcoin:
    """A real full node. Its program is the one of the other tests, installed by npm if need be."""

    def __init__(self, work):
        self.port = free_port()
        program = self.install()
        self.log = open(work / "bcoin.log", "wb")
        self.process = subprocess.Popen(
            ["node", program, "--network=regtest", f"--prefix={work / 'bcoin'}", "--no-wallet", "--listen=false",
             "--only=127.0.0.1:1", "--workers=false", "--log-level=warning", "--http-host=127.0.0.1",
             f"--http-port={self.port}", f"--api-key={PASSWORD}"],
            env={**os.environ, "NODE_BACKEND": "js"}, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for _ in range(600):
            try:
                self.call("getblockcount")
                return
            except OSError:
                assert self.process.poll() is None, f"bcoin ended: see {self.log.name}"
                time.sleep(0.2)
        raise AssertionError("bcoin does not answer")

    @staticmethod
    def install():
        home = Path.home() / ".cache/soloist-tests/bcoin-1.0.2"
        if not (home / "installed").exists():
            home.mkdir(parents=True, exist_ok=True)
            for name in ["package.json", "package-lock.json"]:
                (home / name).write_bytes((REPOSITORY / "tests/bcoin" / name).read_bytes())
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=home, check=True,
                           capture_output=True)
            (home / "installed").touch()
        return home / "node_modules/bcoin/bin/node"

    def call(self, method, *params):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/", json.dumps({"method": method, "params": params, "id": 0}).encode(),
            {"Content-Type": "application/json",
             "Authorization": "Basic " + base64.b64encode(f"x:{PASSWORD}".encode()).decode()})
        with urllib.request.urlopen(request, timeout=120) as answer:
            body = json.loads(answer.read())
        if body["error"]:
            raise ValueError(f"{method}: {body['error']}")
        return body["result"]

    def height_of(self, block):
        """`None` for a block that is not on its chain."""
        try:
            header = self.call("getblockheader", block)
        except ValueError:
            return None
        return header["height"] if header["confirmations"] > 0 else None

    def stop(self):
        self.process.kill()
        self.process.wait()


class QuietNode:
    """A node whose blocks are too hard to find: the shares of home miners solve none. Not a full node: it
    says one template again and again, for what the box writes in an hour without blocks."""

    def __init__(self):
        quiet = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                result, error = quiet.answer(asked["method"], asked.get("params") or [])
                body = json.dumps({"result": result, "error": error, "id": asked.get("id")}).encode()
                self.send_response(200 if error is None else 500)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the box was switched off meanwhile
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    # Of the chain for tests, which its answers say it is.
    GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    TIP = "00000000000000000000000000000000000000000000000000000000000000aa"

    def answer(self, method, params):
        if method == "getblockchaininfo":
            return {"chain": "regtest", "blocks": 1000, "headers": 1000, "bestblockhash": self.TIP, "difficulty": 1.0,
                    "initialblockdownload": False, "verificationprogress": 1.0, "pruned": False, "warnings": "",
                    "mediantime": int(time.time()) - 3600, "time": int(time.time()) - 60, "chainwork": f"{1 << 40:064x}"}, None
        if method == "getnetworkinfo":
            return {"version": 280000, "subversion": "/quiet/", "connections": 8, "networkactive": True,
                    "warnings": "", "localservices": "0"}, None
        if method == "getblocktemplate":
            asked = params[0] if params else {}
            if asked.get("mode") == "proposal":
                return None, None
            return {
                "version": 0x20000000, "rules": ["csv", "!segwit"], "vbavailable": {}, "vbrequired": 0,
                "previousblockhash": self.TIP, "transactions": [], "coinbaseaux": {}, "coinbasevalue": 5000000000,
                "longpollid": self.TIP + "1", "target": f"{0xFFFF << 208:064x}", "mintime": int(time.time()) - 3600,
                "mutable": ["time", "transactions", "prevblock"], "noncerange": "00000000ffffffff", "sigoplimit": 80000,
                "sizelimit": 4000000, "weightlimit": 4000000, "curtime": int(time.time()), "bits": "1d00ffff",
                "height": 1001, "default_witness_commitment":
                "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9",
            }, None
        if method == "getblockhash" and params == [0]:
            return self.GENESIS, None
        if method == "getblockheader":
            return {"hash": self.TIP, "confirmations": 1, "height": 1000}, None
        if method in ("getbestblockhash", "getblockhash"):
            return self.TIP, None
        if method == "getblockcount":
            return 1000, None
        if method == "submitblock":
            return None, {"code": -22, "message": "Block decode failed"}
        return None, {"code": -32601, "message": "Method not found"}

    def stop(self):
        self.server.shutdown()
