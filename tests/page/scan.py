"""Asks pyasic what it takes each address (host:port) for, one answer a line.

Before them a page that says what a Bitaxe's says, so that it is seen to work.
"""

import asyncio
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from pyasic.miners.factory import MinerFactory


class Bitaxe(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<title>AxeOS</title>")

    def log_message(self, *_):
        pass


async def main():
    bitaxe = HTTPServer(("127.0.0.1", 0), Bitaxe)
    Thread(target=bitaxe.serve_forever, daemon=True).start()
    for address in [f"127.0.0.1:{bitaxe.server_port}", *sys.argv[1:]]:
        taken_for = await MinerFactory()._get_miner_type(address)
        print(taken_for and taken_for.name)


asyncio.run(main())
