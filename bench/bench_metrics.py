"""From small logits to a confusion matrix, against torchmetrics, which must be installed: pip install -e '.[bench]'

bench/bench_metrics.py      (with one thread, because torchmetrics counts with one; seconds of the processor, so that neighbours do not count)
"""

import time
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from timing import PeakMemory, interleave, line, ratio

from segnb.metrics import ConfusionMatrix
from segnb.strips import classes_of

CLASSES, IMAGES, SIDE = 19, 8, 512


def example():
    "Logits at a quarter of the size, smooth as a network's are, and labels that agree with four fifths of them"
    g = torch.Generator().manual_seed(0)
    coarse = torch.randn(IMAGES, CLASSES, SIDE // 16, SIDE // 16, generator=g)
    small = (3 * F.interpolate(coarse, (SIDE // 4, SIDE // 4), mode="bilinear")).contiguous(memory_format=torch.channels_last)
    label, dice = enlarged(small).argmax(1), torch.rand(IMAGES, SIDE, SIDE, generator=g)
    label = torch.where(dice < 0.2, torch.randint(0, CLASSES, label.shape, generator=g), label)
    label[dice > 0.95] = 255
    return small, label


def enlarged(small): return F.interpolate(small, (SIDE, SIDE), mode="bilinear", align_corners=True)


def ours(small, label):
    counts = ConfusionMatrix(CLASSES)
    for answer, truth in zip(classes_of(small, (SIDE, SIDE)).numpy(), label): counts.update(answer, truth)
    return counts.counts


def theirs(metric, small, label):
    metric.reset()
    metric.update(enlarged(small), label)
    return metric.compute().numpy()


def main():
    if find_spec("torchmetrics") is None: return print("bench_metrics needs torchmetrics; pip install -e '.[bench]'")
    metric = import_module("torchmetrics.classification").MulticlassConfusionMatrix(CLASSES, ignore_index=255)
    torch.set_num_threads(1)
    small, label = example()
    stored, plain = label.to(torch.uint8).numpy(), small.contiguous()
    ours(small[:1], stored[:1])
    with torch.inference_mode(): same = (ours(small, stored) == theirs(metric, plain, label)).all()
    with PeakMemory() as memory, torch.inference_mode(): ours(small, stored)
    cases = {"torchmetrics": lambda: theirs(metric, plain, label), "torchmetrics, channels last": lambda: theirs(metric, small, label),
             "ours": lambda: ours(small, stored)}
    with torch.inference_mode(): times = interleave(cases, clock=time.process_time)
    what = f"{IMAGES} x {SIDE} x {SIDE}, {CLASSES} classes, small logits to matrix"
    line(f"{what}: the same matrix", str(bool(same)), "True")
    line(f"{what}: speed, times torchmetrics", f"{ratio(times, 'torchmetrics', 'ours'):.2f}", ">= 5.00")
    line(f"{what}: speed, times torchmetrics with channels last", f"{ratio(times, 'torchmetrics, channels last', 'ours'):.2f}", "-")
    line(f"{what}: memory growth", f"{memory.growth:.1f} MB", f"< {4 * IMAGES * CLASSES * SIDE * SIDE / 2**20:.0f} MB, the large logits")
    line(f"{what}: pixels a second", f"{IMAGES * SIDE * SIDE / np.median(times['ours']) / 1e6:.0f} M", "-")


if __name__ == "__main__": main()
