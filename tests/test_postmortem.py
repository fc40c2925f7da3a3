"""An examination of the post-mortem: faults that were planted in trainings are named, and trainings without a fault raise no alarm."""

import warnings

import cv2
import numpy as np
import pytest
import torch

from segnb.data.datasets import SegDataset
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize, RandomHorizontalFlip, RandomPaddingCrop, Resize
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet, load_model
from segnb.nets.fastscnn import FastSCNN as Net
from segnb.objective import make_loss
from segnb.postmortem import FailedStep, cause_of
from segnb.train.events import Warned


@pytest.fixture(scope="module")
def scenes(tmp_path_factory): return write_scenes(tmp_path_factory.mktemp("scenes"), 8, 4, (64, 64), 2)


def part(folder, name, *transforms, last=None, shuffle=True):
    return SegDataset(folder, folder / f"{name}_list.txt", folder / "labels.txt", Compose([*transforms, last or Normalize()]), 0, shuffle=shuffle)


def said(model, train, val, out, epochs=15, batch=4, **more):
    "What a training says that it should not be silent about; long enough that a class that cannot be learned is not answered by chance"
    heard = []
    usual = {"pretrain_weights": None, "observers": [heard.append], "learning_rate": 0.05, "save_interval_epochs": 5}
    try: model.train(epochs, train, batch, val, eval_batch_size=2, save_dir=out, **{**usual, **more})
    except (ValueError, FloatingPointError) as e: return str(e)
    return " / ".join(e.message for e in heard if isinstance(e, Warned))


def relabelled(folder, copy, change, images=None):
    "A copy of a data set whose training labels, or images, were changed"
    write_scenes(copy, 8, 4, (64, 64), 2)
    for i in range(8):
        label = copy / f"Annotations/scene_{i:04}.png"
        cv2.imwrite(str(label), change(cv2.imread(str(label), cv2.IMREAD_UNCHANGED)))
        if images: cv2.imwrite(str(copy / f"JPEGImages/scene_{i:04}.png"), images(cv2.imread(str(copy / f"JPEGImages/scene_{i:04}.png"))))
    return copy


def without(label, number): return np.where(label == number, 0, label).astype(np.uint8)


def mostly_unlabelled(label):
    found = np.full_like(label, 255)
    found[0, :5] = range(5)
    return found


def speck(label):
    found = without(label, 3)
    found[7, 7] = 3
    return found


def bad_pixels(copy, value):
    "One training image in floats, with a value in it"
    write_scenes(copy, 8, 4, (64, 64), 2)
    image = np.full((64, 64, 3), 100, np.float32)
    image[5, 5] = value
    np.save(copy / "bad.npy", image)
    listed = (copy / "train_list.txt").read_text().splitlines()
    (copy / "train_list.txt").write_text("\n".join([f"bad.npy {listed[0].split()[1]}", *listed[1:]]) + "\n")
    return copy


def foreign_file(folder):
    "Weights of another network"
    torch.save({f"layers.{i}.weight": torch.zeros(4, 4) for i in range(40)}, folder / "other.pth")
    return folder / "other.pth"


def stuck(model):
    "The same model, sure of class 0"
    with torch.no_grad(): [m for m in model.net.modules() if isinstance(m, torch.nn.Conv2d)][-1].bias.copy_(torch.tensor([50.0, 0, 0, 0, 0]))
    return model


planted = {
    "a class that no training label holds": ("not one of the 8 training labels holds it",
        lambda s, t: said(FastSCNN(5), part(relabelled(s, t / "c", lambda label: without(label, 3)), "train"), part(s, "val"), t / "out")),
    "crops without a labelled pixel": ("not one pixel of",
        lambda s, t: said(FastSCNN(5), part(relabelled(s, t / "c", mostly_unlabelled), "train", RandomPaddingCrop(32)), part(s, "val"), t / "out")),
    "a class too small for the size": ("in none of",
        lambda s, t: said(FastSCNN(5), part(relabelled(s, t / "c", speck), "train", Resize([32, 32])), part(s, "val"), t / "out")),
    "constant images": ("one grey to the network",
        lambda s, t: said(FastSCNN(5), part(relabelled(s, t / "c", lambda x: x, np.zeros_like), "train"), part(s, "val"), t / "out")),
    "bytes taken for sixteen bits": ("one grey to the network",
        lambda s, t: said(FastSCNN(5), *(part(s, n, last=Normalize(max_val=[65535.0] * 3)) for n in ("train", "val")), t / "out")),
    "an evaluation that normalises otherwise": ("evaluation by",
        lambda s, t: said(FastSCNN(5), part(s, "train"), part(s, "val", last=Resize([64, 64])), t / "out")),
    "a weight of 0": ("`class_weight` is 0 at its place",
        lambda s, t: said(FastSCNN(5, class_weight=[1, 1, 1, 0, 1]), part(s, "train"), part(s, "val"), t / "out")),
    "a learning rate that is too small": ("lr_find",
        lambda s, t: said(stuck(FastSCNN(5)), part(s, "train"), part(s, "val"), t / "out", 10, learning_rate=1e-9)),
    "a learning rate that is too large": ("learning_rate ten times smaller",
        lambda s, t: said(FastSCNN(5), part(s, "train"), part(s, "val"), t / "out", learning_rate=1e12)),
    "a loss that is infinite": ("the loss of them is not",
        lambda s, t: said(FastSCNN(5), part(s, "train"), part(s, "val"), t / "out", loss=lambda x, label: x.mean() + torch.inf)),
    "a pixel far out of range": ("after normalisation",
        lambda s, t: said(FastSCNN(5), part(bad_pixels(t / "c", 1e12), "train"), part(s, "val"), t / "out")),
    "a pixel that is no number": ("FillMissing()",
        lambda s, t: said(FastSCNN(5), part(bad_pixels(t / "c", np.nan), "train"), part(s, "val"), t / "out")),
    "a label that is no class": ("a label value must be between 0 and 4",
        lambda s, t: said(FastSCNN(5), part(relabelled(s, t / "c", lambda label: label + 4), "train"), part(s, "val"), t / "out")),
    "weights that do not load": ("must fit at least half of this network",
        lambda s, t: said(FastSCNN(5), part(s, "train"), part(s, "val"), t / "out", pretrain_weights=foreign_file(t))),
}


@pytest.mark.parametrize("fault", planted)
def test_planted_faults_are_named(fault, scenes, tmp_path):
    torch.manual_seed(0)
    words, plant = planted[fault]
    assert words in plant(scenes, tmp_path)


def test_half_precision_is_named():
    torch.manual_seed(0)
    net, label = Net(3, 4).train(), torch.randint(0, 4, (2, 64, 64))
    with torch.no_grad(): [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)][-1].weight.mul_(1e7)
    x, loss = torch.randn(2, 3, 64, 64), make_loss(4)
    with torch.no_grad(), torch.autocast("cpu", torch.float16): assert not torch.isfinite(loss(net.small_logits(x), label))
    assert "float16 leaves its range" in cause_of(FailedStep(net, loss, x, label, ["a.png", "b.png"], 4, 255, torch.float16))


def test_one_value_for_each_channel_is_named():
    torch.manual_seed(0)
    net = Net(3, 4).train()
    with torch.no_grad(): net.get_parameter("learning_to_downsample.conv.weight").fill_(torch.nan)
    step = FailedStep(net, make_loss(4), torch.randn(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.int64), ["a.png"], 4, 255)
    assert "at most two values for each channel" in cause_of(step)


healthy = [
    *((f"seed {s}", lambda s=s: FastSCNN(5), {"seed": s}, []) for s in range(5)),
    *((f"rate {r}", lambda: FastSCNN(5), {"learning_rate": r}, []) for r in (0.001, 0.05, 0.1)),
    *((f"loss {w}", lambda: FastSCNN(5), {"loss": w}, []) for w in ("focal", "0.5*ce + 0.5*lovasz", "ohem")),
    ("dynamic weights", lambda: FastSCNN(5, class_weight="dynamic"), {}, []),
    ("listed weights", lambda: FastSCNN(5, class_weight=[0.2, 1, 1, 2, 2]), {}, []),
    ("averages of the weights", lambda: FastSCNN(5), {"ema": 0.9}, []),
    ("single images", lambda: FastSCNN(5), {"batch": 1}, []),
    ("long", lambda: FastSCNN(5), {"epochs": 12, "learning_rate": 0.05}, []),
    ("crops", lambda: FastSCNN(5), {}, [RandomPaddingCrop(48)]),
    ("small pictures", lambda: FastSCNN(5), {}, [Resize([48, 48]), RandomHorizontalFlip()]),
    ("UNet", lambda: UNet(5), {"batch": 8}, [Resize([32, 32])]),
    ("DeepLabv3p", lambda: DeepLabv3p(5, backbone="MobileNetV2_x0.25"), {}, []),
    ("HRNet", lambda: HRNet(5, width="18_small_v1"), {"batch": 8}, []),
]


@pytest.mark.parametrize("name, make, options, transforms", healthy, ids=[h[0] for h in healthy])
def test_healthy_runs_raise_no_alarm(name, make, options, transforms, scenes, tmp_path):
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    assert "Post-mortem" not in said(make(), part(scenes, "train", *transforms), part(scenes, "val"), tmp_path / "out",
                                    **{"epochs": 3, "save_interval_epochs": 1, "learning_rate": 0.01, **options})


def test_a_cause_is_told_once_and_changes_nothing(scenes, tmp_path):
    "Looking into a missed class must not change what is learned"
    copy = relabelled(scenes, tmp_path / "c", lambda label: without(label, 3))
    models = {}
    for name, val in (("asked", part(scenes, "val")), ("not", None)):
        torch.manual_seed(0)
        models[name] = FastSCNN(5)
        words = said(models[name], part(copy, "train", RandomHorizontalFlip()), val, tmp_path / name, save_interval_epochs=1)
        assert words.count("Post-mortem") == (1 if val else 0) and words.count("3 (tree)") == (1 if val else 0)
    for a, b in zip(models["asked"].net.state_dict().values(), models["not"].net.state_dict().values(), strict=True): assert torch.equal(a, b)
    assert load_model(tmp_path / "asked" / "epoch_15").num_classes == 5
