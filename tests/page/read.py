"""Reads the devices (kind=host:port) with pyasic, one line of JSON each.

Their classes are given: so any port will do, and what pyasic takes a device for is not asked here.
"""

import asyncio
import json
import sys

from pyasic.miners.antminer import BMMinerS9
from pyasic.miners.avalonminer import CGMinerAvalonNano3s, CGMinerAvalonQHome
from pyasic.miners.backends import BitAxe
from pyasic.miners.bitaxe import BitAxeGamma, BitAxeUltra

CLASSES = {
    "AxeOs2_15": BitAxeGamma,
    "AxeOs2_14": BitAxeGamma,
    "AxeOs2_13": BitAxeGamma,
    "AxeOs2_8": BitAxeUltra,
    "NerdQAxe": BitAxeGamma,
    "NmAxe": BitAxeGamma,
    "Nano3s": CGMinerAvalonNano3s,
    "AvalonQ": CGMinerAvalonQHome,
    "Antminer": BMMinerS9,
}


def most(values):
    values = [value for value in values if value is not None]
    return max(values) if values else None


def rate(told):
    return None if told is None else float(told)


async def read(kind, host, port):
    miner = CLASSES[kind](host)
    if issubclass(CLASSES[kind], BitAxe):
        miner.web.port = port
    else:
        miner.rpc.port = port
    data = await miner.get_data()
    pools = [[str(pool.url), pool.user, pool.active] for pool in data.pools]
    if not pools and data.config and data.config.pools:
        group = data.config.pools.groups[0]
        pools = [[str(pool.url), pool.user, None] for pool in group.pools]
    return {
        "hashrate": rate(data.hashrate),
        "expected": rate(data.expected_hashrate),
        "watts": data.wattage,
        "volts": most(board.voltage for board in data.hashboards),
        "chip": most(board.chip_temp for board in data.hashboards),
        "board": most(board.temp for board in data.hashboards),
        "air": data.env_temp,
        "fans": [fan.speed for fan in data.fans],
        "uptime": data.uptime,
        "firmware": data.fw_ver,
        "mac": data.mac,
        "hostname": data.hostname,
        "boards": [rate(board.hashrate) for board in data.hashboards],
        "pools": pools,
    }


async def main():
    for device in sys.argv[1:]:
        kind, address = device.split("=")
        host, port = address.split(":")
        try:
            told = await read(kind, host, int(port))
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}".replace(str(port), "PORT")}
        print(json.dumps(told))


asyncio.run(main())
