"""Recorded passes: around whole images, where they fail, and on a real GPU."""

import warnings
from threading import RLock

import numpy as np
import pytest
import torch

from segnb.data.scenes import draw_scene
from segnb.data.transforms import Compose, Normalize
from segnb.infer.asker import Asker
from segnb.infer.fuse import inference_copy, small_logits
from segnb.infer.graphs import Recording
from segnb.infer.predict import predict_images
from segnb.infer.rows import Job, overlap_tile
from segnb.infer.source import Scene
from segnb.infer.views import Views
from segnb.nets.deeplab import DeepLabv3p
from segnb.nets.fastscnn import FastSCNN
from segnb.nets.hrnet import HRNet
from segnb.nets.unet import UNet

IMAGE = draw_scene((200, 160))[0]


class Tape(Recording):
    "Stands for a graph where there is no GPU"
    made = played = 0

    def __init__(self, ask, x):
        type(self).made += 1
        self.ask, self.shape = ask, x.shape

    def __call__(self, x):
        assert x.shape == self.shape
        type(self).played += 1
        return self.ask(x)


def job(kind=Asker, batch_size=1, **options):
    torch.manual_seed(0)
    asker = kind(FastSCNN(num_logits=5).eval(), Compose([Normalize()]), RLock(), **options)
    return Job(asker, Scene(IMAGE, 3), (32, 32), (8, 8), batch_size)


def taped(job, record=Tape, gain=float("inf")):
    "The same job, told that there is something to gain on a processor, by any recording"
    passes = job.asker.passes
    passes.record, passes.devices, passes.gain = record, ("cpu",), gain
    return job


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    for count in ("made", "played"): monkeypatch.setattr(Tape, count, 0)


@pytest.mark.parametrize(["kind", "options"], [(Asker, {}), (Asker, {"precision": "bf16"}), (Views, {"looks": ("horizontal", 0.5)})])
def test_an_image_is_answered_the_same(kind, options):
    plain, recorded = (overlap_tile(j, IMAGE) for j in (job(kind, **options), taped(job(kind, **options))))
    assert np.array_equal(plain["label_map"], recorded["label_map"])
    assert Tape.made == 1 and Tape.played > 10


def test_batches_of_several_sizes_share_one_recording():
    overlap_tile(taped(job(batch_size=4)), IMAGE)  # Rows of 4 and 1 windows
    assert Tape.made == 1


def test_a_result_that_is_kept_keeps_no_recording():
    passes = taped(j := job()).asker.passes
    found = overlap_tile(j, IMAGE)
    assert Tape.made == 1 and not passes.known
    assert found["score_map"].shape == (160, 200, 5) and Tape.made == 2 and not passes.known


def test_an_image_that_is_left_half_way_keeps_no_recording():
    passes = taped(j := job()).asker.passes
    rows = j.rows()
    next(rows)
    assert passes.known
    rows.close()
    assert not passes.known and not passes.depth


def test_a_single_image_is_not_recorded():
    asker = taped(job()).asker
    for _ in predict_images(asker, [IMAGE] * 5, 3): pass
    assert not Tape.made


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted\nmore"), torch.OutOfMemoryError("CUDA out of memory")])
def test_what_cannot_be_recorded_is_asked(error):
    def fail(ask, x): raise error

    with pytest.warns(UserWarning, match=f"passes of FastSCNN are not recorded: {str(error).splitlines()[0]}; the network is asked") as seen:
        found = overlap_tile(taped(job(), fail), IMAGE)["label_map"]
    assert len(seen) == 1 and np.array_equal(found, overlap_tile(job(), IMAGE)["label_map"])


def test_what_is_no_quicker_is_dropped_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        passes = taped(j := job(), gain=0.0).asker.passes
        rows = j.rows()
        next(rows)
        assert Tape.made == 1 and not any(isinstance(k, Recording) for k in passes.known.values())
        rows.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("net", [FastSCNN, UNet, HRNet, DeepLabv3p, lambda: DeepLabv3p(backbone="MobileNetV3_large_x1_0_ssld")])
def test_on_a_gpu_a_recording_says_the_same_to_the_bit(net, precision):
    torch.manual_seed(0)
    net = net().eval().cuda()
    with torch.inference_mode():
        one, two = (torch.rand(2, 3, 256, 192, device="cuda").contiguous(memory_format=torch.channels_last) for _ in range(2))
        quick = inference_copy(net, one, precision)
        ask = lambda x: small_logits(quick, x.bfloat16() if precision == "bf16" else x)
        recording = Recording(ask, one)
        answers = [recording(x) for x in (one, two, one)]
        assert all(torch.equal(a, ask(x)) for a, x in zip(answers, (one, two, one)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_an_image_is_answered_the_same():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = []
        for gain in (0.0, float("inf")):
            j = job(batch_size=4)
            j.asker.net.cuda()
            j.asker.passes.gain = gain
            maps.append(overlap_tile(j, IMAGE)["label_map"])
    assert np.array_equal(*maps)
