"""One forward pass of our DeepLabv3+ against the one people use, segmentation_models_pytorch, which must be installed: pip install -e '.[bench]'

bench/bench_forward.py [SIDE]      (default 512)
"""

import sys
from importlib import import_module
from importlib.util import find_spec

import torch
from timing import interleave, line, ratio

from segnb.nets.deeplab import DeepLabv3p

CLASSES = 19


def main():
    if find_spec("segmentation_models_pytorch") is None: return print("bench_forward needs segmentation_models_pytorch; pip install -e '.[bench]'")
    smp = import_module("segmentation_models_pytorch")
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    x = torch.rand(1, 3, side, side)
    theirs = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, classes=CLASSES).eval()
    ours = DeepLabv3p(3, CLASSES).eval().to(memory_format=torch.channels_last)
    cases = {"smp": lambda: theirs(x), "ours": lambda: ours(x.contiguous(memory_format=torch.channels_last))}
    with torch.inference_mode(): times = interleave(cases)
    line(f"DeepLabv3+ MobileNetV2, {side} x {side}: speed, times smp eager", f"{ratio(times, 'smp', 'ours'):.2f}", ">= 1.00")


if __name__ == "__main__": main()
