"""Weights drawn from the names that PaddleX 1.3 gives them."""

import numpy as np
import torch

from segnb.weights.names import paddlex_name


def names_of(net):
    "The original's name of every tensor of `net`, to the tensor"
    return {paddlex_name(k): v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


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
