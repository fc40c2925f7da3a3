"""A training that is interrupted, stopped or broken leaves a good model behind, and the next call works."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
import torch

from segnb.data.datasets import SegDataset
from segnb.data.scenes import draw_scene, write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.folders import find_folder
from segnb.models import DeepLabv3p, FastSCNN, load_model
from segnb.train.events import EvalEnd, Noted, StepEnd, Stop
from segnb.train.observers import read_events

PLAIN = Compose([Normalize()])


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = write_scenes(tmp_path_factory.mktemp("s"), train=4, val=2, size=(64, 64))
    return [SegDataset(folder, folder / f"{n}_list.txt", folder / "labels.txt", PLAIN, num_workers=0) for n in ("train", "val")]


SCRIPT = """
import sys
from segnb.models import FastSCNN
from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize
folder, workers = sys.argv[1], int(sys.argv[2])
data = SegDataset(folder, folder + "/train_list.txt", folder + "/labels.txt", Compose([Normalize()]), num_workers=workers)
model = FastSCNN(5)
try: model.train(10**6, data, 2, log_interval_steps=1, save_interval_epochs=10**6, save_dir=folder + f"/out{workers}", pretrain_weights=None)
except KeyboardInterrupt as e: print("interrupted:", e)
model.train(1, data, 2, save_dir=folder + "/again", pretrain_weights=None)
print("trained again")
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_the_interrupt_button(sets, workers):
    "A real SIGINT to a real process and its workers, as a notebook's square button sends it"
    folder = sets[0].data_dir
    p = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(workers)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    lines = []
    for line in p.stdout:
        lines.append(line)
        if "Step=2/2" in line and not any("interrupted" in x for x in lines): break
    os.killpg(p.pid, signal.SIGINT)
    rest, _ = p.communicate(timeout=120)
    assert "interrupted: the model as it is was saved in" in rest and "trained again" in rest and p.returncode == 0
    assert load_model(folder / f"out{workers}" / "last_model").num_classes == 5
    assert read_events(folder / f"out{workers}" / "events.jsonl")[-1].reason == "interrupted"


def test_stop_answers_within_a_step_and_keeps_the_model(sets, tmp_path):
    model = FastSCNN(5)
    job = model.start(10**6, *sets[:1], 2, save_interval_epochs=10**6, save_dir=tmp_path, pretrain_weights=None)
    while not model.history.losses: time.sleep(0.02)
    job.pause()
    time.sleep(0.5)
    steps = len(model.history.losses)
    time.sleep(0.5)
    assert len(model.history.losses) == steps and job.state == "paused"
    job.resume()
    job.stop()
    assert job.wait(60) == "stopped"
    again = load_model(tmp_path / "last_model")
    assert all(torch.equal(a, b) for a, b in zip(again.net.state_dict().values(), model.net.state_dict().values(), strict=True))


def test_stop_during_an_evaluation(sets, tmp_path):
    seen = []
    def at_evaluation(event): return Stop("enough") if type(event).__name__ == "EvalStep" else seen.append(event)
    FastSCNN(5).train(3, sets[0], 2, sets[1], save_dir=tmp_path, pretrain_weights=None, observers=[at_evaluation])
    assert not any(isinstance(e, EvalEnd) for e in seen) and seen[-1].reason == "enough" if hasattr(seen[-1], "reason") else True


def test_a_failing_observer_leaves_the_last_good_model(sets, tmp_path):
    model = FastSCNN(5)
    def breaks(event):
        if isinstance(event, StepEnd) and event.epoch == 3: raise RuntimeError("the plug was pulled")
    with pytest.raises(RuntimeError, match="the plug was pulled"):
        model.train(5, sets[0], 2, sets[1], save_dir=tmp_path, pretrain_weights=None, observers=[breaks])
    assert find_folder(tmp_path / "best_model") and load_model(tmp_path / "epoch_2").completed_epochs == 2
    assert read_events(tmp_path / "events.jsonl")[-1].reason == "failed"
    model.train(1, sets[0], 2, save_dir=tmp_path, pretrain_weights=None)


def test_a_failure_in_the_background_is_kept(sets, tmp_path):
    def breaks(event): raise ValueError("no such colour")
    model = FastSCNN(5)
    job = model.start(1, sets[0], 2, save_dir=tmp_path, pretrain_weights=None, observers=[breaks])
    assert job.wait(60) == "failed" and "no such colour" in job.traceback
    assert model.start(1, sets[0], 2, save_dir=tmp_path, pretrain_weights=None).wait(60) == "done"


def test_a_loss_that_is_not_a_number_stops_the_run(sets, tmp_path):
    with pytest.raises(FloatingPointError, match="try a learning_rate ten times smaller"):
        FastSCNN(5).train(20, sets[0], 2, save_dir=tmp_path, pretrain_weights=None, learning_rate=1e8)


def test_predicting_while_training(sets, tmp_path):
    "A cell may ask a model that is training; the answer is made in evaluation mode"
    model, image = FastSCNN(5), draw_scene((64, 64))[0]
    job = model.start(10**6, sets[0], 2, save_interval_epochs=10**6, save_dir=tmp_path, pretrain_weights=None)
    for _ in range(5): assert model.predict(image, PLAIN)["label_map"].shape == (64, 64)
    job.stop()
    assert job.wait(60) == "stopped" and job.error is None


def test_the_run_folder_must_take_files(sets, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file"): FastSCNN(5).train(1, sets[0], save_dir=tmp_path / "file", pretrain_weights=None)
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "out" / "best_model").mkdir(parents=True)
    (tmp_path / "out" / "best_model" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="was not written by segnb"):
        FastSCNN(5).train(1, sets[0], 2, sets[1], save_dir=tmp_path / "out", pretrain_weights=None)
    assert (tmp_path / "out" / "best_model" / "thesis.txt").exists()


def test_same_seed_same_weights(sets, tmp_path):
    def weights(workers):
        torch.manual_seed(3)
        model = FastSCNN(5)
        sets[0].num_workers = workers
        model.train(2, sets[0], 2, save_dir=tmp_path, pretrain_weights=None, seed=5, device="cpu")
        sets[0].num_workers = 0
        return model.net.state_dict()
    first, second = weights(0), weights(1)
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("backbone,able,gains", [("MobileNetV2_x0.25", True, True), ("MobileNetV2_x0.25", False, False),
                                                 ("MobileNetV3_large_x1_0_ssld", True, False)])
def test_sixteen_bits_where_they_are_faster_and_somebody_is_told(sets, tmp_path, monkeypatch, backbone, able, gains):
    monkeypatch.setattr("segnb.train.stepper.multiplies_bf16", lambda: able)
    model, kinds = DeepLabv3p(5, backbone=backbone), []
    model.net.backbone.register_forward_hook(lambda module, x, maps: kinds.append(maps[-1].dtype))
    told = []
    with closing(model.training(1, sets[0], 2, save_dir=tmp_path, pretrain_weights=None)) as events:
        while not isinstance(event := next(events), StepEnd): told.append(event)
    assert kinds == [torch.bfloat16 if gains else torch.float32] and {p.dtype for p in model.net.parameters()} == {torch.float32}
    assert any(isinstance(e, Noted) and "precision='fp32' computes with all digits" in e.message for e in told) == gains
