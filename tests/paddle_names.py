"""Our parameter names in the words of PaddleX 1.3, and weights drawn from those names."""

import re

import numpy as np
import torch

SLOW = {"conv.weight": "/weights", "conv.bias": "/biases", "deconv.weight": "/weights", "bn.weight": "/BatchNorm/gamma",
        "bn.bias": "/BatchNorm/beta", "bn.running_mean": "/BatchNorm/moving_mean", "bn.running_var": "/BatchNorm/moving_variance"}
FAST = {"conv.weight": "_weights", "conv.bias": "_offset", "bn.weight": "_bn_scale", "bn.bias": "_bn_offset", "bn.running_mean": "_bn_mean",
        "bn.running_var": "_bn_variance"}


def paddle_name(name):
    "The original's name of one of our tensors"
    root, scope, part, kind = re.fullmatch(r"(?:(bottlenecks|backbone|head)\.)?(.*?)\.?(\w+)\.(\w+)", name).groups()
    flat = root and not scope.startswith("xception")
    return scope.replace(".", "_" if flat else "/") + (FAST if flat else SLOW)[f"{part}.{kind}"]


def names_of(net):
    "The original's name of every tensor of `net`, to the tensor"
    return {paddle_name(k): v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


def fill(net, seed=1234):
    "Draw weights from the names, by the recipe of the recorded arrays"
    tensors, r = names_of(net), np.random.RandomState(seed)
    for name in sorted(tensors):
        shape = tuple(tensors[name].shape)
        if len(shape) == 4: value = r.normal(0, np.sqrt(1.6 / np.prod(shape[1:])), shape)
        elif name.endswith("variance"): value = r.uniform(0.5, 1.5, shape)
        elif name.endswith("mean"): value = r.normal(0, 0.1, shape)
        elif name.endswith(("scale", "gamma")): value = r.uniform(0.5, 1.5, shape)
        else: value = r.normal(0, 0.1, shape)
        tensors[name].copy_(torch.from_numpy(value.astype(np.float32)))
    return net
