"""Overlap-tile prediction around a network that costs almost nothing: what is left is our own work.

bench/bench_tile.py [SIDE]               (default 4096)
bench/bench_tile.py memory [SIDE]        (default 16384; memory alone: in memory, and from file to file at two heights)
"""

import sys
import tempfile
from pathlib import Path
from threading import RLock

import numpy as np
import torch
import torch.nn.functional as F
from timing import PeakMemory, interleave, line, ratio
from torch import nn

from segnb.data.scenes import draw_scene
from segnb.data.transforms import Compose, Normalize
from segnb.infer.asker import Asker
from segnb.infer.disk import predict_to_disk
from segnb.infer.rows import Job, overlap_tile
from segnb.infer.source import Scene

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


def mosaic(height, width, out):
    "One drawn scene again and again, written into an array"
    part = draw_scene((1024, 1024))[0]
    for y in range(0, height, 1024):
        for x in range(0, width, 1024): out[y : y + 1024, x : x + 1024] = part[: min(1024, height - y), : min(1024, width - x)]
    return out


def job(net, source): return Job(Asker(net, Compose([Normalize()]), RLock()), Scene(source, 3), (TILE, TILE), (PAD, PAD), BATCH)


def memory(side):
    "Growth of the memory for a large image, kept and streamed; the first run pays for what every run needs"
    torch.manual_seed(0)
    net = TinyNet().eval()
    with tempfile.TemporaryDirectory() as folder:
        for height in (1024, side // 4, side):
            path = Path(folder) / f"{height}.npy"
            mosaic(height, side, np.lib.format.open_memmap(path, "w+", np.uint8, (height, side, 3))).flush()
            with PeakMemory() as streamed: predict_to_disk(job(net, path), path.with_name(f"labels{height}.tif"))
            if height > 1024: line(f"{side} x {height}, from file to file: memory growth", f"{streamed.growth:.0f} MB", "flat")
        image = np.load(path, mmap_mode="r")
        with PeakMemory() as kept: overlap_tile(job(net, image), image)
        line(f"{side} x {side}, labels kept, pages of the mapped image among it: memory growth", f"{kept.growth:.0f} MB", "< 2048 MB")


def main(side):
    torch.manual_seed(0)
    net = TinyNet().eval()
    image = mosaic(side, side, np.empty((side, side, 3), np.uint8))
    predict = lambda: overlap_tile(job(net, image), image)["label_map"]
    network_alone(net, TILE * 2, torch.channels_last)
    with PeakMemory() as memory: predict()
    limit = 2 * side * side / 2**20 + 350
    line(f"overlap-tile {side} x {side}, {CLASSES} classes: memory growth", f"{memory.growth:.0f} MB", f"< {limit:.0f} MB")
    layouts = {"plain": torch.contiguous_format, "channels_last": torch.channels_last}
    times = interleave({"tiles": predict, **{n: lambda n=n: network_alone(net, side, layouts[n]) for n in layouts}}, rounds=7)
    line("the same: time over the network's own, as PyTorch lays it out", f"{ratio(times, 'tiles', 'plain'):.2f} x", "<= 1.15")
    line("the same: time over the network's own, with channels last as here", f"{ratio(times, 'tiles', 'channels_last'):.2f} x", "-")


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]: memory(int(sys.argv[2]) if len(sys.argv) > 2 else 16384)
    else: main(int(sys.argv[1]) if len(sys.argv) > 1 else 4096)
