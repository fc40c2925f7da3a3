"""One forward pass of the copies that answer predictions, fp32 and bf16, against the networks people run: plain eager PyTorch.

DeepLabv3+ against segmentation_models_pytorch, HRNet against timm, FastSCNN and UNet against themselves as plain PyTorch; with OpenVINO beside them
if it is installed. pip install -e '.[bench]'

bench/bench_forward.py [SIDE [NETWORK ...]]      (default 512, all)
"""

import math
import sys
from importlib import import_module
from importlib.util import find_spec

import torch
from timing import interleave, line, ratio
from torch import nn

from segnb.infer.fuse import fused
from segnb.nets.deeplab import DeepLabv3p
from segnb.nets.fastscnn import FastSCNN
from segnb.nets.hrnet import HRNet
from segnb.nets.unet import UNet

CLASSES = 19


class Concatenated(nn.Module):
    "timm's HRNet-W18 with the head of the paper: four maps beside each other, two 1 x 1 convolutions"

    def __init__(self):
        super().__init__()
        self.body = import_module("timm").create_model("hrnet_w18", pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
        self.body.incre_modules = None
        self.head = nn.Sequential(nn.Conv2d(270, 270, 1), nn.BatchNorm2d(270), nn.ReLU(), nn.Conv2d(270, CLASSES, 1))

    def forward(self, x):
        maps = self.body(x)
        larger = [maps[0], *(nn.functional.interpolate(m, size=maps[0].shape[2:], mode="bilinear") for m in maps[1:])]
        return nn.functional.interpolate(self.head(torch.cat(larger, 1)), scale_factor=4, mode="bilinear")


def smp(): return import_module("segmentation_models_pytorch").DeepLabV3Plus("mobilenet_v2", encoder_weights=None, classes=CLASSES)


NETWORKS = {  # Ours, what it is measured against, the package that needs, goals in fp32 and in bf16
    "DeepLabv3p": (lambda: DeepLabv3p(3, CLASSES), smp, "segmentation_models_pytorch", 2.3, 4.0),
    "FastSCNN": (lambda: FastSCNN(3, CLASSES), lambda: FastSCNN(3, CLASSES), "torch", 1.8, 2.8),
    "HRNet": (lambda: HRNet(3, CLASSES), Concatenated, "timm", 2.1, 4.0),
    "UNet": (lambda: UNet(3, CLASSES), lambda: UNet(3, CLASSES), "torch", 1.5, 2.8),
}


def openvino_of(net, x):
    "The network in OpenVINO, fp32"
    ov = import_module("openvino")
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    with torch.no_grad(): asked = ov.Core().compile_model(ov.convert_model(net, example_input=x), "CPU", hints).create_infer_request()
    return lambda: asked.infer([x.numpy()])


def measure(name, side):
    ours, theirs, package, goal, goal_bf16 = NETWORKS[name]
    if find_spec(package) is None: return print(f"{name} needs {package}; pip install -e '.[bench]'")
    torch.manual_seed(0)
    x, net, peer = torch.rand(1, 3, side, side), ours().eval(), theirs().eval()
    near = x.contiguous(memory_format=torch.channels_last)
    half, exact, rounded = near.bfloat16(), fused(net), fused(net, "bf16")
    same = (exact.small_logits(near)[0].argmax(1) == net.small_logits(x)[0].argmax(1)).float().mean()
    cases = {"peer": lambda: peer(x), "fp32": lambda: exact.small_logits(near), "bf16": lambda: rounded.small_logits(half)}
    if find_spec("openvino"): cases["openvino"] = openvino_of(peer, x)
    times = interleave(cases, rounds=5 if name == "UNet" else 9)
    line(f"{name}, {side} x {side}: fp32 speed, times plain eager PyTorch", f"{ratio(times, 'peer', 'fp32'):.2f}", f">= {goal}")
    line(f"{name}, {side} x {side}: bf16 speed, times plain eager PyTorch", f"{ratio(times, 'peer', 'bf16'):.2f}", f">= {goal_bf16}")
    line(f"{name}: share of pixels with the same label, fp32", f"{same:.6f}", ">= 0.9999")
    return ratio(times, "openvino", "fp32") if "openvino" in times else None


def main(side=512, *names):
    with torch.inference_mode(): against = [measure(name, int(side)) for name in names or NETWORKS]
    found = [a for a in against if a]
    if found: line("geometric mean of the fp32 speed over OpenVINO's", f"{math.prod(found) ** (1 / len(found)):.2f}", ">= 0.95")


if __name__ == "__main__": main(*sys.argv[1:])
