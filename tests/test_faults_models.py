"""The public catalogue of faults, groups A (what a model is built with) and E (saved models). The number of each case stands in its test."""

import io
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from segnb.data.datasets import SegDataset
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.folders import _sign
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet, load_model
from segnb.paddlex import load_paddlex
from segnb.weights.files import read_weights
from segnb.weights.pretrained import load_weights

PLAIN = Compose([Normalize()])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_scenes(tmp_path_factory.mktemp("scenes"), train=4, val=1, size=(64, 64))
    return SegDataset(folder, folder / "train_list.txt", folder / "labels.txt", PLAIN, num_workers=0)


# ---- A: what a model is built with


@pytest.mark.parametrize("value", [pytest.param(v, id=f"A1-{v!r}") for v in (0, 1, -1, 2.0, "2", True, None, float("nan"))])
def test_a1_num_classes(value):
    with pytest.raises((ValueError, TypeError)) as e: FastSCNN(value)
    assert str(e.value) == f"`num_classes` must be a whole number, at least 2, got {value!r}"


TWO = "`use_bce_loss` and `use_dice_loss` need two classes, got num_classes=3; use cross entropy"
OPTIONS = [
    pytest.param(DeepLabv3p, "backbone", "mobilenetv2_x1.0", "'Xception65', .*did you mean 'MobileNetV2_x1.0'", id="A2-case"),
    pytest.param(DeepLabv3p, "backbone", "Xception_65", "did you mean 'Xception65'", id="A2-near"),
    pytest.param(DeepLabv3p, "backbone", "AlexNet", "'Xception65', 'Xception41', 'MobileNetV2_x0.25', .* got 'AlexNet'$", id="A2-far"),
    pytest.param(DeepLabv3p, "output_stride", 12, "`output_stride` must be one of 8, 16, 32, got 12", id="A3"),
    *[pytest.param(cls, name, True, TWO, id=f"A4-{cls.__name__}-{name}") for cls in (UNet, FastSCNN) for name in ("use_bce_loss", "use_dice_loss")],
    *[pytest.param(FastSCNN, "class_weight", v, "`class_weight` must", id=f"A5-{v}")
      for v in ([1.0], [1.0] * 3, [1, -1], [0, 0], [1, float("nan")], [1, float("inf")], "auto")],
    *[pytest.param(DeepLabv3p, "pooling_crop_size", v, r"\[width, height\], each at least 1, got", id=f"A7-{v}")
      for v in (65, [65], [0, 65], [65.0, 33.0], [1, 2, 3])],
    *[pytest.param(UNet, "input_channel", v, "`input_channel` must be a whole number, at least 1", id=f"A8-{v}") for v in (0, -1)],
    pytest.param(HRNet, "width", 20, "must be one of 18, 30, .*got 20", id="A9-width"),
    pytest.param(HRNet, "width", "18", "must be one of 18, 30, .*got '18'", id="A9-text"),
    *[pytest.param(FastSCNN, "multi_loss_weight", v, "`multi_loss_weight` must be", id=f"A9-{v}")
      for v in ([], [1.0] * 4, [0.0], [0, 0, 0], [1, -1], [float("nan")], [1, float("inf")])],
]


@pytest.mark.parametrize("cls,option,value,words", OPTIONS)
def test_options(cls, option, value, words):
    with pytest.raises((ValueError, TypeError), match=words) as e: cls(**{"num_classes": 3 if option.startswith("use") else 2, option: value})
    if isinstance(value, list): assert str(value) in str(e.value) or str(len(value)) in str(e.value)


def test_a5_dynamic_in_capitals(data, tmp_path):
    model = FastSCNN(5, class_weight="Dynamic")
    model.train(1, data, 2, save_dir=tmp_path, pretrain_weights=None)
    assert model.weight_of_classes == "dynamic" and np.isfinite(model.history.losses).all()


@pytest.mark.parametrize("index", [0, 4])
def test_a6_a_class_that_is_ignored(data, tmp_path, index):
    "Said once, with the number of the class; a step can be taken, and the class does not count"
    with pytest.warns(UserWarning, match=f"class {index} is never learned, because `ignore_index` is {index}") as said:
        model = FastSCNN(5, ignore_index=index)
    assert len(said) == 1
    model.train(1, data, 2, save_dir=tmp_path, pretrain_weights=None)
    assert np.isfinite(model.history.losses).all() and model.evaluate(data, return_details=True)[1]["confusion_matrix"][index] == [0] * 5
    with warnings.catch_warnings(action="error"): FastSCNN(5, ignore_index=5)


@pytest.mark.parametrize("index", [-1, 65536, 3.5, "255"])
def test_a6_outside(index):
    with pytest.raises((ValueError, TypeError), match="`ignore_index` must be a whole number, between 0 and 65535"): FastSCNN(ignore_index=index)


def test_a6_deeper_than_the_label(data, tmp_path):
    "255 means nothing to a model that was told 300: it is not taken for a class"
    from segnb.data.images import read_label, write_label
    folder = tmp_path / "set"
    shutil.copytree(data.data_dir, folder)
    own = SegDataset(folder, folder / "train_list.txt", folder / "labels.txt", PLAIN, num_workers=0)
    ids = read_label(own.file_list[0][1])
    ids[:5] = 255
    write_label(own.file_list[0][1], ids)
    with pytest.raises(ValueError, match=r"holds 255, but a label value must be between 0 and 4 \(num_classes=5\) or 300 \(ignore_index\)"):
        FastSCNN(5, ignore_index=300).train(1, own, 2, save_dir=tmp_path / "out", pretrain_weights=None)


@pytest.mark.parametrize("backbone", ["MobileNetV2_x0.25", "MobileNetV3_large_x1_0_ssld"])
def test_a7_pooling_crop_size(backbone):
    "Every kind of backbone heeds it; width comes first"
    net = lambda size: DeepLabv3p(2, backbone=backbone, pooling_crop_size=size).net.eval()
    plain = net(None)
    x, state = torch.randn(1, plain.backbone.channels[1], 12, 20), plain.encoder.state_dict()
    def answer(size):
        encoder = net(size).encoder
        encoder.load_state_dict(state)
        with torch.no_grad(): return encoder(x)
    assert not torch.equal(answer(None), answer([64, 32])) and not torch.equal(answer([64, 32]), answer([32, 64]))


@pytest.mark.parametrize("cls", [DeepLabv3p, UNet, HRNet, FastSCNN])
@pytest.mark.parametrize("bands", [pytest.param(b, id=f"A8-{b}") for b in (1, 4, 10)])
def test_a8_bands(cls, bands, tmp_path):
    "A file for three colours fills the first layer of any number of bands, and the answer is finite"
    variant = dict(width="18_small_v1") if cls is HRNet else dict(backbone="MobileNetV2_x0.25") if cls is DeepLabv3p else {}
    three, model = cls(5, **variant), cls(5, input_channel=bands, **variant)
    torch.save(three.net.state_dict(), tmp_path / "three.pth")
    loaded = load_weights(model.net, tmp_path / "three.pth")
    first = next(n for n, t in model.net.state_dict().items() if t.dim() == 4)
    assert model.net.state_dict()[first].shape[1] == bands and first in loaded.loaded and not loaded.misfit
    with torch.no_grad(): assert torch.isfinite(model.net.eval()(torch.randn(1, bands, 64, 64))[0]).all()


def test_a10_lists_are_not_shared():
    "Neither a default nor a list that two models were given"
    weights = [1.0, 0.4]
    one, two, plain, other = FastSCNN(multi_loss_weight=weights), FastSCNN(multi_loss_weight=weights), FastSCNN(), FastSCNN()
    one.multi_loss_weight.append(9.0)
    plain.multi_loss_weight[0] = 9.0
    assert (two.multi_loss_weight, weights, other.multi_loss_weight, FastSCNN().multi_loss_weight) == ([1.0, 0.4], [1.0, 0.4], [1.0], [1.0])


# ---- E: saved models


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    "A saved model, with classes and transforms; copy it before you hurt it"
    model = FastSCNN(5)
    model.labels, model.test_transforms = list("abcde"), PLAIN
    model.save_model(tmp_path_factory.mktemp("saved") / "model")
    return tmp_path_factory.getbasetemp() / "saved0" / "model"


@pytest.fixture
def folder(saved, tmp_path): return Path(shutil.copytree(saved, tmp_path / "model"))


FILES = "model.json", "weights.safetensors", "MANIFEST.json"


@pytest.mark.parametrize("name", [pytest.param(f, id=f"E1-{f}") for f in FILES])
def test_e1_missing_or_cut(folder, name):
    "Every file, missing, empty, and cut at ten places: one error that names it, and a way out"
    whole = (folder / name).read_bytes()
    cuts = [*range(0, len(whole), -(-len(whole) // 9)), len(whole) - 1]
    for cut in (None, *cuts):
        (folder / name).unlink(missing_ok=True)
        if cut is not None: (folder / name).write_bytes(whole[:cut])
        with pytest.raises((ValueError, FileNotFoundError), match=name) as e: load_model(folder)
        assert "copy" in str(e.value) and str(folder) in str(e.value), str(e.value)
    (folder / name).write_bytes(whole)
    assert load_model(folder).labels == list("abcde")


def test_e2_one_bit(folder):
    "Any bit of any file: neither PyTorch nor safetensors would notice"
    rng = np.random.default_rng(0)
    for name in FILES[:2]:
        whole = (folder / name).read_bytes()
        for place in rng.integers(0, len(whole), 20):
            hurt = bytearray(whole)
            hurt[place] ^= 1 << int(rng.integers(8))
            (folder / name).write_bytes(hurt)
            with pytest.raises(ValueError, match=f"{name} is damaged: its checksum"): load_model(folder)
        (folder / name).write_bytes(whole)
    with pytest.raises(ValueError, match="cannot be read as weights: .*weights.safetensors is damaged"):
        (folder / "weights.safetensors").write_bytes(hurt)
        read_weights(folder)


def header(**tensors):
    "A safetensors file with a header of our own, and 64 bytes of numbers"
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


def zip_bomb(path):
    "Half a gigabyte of zeros in half a megabyte, where PyTorch expects a weight"
    torch.save({"w": torch.zeros(1 << 20)}, path)
    with zipfile.ZipFile(path) as plain: parts = {n: plain.read(n) for n in plain.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
        for name, part in parts.items():
            with bomb.open(name, "w") as f:
                for _ in range(512 if name.endswith("data/0") else 1): f.write(bytes(1 << 20) if name.endswith("data/0") else part)


def zip_overlap(path):
    "Every record is the same megabyte, a thousand times"
    torch.save({"w": torch.zeros(1 << 18)}, path)
    data = path.read_bytes()
    at = data.rindex(b"PK\x05\x06") if b"PK\x05\x06" in data else 0
    with zipfile.ZipFile(path) as f: entries, start = len(f.infolist()), f.start_dir
    directory = data[start : data.index(b"PK\x06\x06", start) if b"PK\x06\x06" in data[start:] else at]
    body = data[:start] + directory * 1000
    path.write_bytes(body + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, entries * 1000, entries * 1000, len(directory) * 1000, start, 0))


def tar_bomb(path, members=1, size=1 << 28):
    "Zeros; or a hundred thousand files of nothing"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for i in range(members):
            info = tarfile.TarInfo(f"x/w{i}")
            info.size = size
            archive.addfile(info, io.BytesIO(bytes(size)))


BOMBS = {
    "header 2^62.safetensors": lambda p: p.write_bytes(struct.pack("<Q", 2**62) + b"{}"),
    "header 100 MB.safetensors": lambda p: p.write_bytes(struct.pack("<Q", 100 << 20) + b"{" + b" " * (100 << 20)),
    "overlapping.safetensors": lambda p: p.write_bytes(header(a=dict(dtype="F32", shape=[8], data_offsets=[0, 32]),
                                                              b=dict(dtype="F32", shape=[8], data_offsets=[16, 48]))),
    "a shape of 2^40.safetensors": lambda p: p.write_bytes(header(a=dict(dtype="F32", shape=[2**40], data_offsets=[0, 2**42]))),
    "zip of zeros.pth": zip_bomb, "zip upon itself.pth": zip_overlap, "tar of zeros.tgz": tar_bomb,
    "tar of nothing.tgz": lambda p: tar_bomb(p, 30_000, 0),
    "a far place.pdparams": lambda p: p.write_bytes(b"\x80\x02]r\xff\xff\xff\xff."),
    "a large array.pdparams": lambda p: p.write_bytes(b"\x80\x02cnumpy\nndarray\n(K\x00J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86tR."),
    "a long text.pdparams": lambda p: p.write_bytes(b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x."),
    "brackets.pdparams": lambda p: p.write_bytes(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
}


def test_e4_bombs_are_refused_in_little_memory(tmp_path):
    "In a process that may have 500 MB more than it has after importing, each within a second of processor time"
    for name, make in BOMBS.items(): make(tmp_path / name)
    code = """
import resource, sys, time
from segnb.weights.files import read_weights
from pathlib import Path
has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (has + (500 << 20),) * 2)
for name in sys.argv[1:]:
    begin = time.process_time()
    try: read_weights(name)
    except ValueError as e: assert str(e).startswith(f"{name} cannot be read as weights: "), e
    else: sys.exit(f"{name} was read")
    assert time.process_time() - begin < 2, (name, time.process_time() - begin)
"""
    done = subprocess.run([sys.executable, "-c", code, *BOMBS], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Runs:
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch, (self.path,)


def names_of_every_kind(path, canary):
    "An archive whose members want to lie elsewhere"
    with tarfile.open(path, "w:gz") as archive:
        def add(name, kind=tarfile.REGTYPE, link="", data=b""):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data)
            archive.addfile(info, io.BytesIO(data))
        bad = b"owned"
        for name in ("../canary", str(canary), "x/../../canary", "W", "w"): add(name, data=bad)
        add("link", tarfile.SYMTYPE, str(canary.parent))
        add("link/canary", data=bad)
        add("hard", tarfile.LNKTYPE, "/etc/passwd")
        add("device", tarfile.CHRTYPE)
        add("pipe", tarfile.FIFOTYPE)
        add("evil.pdparams", data=pickle.dumps(Runs(canary)))


def test_e5_archives_write_nothing(tmp_path):
    (tmp_path / "inside" / "deep").mkdir(parents=True)
    archive = tmp_path / "inside" / "deep" / "a.tgz"
    names_of_every_kind(archive, tmp_path / "canary")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="a.tgz cannot be read as weights"): read_weights(archive)
    assert sorted(tmp_path.rglob("*")) == before and not (tmp_path / "canary").exists()


NOTES = {  # What is changed in model.json, and words that must be said
    "model-number": (dict(model=5), "model"), "class": (dict(model={"class": "os.system"}), "unknown class 'os.system'"),
    "no-segmenter": (dict(model={"class": "Normalize"}), "must hold a segmenter, got a Normalize"),
    "huge": (dict(model__num_classes=10**30), "num_classes"), "large": (dict(model__num_classes=10**12), "cannot be built"),
    "other-classes": (dict(model__num_classes=7, labels=[]), "weights.safetensors does not fit"),
    "text": (dict(model__num_classes="5"), "a whole number"),
    "unknown-option": (dict(model__colour=1), "has no field 'colour'"), "labels": (dict(labels=5), "`labels` must be a list of text"),
    "labels-numbers": (dict(labels=[1, 2, 3, 4, 5]), "`labels` must be a list of text"),
    "labels-few": (dict(labels=["a"]), "`labels` must be 5 names"),
    "epochs": (dict(completed_epochs="x"), "`completed_epochs` must be"),
    "epochs-negative": (dict(completed_epochs=-3), "`completed_epochs` must be"),
    "epochs-bool": (dict(completed_epochs=True), "`completed_epochs` must be"),
    "temperature": (dict(temperature="hot"), "`temperature` must be a number"),
    "temperature-0": (dict(temperature=0), "`temperature` must be a number"), "transforms": (dict(transforms=5), "`transforms` must be a Compose"),
    "transform": (dict(transforms={"class": "Nope"}), "unknown class 'Nope'"),
    "transform-option": (dict(transforms={"class": "Compose", "transforms": [{"class": "Normalize", "mean": "x"}]}), "`mean` must be"),
    "pruned": (dict(pruned="yes"), "`pruned` must be True or False"), "newer": (dict(format=2), "upgrade"),
    "no-format": (dict(format=None), "format 1"),
    **{f"no-{k}": ({k: ...}, k) for k in ("model", "labels", "completed_epochs", "transforms")},
}


@pytest.mark.parametrize("change,words", [pytest.param(*v, id=f"E6-{k}") for k, v in NOTES.items()])
def test_e6_notes(folder, change, words):
    "A ValueError with the name of what is wrong, whatever it is; the file is signed anew each time, so that only the content is wrong"
    notes = json.loads((folder / "model.json").read_text())
    for name, value in change.items():
        inside, key = (notes["model"], name[7:]) if name.startswith("model__") else (notes, name)
        if value is ...: del inside[key]
        else: inside[key] = value
    sign(folder, json.dumps(notes))
    with warnings.catch_warnings(action="ignore"), pytest.raises(ValueError, match=words) as e: load_model(folder)
    assert "model.json" in str(e.value) or str(folder) in str(e.value), str(e.value)


def sign(folder, text):
    "Write model.json, and a manifest that agrees"
    (folder / "model.json").write_text(text)
    (folder / "MANIFEST.json").unlink()
    _sign(folder)


def test_e6_older_and_richer_notes_are_read(folder):
    "What a later version adds, and what the first did not write yet"
    notes = json.loads((folder / "model.json").read_text())
    for name in ("temperature", "pruned", "metrics"): del notes[name]
    sign(folder, json.dumps({**notes, "weather": "fine"}))
    assert load_model(folder).temperature == 1


NEST = "".join(f"{c}: &{c} [{', '.join(['*' + b] * 9)}]\n" for b, c in ("ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"))
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + NEST
YAML = {
    "object": ("a: !!python/object/apply:os.system ['touch canary']", "could not determine a constructor"),
    "name": ("a: !!python/name:os.system", "could not determine a constructor"),
    "bomb": (BOMB, "more than a million items"), "bomb-used": (BOMB + "Model: *i\n", "more than a million items"),
    "in-itself": ("Model: &a [*a]", "more than a million items"), "deep": ("- " + "[" * 50_000, "nested too deep"),
    "long": ("Model: " + "x" * 5_000_000, "must be a page of text"), "empty": ("", "must hold a dictionary"),
    "list": ("Model: FastSCNN\nstatus: Normal\n_init_params: [1]", "`_init_params` must be a dict"),
    "transform": ("Model: FastSCNN\nstatus: Normal\nTransforms: [Resize]", "a transform must be one name with its options"),
}


@pytest.mark.parametrize("text,words", [pytest.param(*v, id=f"E7-{k}") for k, v in YAML.items()])
def test_e7_yaml(tmp_path, text, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.yml").write_text(text)
    with pytest.raises(ValueError, match=words) as e: load_paddlex(tmp_path)
    assert "model.yml" in str(e.value) and len(str(e.value)) < 1000 and not (tmp_path / "canary").exists()


@pytest.mark.parametrize("value", [pytest.param(float("nan"), id="E8-nan"), pytest.param(float("inf"), id="E8-inf")])
def test_e8_weights_that_are_not_numbers(folder, value):
    state = load_file(folder / "weights.safetensors")
    name = [n for n, t in state.items() if t.is_floating_point()][3]
    state[name] = torch.full_like(state[name], value)
    save_file(state, folder / "weights.safetensors")
    sign(folder, (folder / "model.json").read_text())
    with pytest.warns(UserWarning, match=f"weights.safetensors holds numbers that are not finite, such as in {name}"): load_model(folder)


def test_e8_classes_in_another_order(folder, data):
    "The same names in another order would be counted as other classes"
    model = load_model(folder)
    own = SegDataset(data.data_dir, data.file_list, transforms=PLAIN, num_workers=0)
    own.labels = list("abced")
    for call in (lambda: model.evaluate(own), lambda: model.train(1, own, 2, save_dir=folder.parent / "out", pretrain_weights=None)):
        with pytest.raises(ValueError, match=r"names the classes in another order than the model, which has 'd' as class 3, where it has 'e'"): call()
    own.labels = list("abcde")
    model.evaluate(own)
    own.labels = ["Acker", "Straße", "Haus", "Wald", "Wasser"]  # Other names altogether may be a translation
    model.evaluate(own)


def test_e9_saved_on_a_machine_with_a_gpu(tmp_path, folder):
    "Weights that PyTorch saved on a GPU open here, and our own folders name no device at all"
    torch.save({"w": torch.arange(6.0)}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as f: parts = {n: f.read(n) for n in f.namelist()}
    with zipfile.ZipFile(tmp_path / "gpu.pth", "w") as f:
        for name, part in parts.items(): f.writestr(name, part.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:7"))
    assert b"cuda:7" in (tmp_path / "gpu.pth").read_bytes()
    found = read_weights(tmp_path / "gpu.pth")["w"]
    assert found.device.type == "cpu" and torch.equal(found, torch.arange(6.0))
    assert b"cuda" not in (folder / "model.json").read_bytes() and b"cuda" not in (folder / "weights.safetensors").read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from segnb.folders import whole_folder
left = int(sys.argv[2])

def at(event, args):
    "Die at the n-th thing that changes the disk"
    global left
    if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate") or event == "open" and "w" in str(args[1]):
        left -= 1
        if left < 0: os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(at)
with whole_folder(sys.argv[1]) as new:
    for i in range(3): (new / f"{i}.bin").write_bytes(b"new" * 1000)
print("saved")
"""


def test_e10_killed_at_every_step_of_a_save(tmp_path):
    "Whatever was the last thing that the dying process did to the disk, an old or a new model can be opened, and it can be saved over"
    from segnb.folders import find_folder, whole_folder
    steps = 0
    while True:
        place = tmp_path / str(steps) / "best_model"
        with whole_folder(place) as new:
            for i in range(3): (new / f"{i}.bin").write_bytes(b"old" * 1000)
        done = subprocess.run([sys.executable, "-c", KILLED, str(place), str(steps)], capture_output=True, text=True)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        found = {(find_folder(place) / f"{i}.bin").read_bytes()[:3] for i in range(3)}
        assert found in ({b"old"}, {b"new"}), (steps, found)
        with whole_folder(place) as new: (new / "0.bin").write_bytes(b"next")
        assert sorted(p.name for p in place.parent.iterdir()) == ["best_model"], steps
        if done.returncode == 0: break
        steps += 1
    assert steps >= 10 and found == {b"new"}


@pytest.mark.parametrize("name", [pytest.param("ein Modell für Ω – 模型", id="E12-unicode"), pytest.param("a b\tc'd\"e", id="E12-blanks"),
                                  pytest.param("/".join(["x" * 200] * 15), id="E12-long")])
def test_e12_places(saved, tmp_path, name):
    "Saved, moved and opened where paths are odd"
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(saved, tmp_path / name)
    model = load_model(tmp_path / name)
    model.save_model(tmp_path / name)
    moved = (tmp_path / name).with_name("moved")
    (tmp_path / name).rename(moved)
    assert load_model(moved).labels == model.labels


def test_e12_a_place_that_takes_no_files(saved, tmp_path):
    "A disk that is mounted read-only; where that is not allowed, folders without the right to write, and a user who is not root"
    place, ro = shutil.copytree(saved, tmp_path / "model"), tmp_path / "ro"
    code = f"""
from segnb.models import load_model
model = load_model({str(ro / 'm')!r})
try: model.save_model({str(ro / 'm')!r})
except OSError as e: print("refused", e)
"""
    script = 'mount -t tmpfs none "$1" && mkdir "$1/m" && cp -r "$2/." "$1/m" && mount -o remount,ro "$1" && exec "$3" -c "$4"'
    ro.mkdir()
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", ro, place, sys.executable, code], capture_output=True, text=True)
    if "refused" not in done.stdout and done.returncode:
        print("no mounting here:", done.stderr)
        shutil.copytree(place, ro / "m")
        for p in (ro / "m", ro): p.chmod(0o555)
        become = (lambda: os.setuid(65534)) if os.getuid() == 0 else None
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=become)
    assert "refused" in done.stdout and str(ro) in done.stdout, done.stderr
