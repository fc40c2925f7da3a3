"""Devices without one at hand: PyTorch follows shapes and devices of tensors that are said to live on a GPU, and objects when two of them do not.

Numbers are not there, so this finds a tensor that was left on the processor, and nothing else.
"""

import threading
from threading import RLock
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves
from torch.utils.data._utils.pin_memory import pin_memory as loader_pin

from segnb.data.batches import Batch, training_batch
from segnb.data.sample import Sample
from segnb.data.scenes import draw_scene
from segnb.data.transforms import Compose, Normalize
from segnb.infer.answers import entropy_of, label_of, scores_of, spread_of
from segnb.infer.asker import Asker
from segnb.infer.predict import predict_images, predict_tiles
from segnb.infer.rows import Job, overlap_tile
from segnb.infer.source import Scene
from segnb.infer.tiles import tile_grid
from segnb.infer.views import Views
from segnb.nets.deeplab import DeepLabv3p
from segnb.nets.fastscnn import FastSCNN
from segnb.nets.hrnet import HRNet
from segnb.nets.unet import UNet
from segnb.objective import make_loss
from segnb.strips import classes_of
from segnb.train.schedule import default_optimizer
from segnb.train.stepper import Manner, Stepper

pytestmark = pytest.mark.filterwarnings("error:the faster copy")
NETS = {"FastSCNN": FastSCNN, "UNet": UNet, "HRNet": HRNet, "DeepLabv3p": DeepLabv3p,
        "MobileNetV3": lambda bands, logits: DeepLabv3p(bands, logits, backbone="MobileNetV3_large_x1_0_ssld"),
        "Xception": lambda bands, logits: DeepLabv3p(bands, logits, backbone="Xception41")}


class Pretend(FakeTensorMode):
    "What lives on a GPU is shape and device only; everything else is computed"

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        elsewhere = torch.device(kwargs.get("device") or "cpu").type != "cpu" or any(isinstance(a, FakeTensor) for a in tree_leaves((args, kwargs)))
        return super().__torch_dispatch__(func, types, args, kwargs) if elsewhere else func(*args, **kwargs)


def of_pretended(real, what): return lambda self, *args, **kwargs: what(self) if isinstance(self, FakeTensor) else real(self, *args, **kwargs)


@pytest.fixture
def gpu(monkeypatch):
    "What is read from such a tensor is 0, and a question is answered with yes"
    said = dict(item=lambda x: 0.0, __bool__=lambda x: True, __float__=lambda x: 0.0, data_ptr=lambda x: 0,
                cpu=lambda x: torch.zeros(x.shape, dtype=x.dtype))
    for name, what in said.items(): monkeypatch.setattr(torch.Tensor, name, of_pretended(getattr(torch.Tensor, name), what))
    with Pretend(allow_non_fake_inputs=True): yield torch.device("cuda:0")


def on(gpu, make, *args):
    with gpu: return make(*args)


def test_a_tensor_left_behind_is_found(gpu):
    with pytest.raises(RuntimeError, match="same device"): torch.zeros(3, device=gpu) + torch.zeros(3, device="cpu")


@pytest.mark.parametrize("name", NETS)
def test_networks_answer(gpu, name):
    net = on(gpu, NETS[name], 3, 5).eval()
    with torch.inference_mode(): answers = net.small_logits(torch.zeros(2, 3, 96, 128, device=gpu))
    assert all(a.device == gpu for a in answers)


LOSSES = ["ce", "dice", "bce", "focal", "tversky", "lovasz", "ohem", "0.5*ce + 0.5*lovasz"]


def objective(words):
    two = words in ("dice", "bce")
    return 1 if two else 5, make_loss(2 if two else 5, loss=words, class_weight=None if two else [1.0] * 5)


@pytest.mark.parametrize("words", LOSSES)
def test_losses_and_their_gradients(gpu, words):
    "On a device called meta, because PyTorch sends gradients of a GPU through its driver"
    (logits, loss), there = objective(words), torch.device("meta")
    small = torch.zeros(2, logits, 8, 8, device=there, requires_grad=True)
    loss([small], torch.zeros(2, 64, 64, dtype=torch.long, device=there)).backward()
    assert small.grad.device == there and small.grad.shape == small.shape


def followed(monkeypatch):
    "What a step does with its loss, in order"
    done, empty = [], torch.empty
    arrived = SimpleNamespace(synchronize=lambda: done.append("waited for the loss"))
    stream = SimpleNamespace(record_event=lambda: done.append("sent for the loss") or arrived)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch, "empty", lambda *args, pin_memory=False, **kwargs: empty(*args, **kwargs))
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: done.append("asked for gradients"))
    return done


@pytest.mark.parametrize("words", LOSSES)
def test_a_step_asks_and_compares_there(gpu, words, monkeypatch):
    logits, loss = objective(words)
    net = on(gpu, FastSCNN, 3, logits)
    batch = training_batch([Sample(*draw_scene((64, 64), seed=i)) for i in range(2)])
    inputs = lambda b: (b.normalized(Compose([Normalize()]).scale_shift(3), gpu), b.labels.to(gpu, non_blocking=True).long())
    step = Stepper(net, loss, default_optimizer(net), inputs, lambda i: 0.01, 2, Manner(ema=0.9))
    for p in net.parameters(): p.requires_grad_(False)
    done = followed(monkeypatch)
    step(batch)
    assert step.done == 1 and all(m.device == gpu for m in step.mean)
    assert done == ["sent for the loss", "asked for gradients", "waited for the loss"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["FastSCNN", "UNet", "HRNet", "DeepLabv3p"])
def test_images_and_tiles_are_predicted(gpu, name, precision):
    asker = Asker(on(gpu, NETS[name], 3, 5), Compose([Normalize()]), RLock(), precision)
    image = np.zeros((70, 90, 3), np.uint8)
    (found,) = predict_images(asker, [image], 3, doubt="entropy")
    assert found["label_map"].shape == found["uncertainty_map"].shape == (70, 90) and found["score_map"].shape == (70, 90, 5)
    tiles = tile_grid((90, 70), (40, 32), (8, 8))
    for tile, parts in predict_tiles(asker, image, tiles, 4, (label_of, scores_of, entropy_of)):
        assert all(part.shape[:2] == (tile.keep.h, tile.keep.w) for part in parts)


def test_a_gpu_that_cannot_record_answers_all_the_same(gpu):
    net, image = on(gpu, FastSCNN, 3, 5), np.zeros((70, 90, 3), np.uint8)
    job = Job(Asker(net, Compose([Normalize()]), RLock()), Scene(image, 3), (15, 14), (8, 8), 1)
    with pytest.warns(UserWarning, match="passes of FastSCNN are not recorded: ") as seen: found = overlap_tile(job, image)
    assert found["label_map"].shape == (70, 90) and len(seen) == 1


@pytest.fixture
def pins(monkeypatch):
    "In which threads batches were pinned"
    found = []
    monkeypatch.setattr(Batch, "pin_memory", lambda self: found.append(threading.current_thread()) or self)
    return found


def test_windows_for_a_gpu_are_cut_and_pinned_beside_its_work(gpu, pins):
    net, image, tiles = on(gpu, FastSCNN, 3, 5), np.zeros((70, 90, 3), np.uint8), tile_grid((90, 70), (30, 35), (8, 8))
    assert len([*predict_tiles(Asker(net, Compose([Normalize()]), RLock()), image, tiles, 2)]) == 6
    assert len(pins) == 3 and threading.main_thread() not in pins


def test_images_for_a_gpu_are_read_and_pinned_beside_its_work(gpu, pins):
    net, images = on(gpu, FastSCNN, 3, 5), [np.zeros((64, 64 + 32 * (i // 2), 3), np.uint8) for i in range(4)]
    assert len([*predict_images(Asker(net, Compose([Normalize()]), RLock()), images, 3, batch_size=2)]) == 4
    assert len(pins) == 2 and threading.main_thread() not in pins


def test_a_loader_pins_what_is_in_our_batches(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, *args: self + 1)
    batch = training_batch([Sample(*draw_scene((64, 64), seed=i)) for i in range(2)])
    for pinned in loader_pin([batch, batch]): assert (pinned.images == batch.images + 1).all() and (pinned.labels == batch.labels + 1).all()


def test_several_looks(gpu):
    views = Views(on(gpu, FastSCNN, 3, 5), Compose([Normalize()]), RLock(), looks=("horizontal", 0.75))
    (found,) = predict_images(views, [np.zeros((64, 64, 3), np.uint8)], 3, doubt="spread")
    assert found["uncertainty_map"].shape == (64, 64)


@pytest.mark.parametrize("classes", [1, 5, 300])
def test_logits_become_classes(gpu, classes):
    small = torch.zeros(1, classes, 9, 11, device=gpu)
    assert classes_of(small, (70, 90)).device == gpu
    assert label_of(small, (70, 90), (slice(3, 60), slice(2, 80))).shape == (57, 78)
    assert spread_of(small[:, :1], (70, 90)).shape == (70, 90)
