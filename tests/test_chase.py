"""A retina of 999 x 960 pixels, which no stride divides, whole against tiled."""

from threading import RLock

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from segnb.data.images import read_image, read_label
from segnb.data.transforms import Compose, Normalize
from segnb.infer.advice import reach_of
from segnb.infer.asker import Asker
from segnb.infer.predict import predict_images
from segnb.infer.rows import Job, overlap_tile
from segnb.infer.source import Scene

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
        truth = torch.tensor(np.stack([c for _, c in crops])).long()
        loss = F.cross_entropy(net(x), truth, torch.tensor([0.1, 1.0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def tiled(asker, image, pad): return overlap_tile(Job(asker, Scene(image, 3), (256, 200), (pad, pad), 4), image)


def test_tiles_are_the_whole_once_the_surround_is_as_wide_as_the_reach(shared, record_property):
    torch.manual_seed(0)
    layers = [(3, 8, 1), (8, 8, 2), (8, 8, 4), (8, 8, 8)]
    net = nn.Sequential(*(part for a, b, d in layers for part in (nn.Conv2d(a, b, 3, padding=d, dilation=d), nn.ReLU())), nn.Conv2d(8, 2, 1))
    asker = Asker(learned(net, shared, 20, 0.01), PLAIN, RLock())
    reach, (image, _) = reach_of(net).within(1.0), next(pairs(shared, "val"))
    assert reach == 1 + 2 + 4 + 8 and image.shape == (960, 999, 3)
    line = np.quantile(next(predict_images(asker, [image], 3))["score_map"][..., 1], 0.7)
    with torch.no_grad(): net[-1].bias[1] -= float(np.log(line / (1 - line)))  # A third, where it is surest
    whole, inside = next(predict_images(asker, [image], 3)), np.s_[reach:-reach, reach:-reach]
    assert 0.2 < (whole["label_map"] == 1).mean() < 0.4
    for pad in (reach, reach + 1, 64):
        found = tiled(asker, image, pad)
        assert (found["label_map"] == whole["label_map"])[inside].all()
        assert np.allclose(found["score_map"][inside], whole["score_map"][inside], atol=1e-5)
    agree = {pad: float((tiled(asker, image, pad)["label_map"] == whole["label_map"])[inside].mean()) for pad in (0, 4, 8)}
    for pad, share in agree.items(): record_property(f"agreement with a surround of {pad}", share)
    assert 0.9 < agree[0] < agree[4] < agree[8] < 1, agree
