"""Losses that break nothing: small logits as large ones, a training with each of them, and words that are turned down before anything happens."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segnb.data.datasets import SegDataset
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.hard_losses import Focal, Tversky
from segnb.losses import CrossEntropy, Dice
from segnb.models import FastSCNN
from segnb.nets.fastscnn import FastSCNN as FastNet
from segnb.nets.hrnet import HRNet
from segnb.objective import loss_words, make_loss, read_loss, small_loss
from segnb.strips import strips

TWO = {0: 0, 1: 1, 2: 0, 3: 0, 4: 1}  # Five classes as two


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_scenes(tmp_path_factory.mktemp("scenes"), train=4, val=2, size=(64, 64))
    return SegDataset(folder, folder / "train_list.txt", folder / "labels.txt", Compose([Normalize()]), num_workers=0)


NETS = dict(fastscnn=lambda: FastNet(3, 4, 3), hrnet=lambda: HRNet(3, 4, "18_small_v1"))


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_a_step_on_small_logits_is_a_step_on_large_ones(net):
    "The plain form: every map enlarged, one softmax over all of it"
    torch.manual_seed(0)
    net, x, y = net().double().train(), torch.randn(2, 3, 37, 44, dtype=torch.double), torch.randint(0, 4, (2, 37, 44))
    y[:, :5] = 255
    weights, gradients = (1.0, 0.4, 0.4), []
    for way in ("small", "plain"):
        torch.manual_seed(1)
        net.zero_grad()
        if way == "small": value = make_loss(4, branch_weights=weights)(net.small_logits(x), y)
        else:
            share = (y != 255).double().mean() + 1e-5
            value = sum(w * F.cross_entropy(a, y, ignore_index=255, reduction="sum") / y.numel() / share for w, a in zip(weights, net(x)))
        value.backward()
        gradients.append((value.item(), torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])))
    (one, a), (other, b) = gradients
    assert one == pytest.approx(other, rel=1e-9) and (a - b).abs().max() <= 1e-6 * b.abs().max()


@pytest.mark.parametrize("words", ["ce", "focal", "dice", "0.5*ce + tversky + 0.1*bce"])
@pytest.mark.parametrize("k", [1, 2, 19])
def test_strips_change_nothing(words, k):
    torch.manual_seed(0)
    small, y = torch.randn(2, k, 33, 40, requires_grad=True), torch.randint(0, max(k, 2), (2, 260, 310))
    y[:, :, :7] = 255
    assert k < 19 or len(strips(2 * k * 310, 260, small.device)) > 1
    large = F.interpolate(small, (260, 310), mode="bilinear", align_corners=True)
    values = small_loss(read_loss(words), small, y), read_loss(words)(large, y)
    one, other = (torch.autograd.grad(v, small)[0] for v in values)
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-6, abs=1e-6)
    assert (one - other).abs().max() <= 1e-6 and (one - other).abs().max() <= 2e-5 * other.abs().max()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("words", loss_words)
def test_half_logits_on_a_large_map(words, kind):
    "A sum over 300,000 pixels is far beyond what a 16-bit number holds"
    y = torch.randint(0, 3, (1, 512, 600))
    small = torch.zeros(1, 3, 8, 8, dtype=kind, requires_grad=True)
    value = small_loss(read_loss(words), small, y)
    value.backward()
    assert value.isfinite() and small.grad.isfinite().all() and small.grad.dtype == kind
    uniform = {"ce": np.log(3), "focal": 4 / 9 * np.log(3), "ohem": np.log(3), "bce": np.log(2)}
    if words in uniform: assert value.item() == pytest.approx(uniform[words], rel=1e-4)


def own(logits, y): return F.cross_entropy(logits, y, ignore_index=255)


@pytest.mark.parametrize("loss,options", [
    ("0.5*ce + 0.5*lovasz", {}), ("ohem", dict(class_weight="dynamic")), (Focal(1.5) + 2 * Tversky(), dict(class_weight=[1, 2, 1, 1, 3])), (own, {}),
    ("focal + lovasz", dict(use_bce_loss=True)), (CrossEntropy() + 0.5 * Dice(), dict(use_dice_loss=True))],
    ids=["words", "whole, weights", "objects, weights", "function", "one logit", "objects, one logit"])
def test_training_with(loss, options, data, tmp_path):
    binary = bool({"use_bce_loss", "use_dice_loss"} & set(options))
    path = data.data_dir
    train = SegDataset(path, path / "train_list.txt", transforms=Compose([Normalize()]), num_workers=0, **(dict(label_map=TWO) if binary else {}))
    model = FastSCNN(2 if binary else 5, **options)
    model.train(1, train, 2, save_dir=tmp_path, pretrain_weights=None, loss=loss)
    assert len(model.history.losses) == 2 and np.isfinite(model.history.losses).all()


WRONG = {"ce + lovas": "did you mean 'lovasz'", "": "there are ce, bce", "2 ce": "there are ce", "0*ce": "above 0", "ce; import os": "there are ce",
         "__class__": "there are ce", "1e999*dice": "finite factors"}


@pytest.mark.parametrize("loss,message", WRONG.items())
def test_words_that_mean_nothing(loss, message, data, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        FastSCNN(5).train(1, data, 2, save_dir=tmp_path / "run", pretrain_weights=None, loss=loss)
    assert "`loss` must" in str(caught.value) and not (tmp_path / "run").exists()


def test_what_is_no_loss(data, tmp_path):
    with pytest.raises(TypeError, match=r"pass Dice\(\)"): FastSCNN(5).train(1, data, 2, save_dir=tmp_path / "run", pretrain_weights=None, loss=Dice)
    with pytest.raises(TypeError, match="`loss` must be"): FastSCNN(5).train(1, data, 2, save_dir=tmp_path / "run", pretrain_weights=None, loss=3)
    assert not (tmp_path / "run").exists()
