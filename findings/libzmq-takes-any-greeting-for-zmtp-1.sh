#!/bin/sh
# A server that answers the first bytes with text and keeps the connection (HTTP 400, SSH) passes for
# a peer of ZMTP 1.0: libzmq stops its handshake timer, and its monitor never tells of a failure.
# A silent port and one that hangs up are told (HANDSHAKE_FAILED_NO_DETAIL). So only the event
# HANDSHAKE_SUCCEEDED shows a publisher, within a time limit of one's own.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" --quiet --disable-pip-version-check install pyzmq==27.1.0
"$dir/venv/bin/python" - <<'PYTHON'
import socket, threading, time
import zmq
from zmq.utils.monitor import parse_monitor_message

print("pyzmq", zmq.__version__, "with libzmq", zmq.zmq_version())
names = {getattr(zmq, n): n[6:] for n in dir(zmq) if n.startswith("EVENT_") and n != "EVENT_ALL"}


def events(answer, hang_up):
    listener, kept = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        client, _ = listener.accept()
        client.recv(64)
        client.sendall(answer)
        client.close() if hang_up else kept.append(client)

    threading.Thread(target=serve, daemon=True).start()
    subscriber = zmq.Context().socket(zmq.SUB)
    subscriber.linger = 0
    subscriber.setsockopt(zmq.HANDSHAKE_IVL, 1000)
    subscriber.setsockopt(zmq.RECONNECT_IVL, -1)
    subscriber.subscribe(b"")
    monitor, told = subscriber.get_monitor_socket(), []
    subscriber.connect("tcp://127.0.0.1:%d" % listener.getsockname()[1])
    end = time.monotonic() + 3
    while time.monotonic() < end:
        if monitor.poll(100):
            told.append(names[parse_monitor_message(monitor.recv_multipart())["event"]])
    return told


http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
silent = {
    "HTTP 400, kept open": events(http, False),
    "SSH": events(b"SSH-2.0-OpenSSH_9.2\r\n", False),
}
told = {"nothing said": events(b"", False), "HTTP 400, hung up": events(http, True)}
for what, seen in (silent | told).items():
    print(f"{what}: {' '.join(seen)}")
assert all(seen[-1] == "CONNECTED" for seen in silent.values()), "it is told now"
assert all("HANDSHAKE_FAILED_NO_DETAIL" in seen for seen in told.values()), "it is told otherwise"
PYTHON
