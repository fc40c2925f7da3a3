"""Runs that are killed, at any moment and often, end as if nobody had touched them."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segnb.all import (
    Compose,
    EpochEnd,
    EvalEnd,
    FastSCNN,
    Normalize,
    Noted,
    RandomHorizontalFlip,
    RandomPaddingCrop,
    ResizeStepScaling,
    SegDataset,
    StepEnd,
    Stop,
    UNet,
    Warned,
    load_model,
    read_events,
    write_scenes,
)

EPOCHS = 6


def sets(folder):
    "Training and validation data, augmented and shuffled"
    augment = [RandomHorizontalFlip(), ResizeStepScaling(0.75, 1.25, 0.25), RandomPaddingCrop(96)]
    return [SegDataset(folder, folder / f"{n}_list.txt", folder / "labels.txt", Compose([*t, Normalize()]), num_workers=0, shuffle=True)
            for n, t in (("train", augment), ("val", []))]


def learn(folder, save_dir, **more):
    "Train a FastSCNN, which has dropout, going on from where it was"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, (train, val) = FastSCNN(num_classes=5), sets(folder)
    begun = any(save_dir.glob("epoch_*/train_state.json")) or any(save_dir.glob("last_model/train_state.json"))
    options = dict(pretrain_weights=None, ema=0.9, accumulate=2, early_stop=True, early_stop_patience=50, observers=[]) | more
    model.train(EPOCHS, train, 2, val, save_dir=save_dir, resume_checkpoint=save_dir if begun else None, learning_rate=0.01, **options)


def quiet(*args, **kwargs):
    "The same without a word"
    sys.stdout = sys.stderr = open(os.devnull, "w")
    learn(*args, **kwargs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"), train=6, val=2, size=(96, 96))


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    "The run that nobody touched"
    save_dir = tmp_path_factory.mktemp("whole")
    learn(folder, save_dir)
    return save_dir


def same(one, two):
    "Whether two model folders hold the same weights and the same state, to the bit"
    for name in ("weights", "train_state"):
        a, b = (load_file(p / f"{name}.safetensors") for p in (one, two))
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a), name
    states = [json.loads((p / "train_state.json").read_text()) for p in (one, two)]
    assert states[0]["state"] == states[1]["state"]   # Beside it stands when it was written


def test_killed_at_any_moment(folder, whole, tmp_path):
    "Twenty times and more, also while a model is being written"
    context, rng, kills = multiprocessing.get_context("forkserver"), random.Random(0), 0
    context.set_forkserver_preload(["segnb.all", "test_resume"])
    while kills < 20:
        child = context.Process(target=quiet, args=(folder, tmp_path))
        child.start()
        child.join(rng.uniform(0.1, 1 if kills < 10 else 2))
        if child.exitcode is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL), "it ended by itself, with an error"
        if any(tmp_path.glob("epoch_*")): assert load_model(max(tmp_path.glob("epoch_*"), key=lambda p: int(p.name[6:]))).completed_epochs > 0
        if (tmp_path / f"epoch_{EPOCHS - 1}").exists(): forget(tmp_path, rng.randint(1, EPOCHS - 2))
    learn(folder, tmp_path)
    same(whole / f"epoch_{EPOCHS}", tmp_path / f"epoch_{EPOCHS}")
    best = [load_file(p / "best_model" / "weights.safetensors") for p in (whole, tmp_path)]
    assert all(torch.equal(best[0][k], best[1][k]) for k in best[0])
    steps = [(e.epoch, e.step, e.loss) for e in read_events(tmp_path / "events.jsonl") if isinstance(e, StepEnd)]
    assert steps == [(e.epoch, e.step, e.loss) for e in read_events(whole / "events.jsonl") if isinstance(e, StepEnd)]


def forget(save_dir, last):
    "Remove the models after an epoch, so that there is more to kill"
    for p in save_dir.glob("epoch_*"):
        if int(p.name[6:]) > last: shutil.rmtree(p)


def test_stopped_in_the_middle_of_an_epoch(folder, whole, tmp_path):
    "Also in the middle of a group of batches whose gradients are added up"
    for at in ((2, 1), (3, 3), (4, 2)):   # The second is the last of its epoch
        learn(folder, tmp_path, observers=[lambda e, at=at: Stop("enough") if isinstance(e, StepEnd) and (e.epoch, e.step) == at else None])
    learn(folder, tmp_path)
    same(whole / f"epoch_{EPOCHS}", tmp_path / f"epoch_{EPOCHS}")


def test_stopped_between_the_verdict_and_the_end_of_an_epoch(folder, whole, tmp_path):
    "An epoch that was judged, but not ended, is judged again, and counts once"
    learn(folder, tmp_path, observers=[lambda e: Stop() if isinstance(e, EvalEnd) and e.epoch == 2 else None])
    learn(folder, tmp_path)
    same(whole / f"epoch_{EPOCHS}", tmp_path / f"epoch_{EPOCHS}")
    kinds = [[type(e) for e in read_events(run / "events.jsonl")] for run in (whole, tmp_path)]
    assert [k.count(EvalEnd) for k in kinds] == [k.count(EpochEnd) for k in kinds] == [EPOCHS, EPOCHS]


def test_another_batch_size_begins_the_epoch_anew(folder, tmp_path):
    "What was taken of an epoch that is begun anew is neither in the history nor in the log"
    learn(folder, tmp_path, observers=[lambda e: Stop() if isinstance(e, StepEnd) and (e.epoch, e.step) == (2, 2) else None])
    model, (train, val) = FastSCNN(num_classes=5), sets(folder)
    model.train(2, train, 3, val, save_dir=tmp_path, resume_checkpoint=tmp_path, pretrain_weights=None, ema=0.9, accumulate=2)
    steps = [e for e in read_events(tmp_path / "events.jsonl") if isinstance(e, StepEnd)]
    assert [(e.epoch, e.step) for e in steps] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert model.history.losses == [e.loss for e in steps] and model.history.epoch_ends == [3, 5]


def test_a_full_disk_leaves_the_model_before(folder, tmp_path, monkeypatch):
    "The disk is full in the middle of writing: an error, the folders before are whole, and the run can be gone on from"
    import safetensors.torch
    real, left = safetensors.torch.save_file, [5]

    def full(tensors, path, *args, **kwargs):
        left[0] -= 1
        if left[0]: return real(tensors, path, *args, **kwargs)
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space left"): learn(folder, tmp_path)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best_model", "epoch_1", "events.jsonl"]
    load_model(tmp_path / "epoch_1")
    learn(folder, tmp_path)
    assert (tmp_path / f"epoch_{EPOCHS}").exists()


def test_what_can_not_be_gone_on_from(folder, whole, tmp_path):
    train, val = sets(folder)
    go_on = lambda model, place, **more: model.train(EPOCHS, train, 2, val, save_dir=tmp_path, resume_checkpoint=place, **more)
    for model, place, error, words in [
        (FastSCNN(num_classes=5), whole / "best_model", ValueError, "go on from an `epoch_N` folder"),
        (FastSCNN(num_classes=5), tmp_path / "nowhere", FileNotFoundError, "there is no folder"),
        (FastSCNN(num_classes=5, ignore_index=254), whole, ValueError, "build it with ignore_index=255"),
        (UNet(num_classes=5), whole, ValueError, "must hold this model"),
    ]:
        with pytest.raises(error, match=words): go_on(model, place)
    few = lambda weights: torch.optim.SGD(list(weights)[:3], 0.1)
    with pytest.raises(ValueError, match="another optimizer"): go_on(FastSCNN(num_classes=5), whole / "epoch_1", optimizer=few)
    events = FastSCNN(num_classes=5).training(EPOCHS, train, 2, val, save_dir=tmp_path, resume_checkpoint=whole)
    said = [e.message for e in events if isinstance(e, Noted)]
    assert said == [f"nothing is left to do: {EPOCHS} epochs are done, and num_epochs={EPOCHS}"]


def test_the_newest_model_is_damaged(folder, whole, tmp_path, capsys):
    "One warning names it and the reason, the one before is gone on from, and the run ends as if nothing had happened"
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    forget(tmp_path, 3)
    for name, spoilt in (("model.json", b"{"), ("weights.safetensors", None), ("train_state.json", b"")):
        file = tmp_path / "epoch_3" / name
        kept, data = file.read_bytes(), bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data if spoilt is None else spoilt)
        model, (train, val) = FastSCNN(num_classes=5), sets(folder)
        events = list(model.training(2, train, 2, val, save_dir=tmp_path, resume_checkpoint=tmp_path))
        words = [e.message for e in events if isinstance(e, Warned)]
        assert len(words) == 1 and f"going on from {tmp_path / 'epoch_2'}" in words[0] and str(tmp_path / "epoch_3") in words[0], words
        if name != "train_state.json": file.write_bytes(kept)
    learn(folder, tmp_path)   # With the last of the three faults
    assert "what was saved later is damaged" in capsys.readouterr().out
    same(whole / f"epoch_{EPOCHS}", tmp_path / f"epoch_{EPOCHS}")


def test_all_models_are_damaged(folder, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    for state in tmp_path.glob("*/train_state.json"): state.write_text("{}")
    with pytest.raises(ValueError, match="train_state.json is damaged"): learn(folder, tmp_path)
