"""A hundred trainings that fail somewhere leave nothing behind, and the next one works."""

import multiprocessing
import random
import threading
import time

import numpy as np
import pytest

from segnb.all import Compose, FastSCNN, Normalize, RandomPaddingCrop, SegDataset, write_scenes


class Planted(Exception):
    "What a test has planted"


class Failing:
    "Fails at the n-th call of anything that asks it"

    def __init__(self, n, error): self.left, self.error = n, error

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0: raise self.error


class FailingData(SegDataset):
    "A data set that asks before it reads"
    ask = staticmethod(lambda: None)

    def __getitem__(self, index):
        self.ask()
        return super().__getitem__(index)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"), train=4, val=1, size=(64, 64))


def sets(folder, kind=SegDataset, workers=0, method="process"):
    crop = Compose([RandomPaddingCrop(64), Normalize()])
    return [kind(folder, folder / f"{n}_list.txt", folder / "labels.txt", crop if n == "train" else Compose([Normalize()]), workers, 4, method)
            for n in ("train", "val")]


def attempt(model, folder, save_dir, rng):
    "One training with one failure in it, in the cell or in the background"
    error = rng.choice([Planted("planted"), OSError(28, "planted"), KeyboardInterrupt("planted"), MemoryError("planted")])
    place, failing = rng.choice(["observer", "data", "loss", "save"]), Failing(rng.randint(1, 6), error)
    train, val = sets(folder, FailingData, *rng.choice([(0, "process"), (2, "thread")]))
    options = dict(train_batch_size=2, eval_dataset=val, save_dir=save_dir, pretrain_weights=None)
    if place == "observer": options["observers"] = [failing]
    if place == "data": train.ask = failing if not isinstance(error, KeyboardInterrupt) else Failing(failing.left, Planted("planted"))
    if place == "loss": options["loss"] = lambda logits, label: (failing(), logits.mean())[1]
    write = model.write
    if place == "save": model.write = lambda *args: (failing(), write(*args))
    try:
        if rng.random() < 0.5: model.train(2, train, **options)
        elif model.start(2, train, **options).wait(60) == "failed": raise model.run.error
    except (Planted, OSError, KeyboardInterrupt, MemoryError) as e: assert "planted" in str(e)
    finally: model.__dict__.pop("write", None)


def test_a_hundred_failures(folder, tmp_path):
    rng, model, before = random.Random(0), FastSCNN(num_classes=5), threading.active_count()
    for i in range(100):
        attempt(model, folder, tmp_path / "run", rng)
        until = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < until: time.sleep(0.01)
        assert threading.active_count() <= before, (i, threading.enumerate())
        assert not multiprocessing.active_children() and not model.lock._is_owned()
    assert not list(tmp_path.rglob("*.new")), "a folder that was being written is left behind"
    train, val = sets(folder)
    model.train(1, train, 2, val, save_dir=tmp_path / "run", pretrain_weights=None)
    assert (tmp_path / "run" / "epoch_1" / "MANIFEST.json").exists()


def test_processes_that_read_are_gone(folder, tmp_path):
    model, (train, _) = FastSCNN(num_classes=5), sets(folder, workers=2)
    with pytest.raises(Planted): model.train(2, train, 2, save_dir=tmp_path, pretrain_weights=None, observers=[Failing(3, Planted("planted"))])
    assert not multiprocessing.active_children()


def test_predictions_that_fail_leave_no_thread_behind(monkeypatch):
    "Also while somebody still holds the error, as a notebook does"
    model, image, before = FastSCNN(num_classes=5), np.zeros((96, 96, 3), np.uint8), threading.active_count()
    plain = Compose([Normalize()])
    for predict in (lambda: model.overlap_tile_predict(image, [32, 32], [8, 8], 1, plain), lambda: [*model.batch_predict([image] * 9, plain)]):
        monkeypatch.setattr("segnb.infer.predict._given", Failing(1, Planted("planted")))
        with pytest.raises(Planted) as held: predict()
        until = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < until: time.sleep(0.01)
        assert threading.active_count() <= before and held.tb, threading.enumerate()
