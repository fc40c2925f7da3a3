"""The same numbers as PaddleX 1.3, from arrays recorded there."""

import gzip
import json

import numpy as np
import pytest
import torch
from paddle_names import fill, names_of
from torch import nn

import segnb.all  # noqa: F401  Every transform is registered
from segnb.data.sample import Sample
from segnb.metrics import ConfusionMatrix
from segnb.nets.deeplab import DeepLabv3p
from segnb.nets.fastscnn import FastSCNN
from segnb.nets.hrnet import HRNet
from segnb.nets.unet import UNet
from segnb.objective import make_loss
from segnb.spec import from_spec
from segnb.train.schedule import default_optimizer, parameter_groups, poly_lr, set_rate

OURS = ("UNet", "FastSCNN", "DeepLabv3p", "HRNet")


def build(cls, kwargs):
    "Our network for a recorded configuration"
    logits = 1 if kwargs.get("use_bce_loss") or kwargs.get("use_dice_loss") else kwargs.get("num_classes", 2)
    bands = kwargs.get("input_channel", 3)
    if cls == "HRNet": return HRNet(bands, logits, kwargs.get("width", 18))
    if cls == "DeepLabv3p":
        own = ("num_classes", "input_channel", "use_bce_loss", "use_dice_loss")
        return DeepLabv3p(bands, logits, **{k: v for k, v in kwargs.items() if k not in own})
    if cls == "UNet": return UNet(bands, logits, kwargs.get("upsample_mode", "bilinear") == "bilinear")
    return FastSCNN(bands, logits, len(kwargs.get("multi_loss_weight", [1.0])))


def rows(path):
    "The recorded rows about networks we have"
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as f: data = json.load(f)
    data = data if isinstance(data, list) else data.get("rows") or data["runs"]
    found = [r for r in data if r["cls"] in OURS]
    assert found, f"nothing recorded about {OURS} in {path}"
    return found


def test_logits(shared):
    recorded = np.load(shared / "reference/golden_logits.npz")
    for row in rows(shared / "reference/golden_logits.json"):
        net = fill(build(row["cls"], row["kwargs"]), row["weight_seed"]).eval()
        x = torch.from_numpy(np.random.RandomState(row["input_seed"]).normal(0, 1, row["input_shape"]).astype(np.float32))
        with torch.no_grad(): ours = net(x)[0].numpy()
        theirs = recorded[row["id"]]
        assert ours.shape == theirs.shape, row
        assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max(), row["kwargs"]


def test_names_and_shapes(shared):
    for row in rows(shared / "reference/param_names.json.gz"):
        ours = sorted([n, list(t.shape)] for n, t in names_of(build(row["cls"], row["kwargs"])).items())
        assert ours == [[n, list(s)] for n, s in row["params"]], row["kwargs"]


def test_weight_decay_and_rates(shared):
    for row in rows(shared / "reference/param_optim.json.gz"):
        net = build(row["cls"], row["kwargs"])
        groups = parameter_groups(net, 5e-4 if row["cls"] == "HRNet" else 4e-5)
        rules = {id(p): (g["weight_decay"], g["rate"]) for g in groups for p in g["params"]}
        named = {n: id(t) for n, t in zip(names_of(net), [t for k, t in net.state_dict(keep_vars=True).items() if "num_batches" not in k])}
        recorded = next(v for v in row.values() if isinstance(v, list))
        for name, trainable, wanted, multiplier in recorded:
            assert (named[name] in rules) == trainable
            if trainable: assert rules[named[name]] == pytest.approx((wanted, multiplier), abs=1e-12), name


def _step(net, optimizer, loss, x, y, lr):
    set_rate(optimizer, lr)
    value = loss(net(x), y)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.item()


def _near(net, recorded, tolerance, tolerance_first):
    "Norm and first values of every parameter against those recorded"
    for name, tensor in names_of(net).items():
        if name not in recorded: continue
        values, norm = tensor.detach().double().flatten().numpy(), recorded[name]["l2"]
        assert np.linalg.norm(values) == pytest.approx(norm, rel=tolerance, abs=1e-6), name
        first = np.array(recorded[name]["first3"])
        scale = np.maximum(np.abs(first), norm / np.sqrt(values.size))
        assert (np.abs(values[: len(first)] - first) <= tolerance_first * scale + 1e-7).all(), name


def _five_steps(run, noise=0.0, seed=0):
    "Yield (step, loss, learning rate, net) of a recorded run, in float64, because float noise grows tenfold a step behind FastSCNN's pooling"
    net = fill(build(run["cls"], run["kwargs"]), run["weight_seed"]).train().double()
    g = torch.Generator().manual_seed(seed)
    for p in net.parameters(): p.data.mul_(1 + noise * torch.randn(p.shape, generator=g, dtype=p.dtype))
    for m in net.modules():
        if isinstance(m, nn.Dropout2d | nn.Dropout): m.p = 0.0
    k, total = run["kwargs"].get("num_classes", 2), run["num_epochs"] * run["steps_per_epoch"]
    loss = make_loss(k, branch_weights=run["kwargs"].get("multi_loss_weight", [1.0]))
    optimizer, r = default_optimizer(net, run["learning_rate"]), np.random.RandomState(run["data_seed"])
    n, _, h, w = run["input_shape"]
    for t in range(5):
        x = r.normal(0, 1, run["input_shape"]).astype(np.float32)
        y = r.randint(0, k, (n, 1, h, w)).astype(np.int32)
        y[:, :, :2] = 255
        lr = poly_lr(run["learning_rate"], t, total, run["lr_decay_power"])
        yield t, _step(net, optimizer, loss, torch.from_numpy(x).double(), torch.from_numpy(y[:, 0]).long(), lr), lr, net


def recorded_steps(shared): return rows(shared / "reference/train_steps.json")


def is_chaotic(run):
    "DeepLab's image pooling normalises two values here, and they are nearly equal: see `test_five_chaotic_steps`"
    return run["kwargs"].get("backbone") == "MobileNetV2_x0.25"


@pytest.mark.parametrize("cls", ["UNet", "FastSCNN", "DeepLabv3p"])
def test_five_steps(shared, cls):
    for run in [r for r in recorded_steps(shared) if r["cls"] == cls and not is_chaotic(r)]:
        for t, value, lr, net in _five_steps(run):
            assert lr == pytest.approx(run["learning_rates"][t], rel=1e-6)
            assert value == pytest.approx(run["losses"][t], rel=[1e-5, 1e-4, 1e-4, 1e-4, 5e-3][t]), (run["kwargs"], t)
            if t == 0: _near(net, run["after_step_1"], 1e-5, 1e-3)
        _near(net, run["after_last_step"], 2e-3, 2e-2)


def test_five_chaotic_steps(shared):
    "Weights changed by 1e-7 give other losses from the second step on: the recorded ones must lie among those"
    runs = [r for r in recorded_steps(shared) if is_chaotic(r)]
    assert len(runs) == 1
    tries = np.array([[loss for _, loss, _, _ in _five_steps(runs[0], 1e-7, seed)] for seed in range(6)])
    recorded, spread = np.array(runs[0]["losses"]), np.ptp(tries, axis=0)
    assert abs(tries[:, 0] / recorded[0] - 1).max() < 1e-5 and spread[1] > 0.01
    assert (abs(recorded - tries.mean(0)) <= spread).all(), (recorded, tries)


def test_losses(shared):
    with open(shared / "reference/losses.json") as f: cases = json.load(f)["cases"]
    recorded, tried = np.load(shared / "reference/losses.npz"), 0
    for case in cases:
        name, kwargs = case["name"], dict(case["kwargs"])
        dynamic_with_ignored = str(kwargs.get("class_weight", "")).lower() == "dynamic" and (recorded[f"{name}/label"] == 255).any()
        if not case["match"] or dynamic_with_ignored: continue  # We leave ignored pixels out of dynamic weights
        if name == "ce_label_too_large": continue  # The original trains them as the last class; we refuse such labels when they are read
        logits = [torch.from_numpy(recorded[f"{name}/logits{i}"]).requires_grad_() for i in range(case["branches"])]
        weights = kwargs.pop("multi_loss_weight", [1.0])
        value = make_loss(**kwargs, branch_weights=weights)(logits, torch.from_numpy(recorded[f"{name}/label"][:, 0]).long())
        value.backward()
        assert value.item() == pytest.approx(case["value"], rel=1e-5, abs=1e-6), name
        for i, x in enumerate(logits): assert np.abs(x.grad.numpy() - recorded[f"{name}/grad{i}"]).max() <= 1e-6, name
        tried += 1
    assert tried >= 15


def test_metrics(shared):
    with open(shared / "reference/metrics.json") as f: cases = json.load(f)["cases"]
    recorded = np.load(shared / "reference/metrics.npz")
    for case in cases:
        cm = ConfusionMatrix(case["num_classes"], case["ignore_index"])
        for i in range(case["images"]): cm.update(recorded[f"{case['name']}/pred{i}"], recorded[f"{case['name']}/label{i}"])
        assert cm.counts.tolist() == case["confusion_matrix"], case["name"]
        ours = cm.metrics("zero")
        for key, theirs in case["metrics"].items():
            np.testing.assert_allclose(ours[key], np.array(theirs, float), rtol=0, atol=1e-9, err_msg=f"{case['name']} {key}")


def test_transforms(shared):
    with open(shared / "reference/transforms.json") as f: cases = json.load(f)["cases"]
    recorded, tried = np.load(shared / "reference/transforms.npz"), 0
    for case in cases:
        if not case["match"] or not case.get("stored") or case["name"] == "distort_never": continue  # That one records Arrange's layout
        image = recorded[f"input/{case['input']}"]
        sample = Sample(image.reshape(*image.shape[:2], -1), recorded["input/label"] if case["label"] else None)
        chain = case.get("pipeline") or [[case["op"], case["args"]]]
        out = sample
        for op, args in chain:
            out = from_spec({"class": op, **args})(out, np.random.default_rng(0))
        theirs = recorded[f"{case['name']}/im"]
        allowed = 1e-3 * max(1, np.abs(theirs).max() / 255)
        assert np.abs(out.image.astype(np.float64) - theirs.reshape(out.image.shape)).max() <= allowed, case["name"]
        if case["label"]: assert (out.label == recorded[f"{case['name']}/label"].reshape(out.label.shape)).all(), case["name"]
        tried += 1
    assert tried >= 65
