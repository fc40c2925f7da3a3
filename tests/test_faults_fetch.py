"""The public catalogue of faults, group G: downloads and the outside world. The number of each case stands in its test."""

import hashlib
import multiprocessing
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

import segnb.models
import segnb.weights.fetch
from segnb.data.datasets import SegDataset
from segnb.data.scenes import draw_scene, write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet
from segnb.weights.fetch import download, fetch
from segnb.weights.records import Record, Source, records
from segnb.weights.tables import home

BODY = bytes(range(256)) * 4096


class Page(BaseHTTPRequestHandler):
    "Serves one file, slowly; notes who asked, and sends some elsewhere"

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        for i in range(0, len(BODY), 1 << 18):
            time.sleep(0.02)
            self.wfile.write(BODY[i : i + (1 << 18)])

    def log_message(self, *_): pass


def serving(context=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.asked, server.daemon_threads = [], True
    if context: server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def server():
    server = serving()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def away(monkeypatch):
    "Turn the weights of FastSCNN to another address, and wait for half a second only"
    real = segnb.weights.fetch.build_opener

    class Hurried:
        def __init__(self, *handlers): self.opener = real(*handlers)
        def open(self, request, timeout): return self.opener.open(request, timeout=0.5)

    monkeypatch.setattr("segnb.weights.fetch.build_opener", Hurried)

    def turn(address):
        source = Source(address, "net.bin", "MIT", sha256=hashlib.sha256(BODY).hexdigest()[:8])
        monkeypatch.setattr("segnb.weights.records.records", [Record("FastSCNN", "", "CITYSCAPES", (source,))])
    return turn


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_scenes(tmp_path_factory.mktemp("scenes"), train=4, val=1, size=(64, 64))
    return SegDataset(folder, folder / "train_list.txt", folder / "labels.txt", Compose([Normalize()]), num_workers=0)


@pytest.mark.parametrize("case", [pytest.param(c, id=f"G2-{c}") for c in ("refused", "no name", "dead proxy", "no certificate", "silence", "http")])
def test_g2_no_line(case, away, server, data, tmp_path, monkeypatch):
    "Soon, with the address, the folder and the name for a file that is carried over by hand; the model can be trained without"
    monkeypatch.setenv("SEGNB_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "" if case == "dead proxy" else "*")
    if case == "dead proxy": monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as silent:   # It accepts, and says nothing
        address = {"refused": "https://127.0.0.1:9/net", "no name": "https://nowhere.invalid/net", "dead proxy": "https://example.org/net",
                   "no certificate": f"https://127.0.0.1:{server.server_port}/net", "silence": f"http://127.0.0.1:{silent.getsockname()[1]}/net",
                   "http": "http://example.org/net"}[case]
        away(address)
        model, begin = FastSCNN(5), time.monotonic()
        with pytest.raises(ConnectionError) as e: model.train(1, data, 2, save_dir=tmp_path / "a")
    assert time.monotonic() - begin < 60
    for word in (address, "as net.bin (", str(tmp_path / "cache"), "pretrain_weights=None"): assert word in str(e.value), str(e.value)
    assert not list((tmp_path / "cache").glob("net*"))
    model.train(1, data, 2, save_dir=tmp_path / "a", pretrain_weights=None)


def fetched(address, folder, answer):
    source = Source(address, "net.bin", "MIT", sha256=hashlib.sha256(BODY).hexdigest()[:8])
    for _ in fetch([source], folder): pass
    answer.put((folder / "net.bin").read_bytes() == BODY)


def test_g3_two_processes_ask_for_one_file(server, tmp_path):
    "One of them fetches it, the other waits; nothing else is left in the folder"
    context = multiprocessing.get_context("fork")
    answer, address = context.Queue(), f"http://127.0.0.1:{server.server_port}/net"
    children = [context.Process(target=fetched, args=(address, tmp_path / "cache", answer)) for _ in range(3)]
    for c in children: c.start()
    assert [answer.get(timeout=120) for _ in children] == [True] * 3
    for c in children: c.join()
    assert server.asked == ["/net"] and [p.name for p in (tmp_path / "cache").iterdir()] == ["net.bin"]


FULL = """
import sys
from pathlib import Path
from segnb.weights.fetch import fetch
from segnb.weights.records import Source
try:
    for _ in fetch([Source(sys.argv[1], "net.bin", "MIT")], Path(sys.argv[2])): pass
except OSError as e: print(type(e).__name__, e, sorted(p.name for p in Path(sys.argv[2]).glob("*.bin")))
"""


@pytest.mark.parametrize("case,mount", [pytest.param("full", "mount -t tmpfs -o size=300k none", id="G4-full"),
                                        pytest.param("read-only", "mount -t tmpfs -o ro none", id="G4-read-only")])
def test_g4_a_folder_that_takes_no_files(case, mount, server, tmp_path):
    "On a disk of 300 kB and one that is mounted read-only; without the right to mount, the process may write 300 kB or is nobody"
    (tmp_path / "cache").mkdir()
    call = [sys.executable, "-c", FULL, f"http://127.0.0.1:{server.server_port}/net", str(tmp_path / "cache")]
    done = subprocess.run(["unshare", "-m", "sh", "-c", f'{mount} "{tmp_path}/cache" && exec "$@"', "sh", *call], capture_output=True, text=True)
    if done.returncode:
        print("no mounting here:", done.stderr)
        if case == "read-only": (tmp_path / "cache").chmod(0o555)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000,) * 2) if case == "full" else os.getuid() or os.setuid(65534)
        done = subprocess.run(call, capture_output=True, text=True, preexec_fn=limit)
    assert "what is fetched cannot be kept here" in done.stdout and "SEGNB_WEIGHTS" in done.stdout and str(tmp_path / "cache") in done.stdout, done
    assert done.stdout.rstrip().endswith("[]")


@pytest.fixture
def secure(tmp_path, monkeypatch):
    "A server with a certificate that this machine believes in for the time being"
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", tmp_path / "key", "-out",
                           tmp_path / "cert", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
    server = serving(context)
    yield server
    server.shutdown()
    server.server_close()


def test_g5_from_https_to_anything_less(secure, tmp_path):
    "A secure server is followed to a secure one, and nowhere else"
    base = f"https://127.0.0.1:{secure.server_port}"
    list(download(f"{base}/to/{base}/net", tmp_path / "net.bin"))
    assert (tmp_path / "net.bin").read_bytes() == BODY
    for less in ("http://example.org/net", "http://localhost/net", "ftp://example.org/net", "file:///etc/passwd"):
        with pytest.raises(OSError, match="must begin with https://, got|not allowed"): list(download(f"{base}/to/{less}", tmp_path / "b"))
    assert not (tmp_path / "b").exists() and not (tmp_path / "b.part").exists()


@pytest.mark.parametrize("address", [pytest.param(a, id=f"G5-{a.split(':')[0]}-{i}") for i, a in enumerate(
    ("http://example.org/a", "file:///etc/passwd", "ftp://example.org/a", "data:,x", "http://127.0.0.1@example.org/a"))])
def test_g5_addresses(address, tmp_path):
    with pytest.raises(OSError, match="must begin with https://"): list(download(address, tmp_path / "a"))


def test_g5_all_records_are_secure():
    assert all(s.address.startswith("https://") for r in records for s in r.sources) and home.startswith("https://")


def test_g6_bombs_from_the_net(away, server, data, tmp_path, monkeypatch):
    "What arrives is read by the rules of E4 and E5, and the model stays as it is"
    from test_faults_models import names_of_every_kind, tar_bomb
    for make in (tar_bomb, lambda p: names_of_every_kind(p, tmp_path / "canary")):
        make(tmp_path / "bomb.tgz")
        cache = tmp_path / f"cache{make.__name__}"
        cache.mkdir()
        (cache / "net.bin").write_bytes((tmp_path / "bomb.tgz").read_bytes())
        monkeypatch.setenv("SEGNB_WEIGHTS", str(cache))
        away("https://127.0.0.1:9/net")
        model = FastSCNN(5)
        before = {n: t.clone() for n, t in model.net.state_dict().items()}
        with pytest.raises(ValueError, match="net.bin cannot be read as weights"): model.train(1, data, 2, save_dir=tmp_path / "a")
        assert all(torch.equal(t, before[n]) for n, t in model.net.state_dict().items()) and not (tmp_path / "canary").exists()


def test_g8_nothing_but_a_training_asks_the_net(data, tmp_path, monkeypatch):
    "No socket is opened by importing, building, judging, predicting, saving and opening, or by a training that needs no weights"
    def refuse(*args, **kwargs): raise AssertionError(f"a socket was opened: {args}")
    code = """
import os, sys
events = "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"
sys.addaudithook(lambda event, args: event in events and (print(event, args, file=sys.stderr), os._exit(3)))
from segnb.all import *
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("connect", "connect_ex", "sendto", "bind"): monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    DeepLabv3p(5, backbone="MobileNetV2_x0.25"), UNet(5), HRNet(5, width="18_small_v1")
    model = FastSCNN(5)
    model.train(1, data, 2, save_dir=tmp_path, pretrain_weights=None)
    model.evaluate(data)
    model.predict(draw_scene((64, 64))[0], data.transforms)
    model.save_model(tmp_path / "m")
    segnb.models.load_model(tmp_path / "m")
