"""A network of its own for commands, in which whatever leaves the machine is seen, also by native code.

Started by `watched` in a namespace of Linux: every address leads to the loopback device, where a sniffer writes down
each packet that is not for this machine; a name server knows every name, and a TLS server takes what is sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import zlib
from ipaddress import ip_address
from pathlib import Path

import pytest

NAME_SERVER, ANSWER = "192.0.2.53", "198.51.100.7"  # for documentation: they are nobody's
KNOWN = "mobile.events.data.microsoft.com"  # what the TLS server can show a certificate for
#: Runs the command, says so, and lives on until its input is closed: what is sent later is seen, too.
HELD = "import sys; from cxr_utils.cli import main; print('ended', main(sys.argv[1:]), flush=True); sys.stdin.read()"
_UNSHARE = ["unshare", *([] if not hasattr(os, "geteuid") or os.geteuid() == 0 else ["-r"]), "-n", "-m"]


def watched(folder: Path, commands: dict[str, list[str]], *, seconds: float, images: Path, env: dict[str, str]) -> dict:
    """Run commands at the same time in a namespace, in a home of their own, and see what they ask and leave.

    Parameters
    ----------
    folder : Path
        Where home, temporary files and the record go.
    commands : dict
        Name to arguments for Python; one that opens the page is asked for an answer.
    seconds : float
        How long to watch once all have ended; it ends at the first packet.
    images : Path
        What the page is asked about.
    env : dict
        Further variables.

    Returns
    -------
    dict
        packets, names, bodies (what was asked), said (name to output), left (files in home and temporary folder).
    """
    missing = [name for name in ("unshare", "ip", "mount", "openssl") if shutil.which(name) is None]
    if missing or subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode:
        why = f"{missing[0]} is missing" if missing else "unshare -n is not allowed"
        pytest.skip(f"no network namespace can be made here: {why}")
    order = {"commands": commands, "seconds": seconds, "image": str(images), "env": env}
    (folder / "order.json").write_text(json.dumps(order))
    done = subprocess.run([*_UNSHARE, sys.executable, __file__, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "record.json").read_text())


class Observer:
    """What was asked for, whoever asked."""

    def __init__(self, folder: Path) -> None:
        self.packets, self.names, self.bodies, self.seen = set(), set(), [], threading.Event()
        self.certificate = folder / "certificate.pem"
        subject = ["-subj", "/CN=test", "-addext", f"subjectAltName=DNS:{KNOWN}"]
        key = ["-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key.pem", "-days", "2"]
        made = ["openssl", "req", "-x509", *key, "-out", self.certificate, *subject]
        subprocess.run(made, check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, folder / "key.pem")
        self.context.sni_callback = lambda _socket, name, _context: self.names.add(str(name))
        # Before the servers: what is heard here is complete.
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        packets.bind(("lo", 0))
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind((NAME_SERVER, 53))
        for target, given in ((self.sniff, packets), (self.name, names), (self.take, socket.create_server(("", 443)))):
            threading.Thread(target=target, args=(given,), daemon=True).start()

    def sniff(self, packets: socket.socket) -> None:
        while True:
            content, about = packets.recvfrom(2**16)
            if about[1] == 0x0800:
                protocol, target, after = content[9], content[16:20], content[4 * (content[0] & 15) :]
            elif about[1] == 0x86DD:
                protocol, target, after = content[6], content[24:40], content[40:]
            else:
                continue
            if not ip_address(target).is_loopback and not ip_address(target).is_multicast:
                port = f":{struct.unpack('>H', after[2:4])[0]}" if protocol in (6, 17) else ""
                self.packets.add(f"{ip_address(target)}{port}")
                self.seen.set()

    def name(self, server: socket.socket) -> None:
        while True:
            asked, client = server.recvfrom(2**12)
            parts, at = [], 12
            while asked[at]:
                parts.append(asked[at + 1 : at + 1 + asked[at]].decode("latin-1"))
                at += asked[at] + 1
            self.names.add(".".join(parts))
            question, wanted = asked[12 : at + 5], struct.unpack(">H", asked[at + 1 : at + 3])[0]
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(ANSWER) if wanted == 1 else b""
            server.sendto(asked[:2] + b"\x81\x80\0\1\0" + bytes([wanted == 1]) + bytes(4) + question + answer, client)

    def take(self, server: socket.socket) -> None:
        while True:
            client, _ = server.accept()
            with contextlib.suppress(OSError), self.context.wrap_socket(client, server_side=True) as sent:
                sent.settimeout(5)
                content = b""
                while piece := sent.recv(2**16):
                    content += piece
                    head, _, body = content.partition(b"\r\n\r\n")
                    length = re.search(rb"(?i)content-length: *(\d+)", head)
                    if head != content and len(body) >= int(length[1] if length else 0):
                        break
                with contextlib.suppress(zlib.error):
                    body = zlib.decompress(body, 47)
                self.bodies.append(f"{head.decode('latin-1')}\n\n{body.decode('latin-1')}"[:4000])
                sent.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _ask(address: str, image: str) -> str:
    """Have the page answer for an image, as a browser does."""
    import httpx

    with httpx.Client(base_url=f"{address}/gradio_api", trust_env=False, timeout=300) as client:
        kept = client.post("/upload", files={"files": ("a.jpeg", Path(image).read_bytes())}).raise_for_status()
        sent = [{"path": kept.json()[0], "orig_name": "a.jpeg", "meta": {"_type": "gradio.FileData"}}]
        event = client.post("/call/answer", json={"data": [sent]}).raise_for_status().json()["event_id"]
        return client.get(f"/call/answer/{event}").text


def _main(folder: Path) -> None:
    order = json.loads((folder / "order.json").read_text())
    for command in ("link set lo up", "route add local default dev lo", "-6 route add local default dev lo"):
        subprocess.run(["ip", *command.split()], check="-6" not in command, capture_output="-6" in command)
    (folder / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
    subprocess.run(["mount", "--bind", folder / "resolv.conf", "/etc/resolv.conf"], check=True)
    observer = Observer(folder)
    places = {"HOME": folder / "alone/home", "TMPDIR": folder / "alone/tmp", "CXR_HOME": folder / "alone/project"}
    for place in places.values():
        place.mkdir(parents=True)
    silent = ("ORT_", "GRADIO_", "HF_", "XDG_", "DO_NOT_TRACK")  # what a shell may have set must not help
    env = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
    env |= {name: str(place) for name, place in places.items()} | {"SSL_CERT_FILE": str(observer.certificate)}
    started, said = {}, {}
    for number, (name, arguments) in enumerate(order["commands"].items()):
        started[name] = subprocess.Popen(
            [sys.executable, *arguments], env=env | order["env"], text=True, cwd=folder, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=(folder / f"errors-{number}.txt").open("w"),
        )  # fmt: skip
    for number, (name, process) in enumerate(started.items()):
        said[name] = ""
        for line in process.stdout:
            said[name] += line
            if found := re.search(r"the page is at (http://\S+)", line):
                said[name] += _ask(found[1], order["image"])
                break
            if line.startswith("ended"):
                break
        else:
            said[name] += (folder / f"errors-{number}.txt").read_text()
    observer.seen.wait(order["seconds"])
    for process in started.values():
        with contextlib.suppress(OSError):
            process.stdin.close()
        if process.poll() is None and "app" in process.args:
            process.terminate()
        process.wait()
    left = [path.relative_to(folder).as_posix() for path in (folder / "alone").rglob("*")]
    record = {"packets": observer.packets, "names": observer.names, "bodies": observer.bodies}
    record |= {"said": said, "left": left}
    (folder / "record.json").write_text(json.dumps(record, default=sorted))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
