"""The public catalogue of faults, group C, what happens within a step and what is said of it: C2, C5, C6, C15, C31, E6 and E8 of checkpoints."""

import gc
import json
import shutil

import pytest
import torch
from torch import nn

from segnb.data.datasets import SegDataset
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize, RandomPaddingCrop
from segnb.folders import _sign
from segnb.models import FastSCNN, load_model
from segnb.train.displays import NotebookProgress
from segnb.train.events import Noted, Saved, TrainEnd
from segnb.train.stepper import Manner, Stepper

PLAIN = Compose([Normalize()])


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return write_scenes(tmp_path_factory.mktemp("scenes"), train=5, val=2, size=(64, 64))


def data(folder, **options):
    return SegDataset(folder, folder / "train_list.txt", folder / "labels.txt", **{"transforms": PLAIN, "num_workers": 0, **options})


@pytest.mark.parametrize("shuffle,words", [(False, "always the last: pass shuffle=True"), (True, "others each time")])
def test_c2_what_is_left_out_is_said(folder, tmp_path, shuffle, words):
    events = FastSCNN(5).training(1, data(folder, shuffle=shuffle), 2, save_dir=tmp_path, pretrain_weights=None)
    said = [e.message for e in events if isinstance(e, Noted)]
    assert [m for m in said if m.startswith("1 of 5 images is left out of each epoch, because batches of 2 do not divide them") and words in m], said
    said = [e for e in FastSCNN(5).training(1, data(folder), 5, save_dir=tmp_path, pretrain_weights=None) if isinstance(e, Noted)]
    assert not said


def test_c5_half_precision_that_skips_every_step():
    "The loss is finite and its slope is not: one skipped step is usual, twenty in a row end the run"
    weight = nn.Parameter(torch.zeros(1))
    step = Stepper(nn.Conv2d(3, 1, 1), lambda answers, label: answers.sqrt().sum(), torch.optim.SGD([weight], 0.1), lambda b: (b, None),
                   lambda done: 0.1, 1000, Manner(forward=lambda x: weight))
    step.scaler = torch.amp.GradScaler("cpu")
    for _ in range(19): step(torch.zeros(1, 3, 4, 4))
    with pytest.raises(FloatingPointError, match="not finite in 20 steps one after the other.*precision='bf16'"): step(torch.zeros(1, 3, 4, 4))
    assert weight.item() == 0


class Large(nn.Module):
    "Needs more memory than there is if it is given more than two images; what it had got so far can be counted"
    alive = 0

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        class Activation:
            def __init__(self): Large.alive += 1
            def __del__(self): Large.alive -= 1
        held = Activation()
        if len(x) > 2: raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.net(x), held


def test_c6_memory_that_is_too_small(folder, tmp_path, monkeypatch):
    "The error names the batch, its size and what would fit; nothing that was made for it is held on to, and half the batch works"
    model = FastSCNN(5)
    real, large = model.net.small_logits, Large(model.net.small_logits)
    monkeypatch.setattr(model.net, "small_logits", lambda x: large(x)[0])
    crop = Compose([RandomPaddingCrop(48), Normalize()])
    words = r"batch of 4 images of 48 x 48; pass train_batch_size=2 and accumulate=2.*RandomPaddingCrop\(\[24, 24\]\)"
    with pytest.raises(MemoryError, match=words) as e:
        model.train(1, data(folder, transforms=crop), 4, save_dir=tmp_path, pretrain_weights=None)
    gc.collect()
    assert Large.alive == 0 and e.value.__context__ is None   # Although the error is still there, as in a notebook
    assert all(p.grad is None for p in model.net.parameters())
    model.train(1, data(folder, transforms=crop), 2, accumulate=2, save_dir=tmp_path, pretrain_weights=None)
    assert model.completed_epochs == 1 and real is not None


def test_c31_a_log_that_is_deleted(folder, tmp_path):
    "One warning, and the training goes on"
    run = tmp_path / "run"
    def delete(event):
        if isinstance(event, Saved) and event.epoch == 1: shutil.rmtree(run)
    with pytest.warns(UserWarning, match="events.jsonl is no longer written: it was deleted; the training goes on") as said:
        FastSCNN(5).train(4, data(folder), 2, save_dir=run, pretrain_weights=None, observers=[delete])
    assert len([w for w in said if "events.jsonl" in str(w.message)]) == 1 and load_model(run / "epoch_4").completed_epochs == 4


def test_c31_the_bars_of_a_run_that_never_began():
    "A run may fail before it has begun; its own error must come through"
    NotebookProgress()(TrainEnd("failed", "RuntimeError: somebody else is at work there"))


def test_e6_notes_of_a_checkpoint(folder, tmp_path):
    "JSON that cannot be read, and classes in another order"
    FastSCNN(5).train(1, data(folder), 2, save_dir=tmp_path / "run", pretrain_weights=None)
    place = tmp_path / "run" / "epoch_1"
    good = (place / "model.json").read_text()
    nan = json.dumps({**json.loads(good), "temperature": float("nan")})
    twice = good.replace('"format": 1', '"format": 1, "format": 1', 1)
    for text, words in (("[]", "must hold a dictionary"), ("null", "must hold a dictionary"), ('{"a":' * 100_000 + "1", "damaged"), ("", "damaged"),
                        (good[:-9], "damaged"), (twice, "it names 'format' twice"), (nan, "it holds NaN")):
        (place / "model.json").write_text(text)
        (place / "MANIFEST.json").unlink()
        _sign(place)
        for call in (lambda: load_model(place), lambda: FastSCNN(5).train(2, data(folder), 2, save_dir=tmp_path / "on", resume_checkpoint=place)):
            with pytest.raises(ValueError, match=words) as e: call()
            assert "model.json" in str(e.value)
    (place / "model.json").write_text(good)
    (place / "MANIFEST.json").unlink()
    _sign(place)
    other = data(folder)
    other.labels = [*other.labels[:3], other.labels[4], other.labels[3]]
    with pytest.raises(ValueError, match="`train_dataset` names the classes in another order than `resume_checkpoint`, which has 'tree' as class 3"):
        FastSCNN(5).train(2, other, 2, save_dir=tmp_path / "on", resume_checkpoint=place)
    assert not (tmp_path / "on").exists()
