"""Other people's weights give other people's features: names are checked by what networks answer."""

import gzip
import hashlib
import json
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import segnb.nets.hrnet
import segnb.nets.unet
from segnb.data.datasets import SegDataset
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet
from segnb.nets.deeplab import DeepLabv3p as DeepLabNet
from segnb.nets.hrnet import HRNet as HRNetNet
from segnb.nets.layers import resize
from segnb.nets.mobilenet import MobileNetV2
from segnb.nets.unet import UNet as UNetNet
from segnb.weights.files import read_weights
from segnb.weights.names import paddlex_name, translate
from segnb.weights.pretrained import fit_weights, load_weights
from segnb.weights.records import Record, Source, find_record, picture_sets, records

RECORDED = Path(__file__).parent / "recorded"


def shaken(net, seed=0):
    "A network whose every number is random, normalisations included"
    g = torch.Generator().manual_seed(seed)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.weight, m.running_var): t.data.uniform_(0.5, 1.5, generator=g)
            for t in (m.bias, m.running_mean): t.data.normal_(0, 0.1, generator=g)
    return net.eval()


def same(ours, theirs, tolerance=2e-5):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def put(net, tensors):
    "Our network with someone's weights"
    state, loaded = fit_weights(net.eval(), tensors, "x")
    net.load_state_dict(state, strict=False)
    return loaded


X = torch.from_numpy(np.random.RandomState(1).normal(0, 1, (1, 3, 64, 96)).astype(np.float32))
BGR = X.flip(1)


@pytest.mark.parametrize("layers", [41, 65])
def test_xception_of_timm(layers):
    theirs, net = shaken(timm.create_model(f"xception{layers}", output_stride=16)), DeepLabNet(backbone=f"Xception{layers}")
    loaded = put(net, theirs.state_dict())
    assert len(loaded.loaded) == {41: 420, 65: 660}[layers] and set(loaded.unused) >= {"head.fc.weight"}
    with torch.no_grad(): same(net.backbone(BGR)[1], theirs.forward_features(X))


@pytest.mark.parametrize("width", [18, 48])
def test_hrnet_of_timm(width, monkeypatch):
    monkeypatch.setattr(segnb.nets.hrnet, "grow", lambda x, size: F.interpolate(x, size=size))  # The one thing they do in another way
    theirs, net = shaken(timm.create_model(f"hrnet_w{width}")), HRNetNet(width=width)
    assert len(put(net, theirs.state_dict()).loaded) == 1525
    with torch.no_grad():
        x = theirs.act2(theirs.bn2(theirs.conv2(theirs.act1(theirs.bn1(theirs.conv1(X))))))
        for ours, y in zip(net.backbone(BGR), theirs.stages(x), strict=True): same(ours, y, 1e-4)


def their_mobilenet(name):
    if name == "timm": return (net := shaken(timm.create_model("mobilenetv2_100"))), lambda x: net.blocks(net.bn1(net.conv_stem(x)))
    return (net := shaken(torchvision.models.mobilenet_v2())), lambda x: net.features[:18](x)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_mobilenet(library):
    theirs, features = their_mobilenet(library)
    net = DeepLabNet(output_stride=32)
    loaded = put(net, theirs.state_dict())
    assert (len(loaded.loaded), len(loaded.filled), loaded.misfit) == (255, 5, {})
    with torch.no_grad(): same(net.backbone(BGR)[1], features(X), 1e-4)


def test_mobilenet_trains_on_from_where_it_was():
    "The expansion that we alone have passes on, while training too: the loss of the first step hardly differs from that without it"
    theirs, _ = their_mobilenet("torchvision")
    net = DeepLabNet(output_stride=32)
    put(net, theirs.state_dict())
    backbone, x = net.backbone.train(), torch.randn(8, 3, 64, 64)
    with torch.no_grad():
        sees = backbone.conv1_1(x)
        assert (backbone.conv2_1.expand(sees) - sees).abs().mean() < 0.25 * sees.std()
        assert (MobileNetV2().train().conv2_1.expand(sees) - sees).abs().mean() > 0.5 * sees.std()  # Untaught, it would not


def paddle_names():
    with gzip.open(RECORDED / "paddle_names.json.gz", "rt") as f: return json.load(f)


def paddle_weights(name):
    "Weights drawn from their names, as when the features were recorded"
    shapes, r, made = {row[0]: row[1] for row in paddle_names()[name]}, np.random.RandomState(7), {}
    for key in sorted(shapes):
        s = shapes[key]
        if len(s) == 4: v = r.normal(0, np.sqrt(1.6 / np.prod(s[1:])), s)
        elif key.endswith("_variance"): v = r.uniform(0.5, 1.5, s)
        elif key.endswith("_mean"): v = r.normal(0, 0.1, s)
        elif key.endswith("weight") and len(s) == 1: v = r.uniform(0.5, 1.5, s)
        else: v = r.normal(0, 0.1, s)
        made[key] = torch.from_numpy(v.astype(np.float32))
    return made


PADDLE = {
    "MobileNetV2_x0.5": (lambda: DeepLabNet(backbone="MobileNetV2_x0.5", output_stride=32), 260),
    "Xception41": (lambda: DeepLabNet(backbone="Xception41", output_stride=32), 420),
    "MobileNetV3": (lambda: DeepLabNet(backbone="MobileNetV3_large_x1_0_ssld"), 205), "HRNet": (HRNetNet, 1525),
}


def recorded(name): return torch.from_numpy(np.load(RECORDED / "paddle_features.npz")[name])


@pytest.mark.parametrize("name", PADDLE)
def test_backbones_of_paddleclas(name, monkeypatch):
    monkeypatch.setattr(segnb.nets.hrnet, "grow", lambda x, size: F.interpolate(x, size=size))
    build, number = PADDLE[name]
    net = build()
    loaded = put(net, paddle_weights(name))
    assert len(loaded.loaded) == number
    with torch.no_grad():
        if name == "HRNet":
            for i, y in enumerate(net.backbone(BGR)): same(y, recorded(f"HRNet{i}"), 1e-4)
        elif name == "MobileNetV3":  # Its last three blocks are wider there
            assert all(n.startswith(("backbone.conv14", "backbone.conv15", "backbone.conv16", "backbone.conv_last")) for n in loaded.misfit)
            x = BGR
            for block in list(net.backbone)[:13]: x = y[1] if isinstance(y := block(x), tuple) else y
            same(x, recorded(name), 1e-4)
        else: same(net.backbone(BGR)[1], recorded(name), 1e-4)


def test_names_in_both_tongues_of_paddle():
    "Where Paddle wrote both its old and its new name for a weight, both are translated to the same place"
    for name in ("MobileNetV2_x0.5", "Xception41"):
        net = PADDLE[name][0]()
        ours = {paddlex_name(n): n for n in net.state_dict() if "num_batches" not in n}
        new = translate([row[0] for row in paddle_names()[name]], ours.values())[2]
        both = [row for row in paddle_names()[name] if len(row) == 3 and row[2] in ours]
        assert len(both) == PADDLE[name][1] and all(new[row[0]] == ours[row[2]] for row in both)


def test_unet_of_paddleseg(monkeypatch):
    "Biases are folded into the running means; their enlargement is put in for this test"
    monkeypatch.setattr(segnb.nets.unet, "resize", lambda x, size: F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False))
    net, weights = UNetNet(num_logits=4), paddle_weights("PaddleSeg UNet")
    weights |= {f"cls.{end}": weights[f"conv.{end}"] for end in ("weight", "bias")}  # Two names for one layer there
    loaded = put(net, weights)
    assert loaded.new == [] and loaded.misfit == {} and loaded.dialect == "PaddleSeg UNet"
    with torch.no_grad(): same((net(BGR)[0] + weights["cls.bias"][:, None, None])[..., ::4, ::4], recorded("PaddleSeg UNet"), 5e-5)


def test_hrnet_of_paddleseg_has_a_place_for_every_weight():
    rows = {row[0]: torch.zeros(row[1]) for row in paddle_names()["PaddleSeg HRNet"]}
    loaded = fit_weights(HRNetNet(num_logits=4), rows, "x")[1]
    assert len(loaded.loaded) == 1531 and loaded.unused == ["head.cls.bias"]  # Our head has none


def test_files_of_modern_paddle():
    "Written by paddlepaddle 3.3.1"
    found = read_weights(RECORDED / "paddle3.pdparams")
    assert list(found) == ["0.weight", "0.bias", "1.weight", "1.bias", "1._mean", "1._variance"]
    assert [tuple(t.shape) for t in found.values()] == [(4, 3, 3, 3), *[(4,)] * 5]
    for i, t in enumerate(found.values()): assert torch.equal(t.flatten(), torch.arange(t.numel()) + float(i))


# ---- Training from published weights, with the publisher on this machine


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    "A server with one file, to which the first record of a model is turned; what was asked for is noted"
    files, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = files.get(self.path)
            if body is None: return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_): pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SEGNB_WEIGHTS", str(tmp_path / "cache"))

    def publish(model, variant, pictures, body, sha256=None):
        files["/net"] = body
        sha256 = hashlib.sha256(body).hexdigest()[:8] if sha256 is None else sha256
        source = Source(f"http://127.0.0.1:{server.server_port}/net", "net.bin", "MIT", sha256=sha256)
        monkeypatch.setattr("segnb.weights.records.records", [Record(model, variant, pictures, (source,))])
        return asked

    yield publish
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_scenes(tmp_path_factory.mktemp("scenes"), train=4, val=1, size=(64, 64))
    return SegDataset(folder, folder / "train_list.txt", folder / "labels.txt", Compose([Normalize()]), num_workers=0)


def torch_bytes(tensors, path):
    torch.save(tensors, path)
    return path.read_bytes()


def test_train_fetches_once(publisher, data, tmp_path, capsys):
    theirs = shaken(torchvision.models.mobilenet_v2()).state_dict()
    asked = publisher("DeepLabv3p", "MobileNetV2_x1.0", "IMAGENET", torch_bytes(theirs, tmp_path / "m.pth"))
    model = DeepLabv3p(5)
    assert asked == []  # Building a model asks for nothing
    model.train(1, data, 2, save_dir=tmp_path / "a")
    DeepLabv3p(5).train(1, data, 2, save_dir=tmp_path / "b", pretrain_weights="COCO")
    assert asked == ["/net"]
    said = capsys.readouterr().out
    assert "loaded 260/330" not in said and "loaded 260/332 tensors of net.bin; encoder, decoder, logit are new" in said
    assert "there are no COCO weights for DeepLabv3p MobileNetV2_x1.0; it starts from IMAGENET" in said
    assert model.loaded.dialect == "torchvision MobileNetV2"
    last = lambda m: m.net.backbone.conv8_1.linear.conv.weight.cpu()
    assert (last(model) - theirs["features.17.conv.2.weight"]).abs().mean() < 0.2 * (last(model) - last(DeepLabv3p(5))).abs().mean()


def test_trained_on_keeps_what_it_knows(publisher, data, tmp_path, capsys):
    asked = publisher("FastSCNN", "", "CITYSCAPES", b"")
    model = FastSCNN(5)
    model.train(1, data, 2, save_dir=tmp_path / "a", pretrain_weights=None)
    before = model.net.classifier.conv.weight.clone()
    model.train(1, data, 2, save_dir=tmp_path / "a", learning_rate=1e-9)
    assert asked == [] and torch.allclose(model.net.classifier.conv.weight, before, atol=1e-6)
    assert "has learned already, so IMAGENET is not loaded over it" in capsys.readouterr().out


def test_offline_says_what_to_carry_where(publisher, data, tmp_path, monkeypatch):
    publisher("FastSCNN", "", "CITYSCAPES", b"")
    away = Source("http://127.0.0.1:9/fast.tar", "fast.tar", "Apache-2.0")
    monkeypatch.setattr("segnb.weights.records.records", [Record("FastSCNN", "", "CITYSCAPES", (away,))])
    with pytest.raises(ConnectionError, match="pretrain_weights=None") as e: FastSCNN(5).train(1, data, 2, save_dir=tmp_path / "a")
    assert "http://127.0.0.1:9/fast.tar\n  as fast.tar" in str(e.value) and str(tmp_path / "cache") in str(e.value)


@pytest.mark.parametrize("wrong", ["checksum", "other network", "damaged", "login page"])
def test_what_arrives_wrong_changes_nothing(publisher, data, tmp_path, wrong):
    good = shaken(torchvision.models.mobilenet_v2()).state_dict()
    body = {"checksum": torch_bytes(good, tmp_path / "m"), "other network": torch_bytes(torchvision.models.resnet18().state_dict(), tmp_path / "m"),
            "damaged": torch_bytes(good, tmp_path / "m")[:-5000], "login page": b"<html>please log in</html>"}[wrong]
    publisher("DeepLabv3p", "MobileNetV2_x1.0", "IMAGENET", body, "00000000" if wrong == "checksum" else None)
    model = DeepLabv3p(5)
    before = {n: t.clone() for n, t in model.net.state_dict().items()}
    with pytest.raises((ValueError, ConnectionError)): model.train(1, data, 2, save_dir=tmp_path / "a")
    assert all(torch.equal(t, before[n]) for n, t in model.net.state_dict().items())
    assert not (tmp_path / "a/last_model").exists()


@pytest.mark.parametrize("kind", ["png", "json", "evil", "dataset", "other"])
def test_a_wrong_path_is_refused_before_anything_is_written(kind, data, tmp_path):
    path = tmp_path / kind
    if kind == "png": path.write_bytes(b"\x89PNG\r\n\x1a\n" * 99)
    if kind == "json": path.write_text('{"a": 1}')
    if kind == "evil": path.write_bytes(pickle.dumps(Path))
    if kind == "dataset": path = data.data_dir
    if kind == "other": torch.save(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(ValueError, match="cannot be read as weights|must fit at least half"):
        UNet(5).train(1, data, 2, save_dir=tmp_path / "out", pretrain_weights=path)
    assert not (tmp_path / "out").exists()


def test_our_own_folder_as_a_start(data, tmp_path):
    "Another number of classes keeps all but the head"
    FastSCNN(19).save_model(tmp_path / "m")
    model = FastSCNN(5)
    model.train(1, data, 2, save_dir=tmp_path / "out", pretrain_weights=tmp_path / "m")
    assert str(model.loaded) == "loaded 222/224 tensors of m; head is new (5 classes, file has 19)"


def test_every_record_is_for_a_network_we_have():
    for r in records:
        cls = {c.__name__: c for c in (DeepLabv3p, UNet, HRNet, FastSCNN)}[r.model]
        assert find_record(r.model, r.variant, r.pictures) is r and r.pictures in picture_sets
        if r.variant: assert r.variant in str(cls.__init__.__annotations__)


def test_other_bands(tmp_path):
    "Six bands: a file for three is adapted, one for six is taken as it is"
    six = DeepLabNet(6)
    assert put(six, torchvision.models.mobilenet_v2().state_dict()).misfit == {}
    torch.save(six.state_dict(), tmp_path / "six.pth")
    again = DeepLabNet(6)
    load_weights(again, tmp_path / "six.pth")
    assert torch.equal(again.backbone.conv1_1.conv.weight, six.backbone.conv1_1.conv.weight)
    assert resize(six.eval()(torch.zeros(1, 6, 33, 40))[0], (3, 4)).shape == (1, 2, 3, 4)
