"""Overlap-tile prediction around a network that costs almost nothing: what is left is our own work.

bench/bench_tile.py [SIDE]      (default 4096)
"""

import sys
from threading import RLock

import numpy as np
import torch
import torch.nn.functional as F
from timing import PeakMemory, interleave, line, ratio
from torch import nn

from segnb.data.scenes import draw_scene
from segnb.data.transforms import Compose, Normalize
from segnb.infer.predict import Asker
from segnb.infer.rows import Job, Scene, overlap_tile

CLASSES, TILE, PAD, BATCH = 19, 512, 64, 4


class TinyNet(nn.Module):
    "A few million multiply-adds at stride 8"

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 8, 1), nn.Conv2d(8, CLASSES, 1)

    def forward(self, x): return F.interpolate(self.b(F.relu(self.a(x))), size=x.shape[2:], mode="bilinear", align_corners=False)


def network_alone(net, side, layout):
    "As many batches through the network as the image needs, and nothing else"
    x = torch.randn(BATCH, 3, TILE + 2 * PAD, TILE + 2 * PAD).contiguous(memory_format=layout)
    net.to(memory_format=layout)
    tiles = (-(-side // TILE)) ** 2
    with torch.inference_mode():
        for _ in range(tiles // BATCH): net(x)


def main(side):
    torch.manual_seed(0)
    net = TinyNet().eval()
    part = draw_scene((1024, 1024))[0]
    image = np.tile(part, (-(-side // 1024), -(-side // 1024), 1))[:side, :side]
    asker = Asker(net, Compose([Normalize()]), RLock())
    predict = lambda: overlap_tile(Job(asker, Scene(image, 3), (TILE, TILE), (PAD, PAD), BATCH), image)["label_map"]
    network_alone(net, TILE * 2, torch.channels_last)
    with PeakMemory() as memory: predict()
    limit = 2 * side * side / 2**20 + 350
    line(f"overlap-tile {side} x {side}, {CLASSES} classes: memory growth", f"{memory.growth:.0f} MB", f"< {limit:.0f} MB")
    layouts = {"plain": torch.contiguous_format, "channels_last": torch.channels_last}
    times = interleave({"tiles": predict, **{n: lambda n=n: network_alone(net, side, layouts[n]) for n in layouts}}, rounds=7)
    line("the same: time over the network's own, as PyTorch lays it out", f"{ratio(times, 'tiles', 'plain'):.2f} x", "<= 1.3")
    line("the same: time over the network's own, with channels last as here", f"{ratio(times, 'tiles', 'channels_last'):.2f} x", "-")


if __name__ == "__main__": main(int(sys.argv[1]) if len(sys.argv) > 1 else 4096)
