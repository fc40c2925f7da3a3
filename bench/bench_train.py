"""One training step of our DeepLabv3+ against segmentation_models_pytorch's, which must be installed: pip install -e '.[bench]'

bench/bench_train.py [SIDE] [THREADS]      (default 256 and 2; batch 4, 19 classes, stochastic gradient descent; seconds of the processor)
"""

import sys
import time
from importlib import import_module
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from timing import interleave, line, ratio

from segnb.nets.deeplab import DeepLabv3p
from segnb.objective import make_loss
from segnb.train.schedule import default_optimizer
from segnb.train.stepper import pick_precision

CLASSES, BATCH = 19, 4


def their_step(smp, x, y, layout):
    "A step as everybody writes it"
    net = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, classes=CLASSES).train().to(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=4e-5)
    x = x.contiguous(memory_format=layout)

    def step():
        F.cross_entropy(net(x), y, ignore_index=255).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_step(x, y, half=False):
    "A step as `Stepper` takes it; with `half` the network computes in bfloat16 where PyTorch thinks it safe"
    net = DeepLabv3p(3, CLASSES).train().to(memory_format=torch.channels_last)
    optimizer, loss, x = default_optimizer(net), make_loss(CLASSES), x.contiguous(memory_format=torch.channels_last)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half): small = net.small_logits(x)
        loss(small, y).backward()
        optimizer.step()

    return step


def main():
    if find_spec("segmentation_models_pytorch") is None: return print("bench_train needs segmentation_models_pytorch; pip install -e '.[bench]'")
    smp = import_module("segmentation_models_pytorch")
    side, threads = (int(sys.argv[i]) if len(sys.argv) > i else n for i, n in ((1, 256), (2, 2)))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x, y = torch.rand(BATCH, 3, side, side), torch.randint(0, CLASSES, (BATCH, side, side))
    plain, last = torch.contiguous_format, torch.channels_last
    cases = {"smp": their_step(smp, x, y, plain), "smp, channels last": their_step(smp, x, y, last), "ours": our_step(x, y),
             "ours in bfloat16": our_step(x, y, True)}
    times = interleave(cases, rounds=5, clock=time.process_time)
    what = f"DeepLabv3+ MobileNetV2, batch {BATCH}, {side} x {side}: training step"
    line(f"{what}: speed, times smp eager", f"{ratio(times, 'smp', 'ours'):.2f}", ">= 1.50")
    line(f"{what}: speed in bfloat16, times smp eager", f"{ratio(times, 'smp', 'ours in bfloat16'):.2f}", ">= 1.50")
    print(f"`train` takes {pick_precision('auto', torch.device('cpu'), DeepLabv3p(3, CLASSES).likes_bf16)} here")
    line(f"{what}: speed, times smp with channels last", f"{ratio(times, 'smp, channels last', 'ours'):.2f}", "-")


if __name__ == "__main__": main()
