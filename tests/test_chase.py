"""A retina of 999 x 960 pixels, which no stride divides, whole against tiled."""

from threading import RLock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segnb.data.images import read_image, read_label
from segnb.data.transforms import Compose, Normalize
from segnb.infer.advice import reach_of
from segnb.infer.predict import Asker, predict_images
from segnb.infer.rows import Job, Scene, overlap_tile
from segnb.models import FastSCNN

PLAIN = Compose([Normalize()])


def pairs(shared, part):
    "Images and labels of one list"
    folder = shared / "data/chase_db1"
    for line in (folder / f"{part}_list.txt").read_text().splitlines():
        image, label = line.split()
        yield read_image(folder / image), read_label(folder / label)


def learned(net, shared, steps, rate):
    "A network after a few steps on crops of the vessels"
    net.train()
    some, rng = [pair for pair, _ in zip(pairs(shared, "train"), range(4))], np.random.default_rng(0)
    optimizer = torch.optim.Adam(net.parameters(), rate)
    for _ in range(steps):
        crops = [(image[y : y + 128, x : x + 128], label[y : y + 128, x : x + 128]) for image, label in some
                 for y, x in [rng.integers(300, 600, 2)]]
        x = torch.tensor(np.stack([c for c, _ in crops]).transpose(0, 3, 1, 2) / 127.5 - 1, dtype=torch.float32)
        answer = net(x)
        loss = F.cross_entropy(answer[0] if isinstance(answer, tuple) else answer, torch.tensor(np.stack([c for _, c in crops])).long(), torch.tensor([0.2, 1.0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def tiled(asker, image, pad, blend="crop"): return overlap_tile(Job(asker, Scene(image, 3), (256, 200), (pad, pad), 4, blend), image)


def test_tiles_are_the_whole_once_the_surround_is_as_wide_as_the_reach(shared):
    torch.manual_seed(0)
    layers = [(3, 8, 1), (8, 8, 2), (8, 8, 4), (8, 8, 8)]
    net = nn.Sequential(*(part for a, b, d in layers for part in (nn.Conv2d(a, b, 3, padding=d, dilation=d), nn.ReLU())), nn.Conv2d(8, 2, 1))
    asker = Asker(learned(net, shared, 25, 0.02), PLAIN, RLock())
    reach, (image, _) = reach_of(net).within(1.0), next(pairs(shared, "val"))
    assert reach == 1 + 2 + 4 + 8 and image.shape == (960, 999, 3)
    whole, inside = next(predict_images(asker, [image], 3)), np.s_[reach:-reach, reach:-reach]
    assert 0.01 < (whole["label_map"] == 1).mean() < 0.99
    for pad in (reach, reach + 1, 64):
        found = tiled(asker, image, pad)
        assert (found["label_map"] == whole["label_map"])[inside].all()
        assert np.allclose(found["score_map"][inside], whole["score_map"][inside], atol=1e-5)
    assert (tiled(asker, image, 0)["label_map"] != whole["label_map"])[inside].any()


@pytest.mark.parametrize("blend", ["crop", "hann"])
def test_a_network_that_sees_everything_agrees_nearly(shared, record_property, blend):
    "FastSCNN averages over the whole window, so no surround makes it equal; a wider one does not make it worse"
    torch.manual_seed(0)
    asker = Asker(learned(FastSCNN(2).net, shared, 30, 0.003), PLAIN, RLock())
    image, label = next(pairs(shared, "val"))
    whole = next(predict_images(asker, [image], 3))["label_map"]
    agree = {pad: float((tiled(asker, image, pad, blend)["label_map"] == whole).mean()) for pad in (0, 64, 128)}
    for pad, share in agree.items(): record_property(f"agreement with a surround of {pad}", share)
    assert agree[64] > 0.9 and agree[128] > agree[0] - 0.02, agree
