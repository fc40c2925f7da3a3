"""The public catalogue of faults, group C: training. The number of each case stands in its test."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from segnb.data.batches import Batches
from segnb.data.datasets import SegDataset
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.metrics import ConfusionMatrix
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet, load_model
from segnb.train.displays import Clock
from segnb.train.events import EvalEnd, Noted, Saved, StepEnd, Stop, TrainBegin, Warned
from segnb.train.logs import ScalarLog, visualdl_log
from segnb.train.observers import EarlyStop

PLAIN = Compose([Normalize()])


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return write_scenes(tmp_path_factory.mktemp("scenes"), train=5, val=2, size=(64, 64))


def data(folder, name="train", kind=SegDataset, **options):
    return kind(folder, folder / f"{name}_list.txt", folder / "labels.txt", **{"transforms": PLAIN, "num_workers": 0, **options})


def learn(model, folder, save_dir, epochs=1, batch=2, val=None, **options):
    model.train(epochs, options.pop("train", None) or data(folder), batch, val, save_dir=save_dir, **{"pretrain_weights": None, **options})
    return model


def test_c1_fewer_than_a_batch(folder, tmp_path):
    with pytest.raises(ValueError, match="at most the number of training samples, 5, got 6; pass train_batch_size=5"):
        learn(FastSCNN(5), folder, tmp_path, batch=6)
    assert not list(tmp_path.iterdir())


NETS = [pytest.param(cls, options, id=f"{cls.__name__}{''.join(options.values())}") for cls, options in (
    (FastSCNN, {}), (UNet, {}), (HRNet, dict(width="18_small_v1")), (DeepLabv3p, dict(backbone="MobileNetV2_x0.25")),
    (DeepLabv3p, dict(backbone="MobileNetV3_large_x1_0_ssld")), (DeepLabv3p, dict(backbone="Xception41")))]


@pytest.mark.parametrize("cls,options", NETS)
def test_c2_c3_a_last_batch_of_one_and_batches_of_one(cls, options, tmp_path):
    "Five images in twos leave one out; one by one they are learned from too, although the deepest map may be a single pixel"
    small = write_scenes(tmp_path / "s", train=3, val=1, size=(32, 32))
    for batch, steps in ((2, 1), (1, 3)):
        model = learn(cls(5, **options), small, tmp_path / "out", batch=batch)
        assert len(model.history.losses) == steps and np.isfinite(model.history.losses).all()
    assert all(torch.isfinite(t).all() for t in model.net.state_dict().values())


@pytest.mark.parametrize("label,pred,expected", [
    pytest.param([0, 0, 1, 1], [0, 0, 1, 0], [2 / 3, 1 / 2, None], id="C7-absent-from-both"),
    pytest.param([0, 0, 0, 0], [0, 0, 0, 0], [1, None, None], id="C7-one-class"),
    pytest.param([0, 0, 1, 1], [2, 2, 1, 1], [0, 1, 0], id="C7-only-predicted"),
    pytest.param([255] * 4, [0, 1, 2, 0], [None] * 3, id="C7-nothing-labelled")])
def test_c7_absent_classes(label, pred, expected):
    "A class that is nowhere has no IoU and does not spoil the mean; all other numbers are numbers"
    metrics = ConfusionMatrix(3).update(np.array(pred), np.array(label)).metrics()
    iou = [None if math.isnan(v) else v for v in metrics["category_iou"]]
    assert iou == pytest.approx(expected)
    known = [v for v in expected if v is not None]
    if known: assert metrics["miou"] == pytest.approx(np.mean(known)) and all(math.isfinite(metrics[k]) for k in ("oacc", "kappa"))
    json.dumps([metrics[k] for k in ("oacc", "kappa")])


def test_c8_nothing_to_judge_by(folder, tmp_path):
    val = data(folder, "val")
    val.file_list.clear()
    for call in (lambda: learn(FastSCNN(5), folder, tmp_path / "out", val=val), lambda: FastSCNN(5).evaluate(val)):
        with pytest.raises(ValueError, match="`eval_dataset` must hold at least one sample, got none"): call()
    with pytest.raises(ValueError, match="`early_stop=True` needs an evaluation to look at; pass `eval_dataset`"):
        learn(FastSCNN(5), folder, tmp_path / "out", early_stop=True)
    assert not (tmp_path / "out").exists()


SMALL_DISK = """
import os, sys
from segnb.models import FastSCNN, load_model
from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize
scenes, place, fill = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = [SegDataset(scenes, f"{scenes}/{n}_list.txt", None, Compose([Normalize()]), num_workers=0) for n in ("train", "val")]
model, steps = FastSCNN(5), []
def fill_up(event):
    steps.append(event)
    if fill and type(event).__name__ == "Saved": open(place + "/ballast", "wb").write(bytes(fill))
try: model.train(3, data[0], 2, data[1], save_dir=place + "/run", pretrain_weights=None, observers=[fill_up], **eval(sys.argv[4]))
except OSError as e: print(type(e).__name__, "said:", str(e).replace(chr(10), " "))
inside = sorted(os.listdir(place + "/run")) if os.path.isdir(place + "/run") else []
print("steps", sum(type(e).__name__ == "StepEnd" for e in steps), "left", [n for n in inside if not n.startswith("events")])
for n in inside:
    if os.path.isdir(f"{place}/run/{n}") and not n.startswith("."): load_model(f"{place}/run/{n}")
if fill:
    os.remove(place + "/ballast")
    model.train(1, data[0], 2, save_dir=place + "/again", pretrain_weights=None)
    print("again", sorted(os.listdir(place + "/again")))
"""


def on_a_small_disk(folder, tmp_path, options, fill=0, more="{}"):
    "Train on a disk of our own in a process of its own, or say why not"
    (tmp_path / "disk").mkdir()
    script = f'mount -t tmpfs -o {options} none "$1" && shift && exec "$@"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", tmp_path / "disk", sys.executable, "-c", SMALL_DISK, folder, tmp_path / "disk",
                           str(fill), more], capture_output=True, text=True)
    if done.returncode and "steps" not in done.stdout: pytest.fail(f"no disk could be mounted, or worse: {done.stdout} {done.stderr}")
    return done.stdout


@pytest.mark.parametrize("options,words", [pytest.param("size=1m", "bytes are needed, ", id="C10-1MB"),
                                           pytest.param("ro", "Read-only file system", id="C10-ro")])
def test_c10_a_disk_that_cannot_hold_the_first_model(folder, tmp_path, options, words):
    said = on_a_small_disk(folder, tmp_path, options)
    assert words in said and str(tmp_path / "disk" / "run") in said and "another place" in said and "steps 0 left []" in said, said


def test_c10_names_that_are_too_long_and_parents_that_are_not_there(folder, tmp_path):
    for place in (tmp_path / ("x" * 300), tmp_path / "/".join(["y" * 200] * 25)):
        with pytest.raises(OSError, match="`save_dir` must be a folder that can be written to: File name too long; name another place"):
            learn(FastSCNN(5), folder, place)
    with pytest.raises(NotADirectoryError): learn(FastSCNN(5), folder, folder / "labels.txt" / "run")
    learn(FastSCNN(5), folder, tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c" / "epoch_1").exists()


def test_c11_full_in_the_middle(folder, tmp_path):
    "Two models fit, the third does not: the place and the bytes are named, what was saved opens, no half folder, and training works again"
    said = on_a_small_disk(folder, tmp_path, "size=40m", 20 << 20)
    assert "OSError said: [Errno 28] No space left on device" in said and "bytes" in said and str(tmp_path / "disk" / "run") in said, said
    assert "left ['best_model'" in said and ".new" not in said and "'epoch_1'" in said, said


def test_c15_going_on_with_something_else(folder, tmp_path):
    "Structure: an error with both values. Numbers: a warning with both, and the new one counts. Done already: said"
    learn(FastSCNN(5), folder, tmp_path / "run", epochs=2)
    for model, words in [(FastSCNN(5, class_weight="dynamic"), "there class_weight is None and here 'dynamic'"),
                         (UNet(5), "must hold this model, but there class is 'FastSCNN' and here 'UNet'")]:
        with pytest.raises(ValueError, match=words): learn(model, folder, tmp_path / "run", epochs=3, resume_checkpoint=tmp_path / "run")
    four = data(folder)
    four.file_list.pop()
    for changed, words in [(dict(learning_rate=0.001), "`learning_rate` was 0.01 before, and is 0.001 from now on"),
                           (dict(batch=1), "`train_batch_size` was 2 before, and is 1 from now on"), (dict(seed=3), "`seed` was 0 before, and is 3"),
                           (dict(train=four), "`samples` was 5 before, and is 4 from now on")]:
        said, options = [], dict(changed)
        events = FastSCNN(5).training(3, options.pop("train", data(folder)), options.pop("batch", 2), save_dir=tmp_path / "on",
                                      resume_checkpoint=tmp_path / "run", **options)
        for event in events: said.append(event)
        assert any(words in e.message for e in said if isinstance(e, Warned)), said
        assert all(e.epoch == 3 for e in said if isinstance(e, StepEnd))
    events = list(FastSCNN(5).training(2, data(folder), 2, save_dir=tmp_path / "on", resume_checkpoint=tmp_path / "run"))
    assert [e.message for e in events if isinstance(e, Noted)] == ["nothing is left to do: 2 epochs are done, and num_epochs=2"]


def test_c16_a_best_model_has_no_optimizer(folder, tmp_path):
    learn(FastSCNN(5), folder, tmp_path / "run", val=data(folder, "val"))
    with pytest.raises(ValueError, match=r"has no train_state.json; go on from an `epoch_N` folder, or begin anew with its weights by pretrain_w"):
        learn(FastSCNN(5), folder, tmp_path / "run", resume_checkpoint=tmp_path / "run" / "best_model")


@pytest.mark.parametrize("name", ["train_state.json", "train_state.safetensors", "model.json", "weights.safetensors", "MANIFEST.json"])
def test_e1_a_checkpoint_that_is_cut(folder, tmp_path_factory, name, cut_run):
    "Every file of it: the epoch is not gone on from, the error names the file; the run goes on from the epoch before, and one warning says why"
    whole = (cut_run / "epoch_2" / name).read_bytes()
    for cut in (0, len(whole) // 2, len(whole) - 1):
        (cut_run / "epoch_2" / name).write_bytes(whole[:cut])
        with pytest.raises((ValueError, FileNotFoundError), match=name.split(".")[0]):
            learn(FastSCNN(5), folder, cut_run, epochs=3, resume_checkpoint=cut_run / "epoch_2")
    for place, warned in ((cut_run, 1), (cut_run / "epoch_1", 0)):
        heard = []
        on = learn(FastSCNN(5), folder, tmp_path_factory.mktemp("on"), epochs=2, resume_checkpoint=place, observers=[heard.append])
        said = [e.message for e in heard if isinstance(e, Warned)]
        assert len(on.history.losses) == 4 and len(said) == warned and all("epoch_1" in m and name.split(".")[0] in m for m in said), said
    (cut_run / "epoch_2" / name).write_bytes(whole)


@pytest.fixture(scope="module")
def cut_run(folder, tmp_path_factory):
    "A run of two epochs"
    run = tmp_path_factory.mktemp("run")
    learn(FastSCNN(5), folder, run, epochs=2)
    return run


MOMENTS = """
import os, random, signal, sys, threading, time
from segnb.models import FastSCNN, load_model
from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize
folder, save_dir = sys.argv[1:]
train, val = (SegDataset(folder, f"{folder}/{n}_list.txt", f"{folder}/labels.txt", Compose([Normalize()]), num_workers=0) for n in ("train", "val"))
rng, model, seen = random.Random(0), FastSCNN(5), 0
for i in range(20):
    left, twice, begun = rng.randint(1, 12), i % 5 == 4, os.path.isdir(save_dir)
    def press(event):
        global seen
        seen += 1
        if seen == left: threading.Timer(rng.random() * 0.02, hit).start()
    def hit():
        for _ in range(1 + twice): os.kill(os.getpid(), signal.SIGINT)
    seen = 0
    try: model.train(10**4, train, 2, val, save_dir=save_dir, pretrain_weights=None, observers=[press], learning_rate=1e-4,
                     resume_checkpoint=save_dir if begun and any(n[:5] in ("last_", "epoch") for n in os.listdir(save_dir)) else None)
    except KeyboardInterrupt: pass
    else: sys.exit("not interrupted")
    assert not [n for n in os.listdir(save_dir) if n.endswith(".new")], os.listdir(save_dir)
    newest = max((f"{save_dir}/{n}" for n in os.listdir(save_dir) if n[:5] in ("last_", "epoch")), key=os.path.getmtime)
    assert load_model(newest).num_classes == 5
print("interrupted 20 times after", len(model.history.losses), "steps")
"""


def test_c18_interrupted_at_twenty_moments(folder, tmp_path):
    "In steps, saves and evaluations, also twice quickly: a model is there each time, and the same object goes on"
    done = subprocess.run([sys.executable, "-c", MOMENTS, folder, tmp_path / "run"], capture_output=True, text=True)
    assert done.returncode == 0 and "interrupted 20 times" in done.stdout, done.stderr[-3000:]


class Lost(SegDataset):
    "Its processes get lost at the fourth image, in a way of their own"
    way = ""

    def __getitem__(self, index):
        if index == 3 and torch.utils.data.get_worker_info():
            if self.way == "killed": os.kill(os.getpid(), signal.SIGKILL)
            if self.way == "hangs": time.sleep(10**6)
            if self.way == "raises": raise ZeroDivisionError("a planted fault")
        return super().__getitem__(index)


@pytest.mark.parametrize("way,error,words", [
    pytest.param("killed", ChildProcessError, "has died: DataLoader worker .*usually memory ran out: pass fewer `workers`", id="C19-killed"),
    pytest.param("hangs", TimeoutError, "no batch could be read within 3 seconds", id="C19-hangs"),
    pytest.param("raises", ZeroDivisionError, "a planted fault", id="C19-raises")])
def test_c19_workers_that_get_lost(folder, tmp_path, monkeypatch, way, error, words):
    monkeypatch.setattr(Batches, "patience", 3.0)
    train, model = data(folder, kind=Lost, num_workers=2), FastSCNN(5)
    train.way = way
    with pytest.raises(error, match=words): learn(model, folder, tmp_path, train=train)
    train.way, train.num_workers = "", 0
    monkeypatch.undo()
    learn(model, folder, tmp_path, train=train)


SHARED = """
import sys
from segnb.models import FastSCNN
from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize, RandomPaddingCrop
folder = sys.argv[1]
data = SegDataset(folder, f"{folder}/train_list.txt", None, Compose([RandomPaddingCrop(512), Normalize()]), num_workers=2)
model = FastSCNN(5)
try: model.train(1, data, 2, save_dir=sys.argv[2], pretrain_weights=None)
except MemoryError as e: print("said:", e)
data.num_workers, data.transforms = 0, Compose([Normalize()])
model.train(1, data, 2, save_dir=sys.argv[2], pretrain_weights=None)
"""


def test_c20_shared_memory_of_one_megabyte(folder, tmp_path):
    "As in a container that was started without --shm-size: PyTorch would wait for ever"
    script = 'mount -t tmpfs -o size=1m none /dev/shm && exec "$@"'
    call = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", SHARED, folder, tmp_path]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "said: a batch needs 6,815,744 bytes of memory that processes share, and /dev/shm has 1,048,576 in all" in done.stdout
    assert "pass workers=0" in done.stdout


LONG = """
import sys, time
from segnb.models import FastSCNN
from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize
folder = sys.argv[1]
data = SegDataset(folder, f"{folder}/train_list.txt", f"{folder}/labels.txt", Compose([Normalize()]), num_workers=0)
try: FastSCNN(5).train(10**6, data, 2, save_interval_epochs=10**6, log_interval_steps=1, save_dir=sys.argv[2], pretrain_weights=None)
except RuntimeError as e: print("refused:", e, flush=True)
"""


def test_c21_two_trainings_in_one_folder(folder, tmp_path):
    "In one process and in two; what a killed one left behind is taken over"
    run = tmp_path / "run"
    child = subprocess.Popen([sys.executable, "-c", LONG, folder, run], stdout=subprocess.PIPE, text=True)
    while "Step=" not in child.stdout.readline(): pass
    with pytest.raises(RuntimeError, match=rf"process {child.pid} on .* is at work in {run}; end that first, or choose another place"):
        learn(FastSCNN(5), folder, run)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert (run / ".claim").read_text().startswith(f"process {child.pid} on ")
    model = FastSCNN(5)
    job = model.start(10**6, data(folder), 2, save_interval_epochs=10**6, save_dir=run, pretrain_weights=None)
    while not model.history.losses: time.sleep(0.01)
    with pytest.raises(RuntimeError, match="this model is training already"): learn(model, folder, tmp_path / "other")
    with pytest.raises(RuntimeError, match=rf"process {os.getpid()} on"): learn(FastSCNN(5), folder, run)
    job.stop()
    assert job.wait(60) == "stopped" and not (run / ".claim").exists()
    learn(FastSCNN(5), folder, run)


@pytest.mark.parametrize("options", [pytest.param(o, id=f"C29-{next(iter(o))}-{next(iter(o.values()))}") for o in (
    dict(log_interval_steps=0), dict(save_interval_epochs=0), dict(save_interval_epochs=-1), dict(epochs=0), dict(epochs=-1), dict(learning_rate=0),
    dict(learning_rate=-0.1), dict(learning_rate=float("nan")), dict(learning_rate=float("inf")), dict(early_stop_patience=0), dict(batch=0))])
def test_c29_numbers(folder, tmp_path, options):
    name = {"epochs": "num_epochs", "batch": "train_batch_size"}.get(next(iter(options)), next(iter(options)))
    with pytest.raises(ValueError, match=f"`{name}` must be .* got {next(iter(options.values()))}"):
        learn(FastSCNN(5), folder, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


NAN = float("nan")


@pytest.mark.parametrize("scores,stops_at", [
    pytest.param([0.5] * 4, 3, id="C30-constant"), pytest.param([0.5, NAN, NAN], 3, id="C30-nan"), pytest.param([NAN] * 2, 2, id="C30-only-nan"),
    pytest.param([0.1, 0.2, 0.1, 0.3, 0.2, 0.1], 6, id="C30-late"), pytest.param([0.1, 0.10001, 0.10002], 3, id="C30-too-little")])
def test_c30_early_stop(scores, stops_at):
    stopper = EarlyStop(2)
    answers = [stopper(EvalEnd(i, {"miou": s})) for i, s in enumerate(scores, 1)]
    assert [i for i, a in enumerate(answers, 1) if isinstance(a, Stop)][:1] == [stops_at]


class Breaks:
    "A writer whose disk is gone after a few numbers"
    left = 3
    def add_scalar(self, *_):
        self.left -= 1
        if self.left < 0: raise OSError(28, "No space left on device")
    def close(self): raise OSError(28, "No space left on device")


def test_c31_curves_that_cannot_be_written(folder, tmp_path):
    "The training goes on, with one warning"
    with pytest.warns(UserWarning, match="the curves are no longer written: .*No space left on device; the training goes on") as said:
        model = learn(FastSCNN(5), folder, tmp_path, epochs=3, val=data(folder, "val"), observers=[ScalarLog(Breaks)])
    assert len([w for w in said if "curves" in str(w.message)]) == 1 and model.completed_epochs == 3


def test_c31_a_package_that_is_missing(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "visualdl", None)
    with pytest.raises(ModuleNotFoundError, match="pip install visualdl"): learn(FastSCNN(5), folder, tmp_path, use_vdl=True)
    with pytest.raises(ModuleNotFoundError, match="pip install visualdl"): visualdl_log(tmp_path)
    assert not any(tmp_path.glob("*/model.json"))


def test_c31_the_folder_is_deleted(folder, tmp_path):
    "The models that are still to come are saved all the same"
    run = tmp_path / "run"
    def delete(event):
        if isinstance(event, Saved) and event.epoch == 1: shutil.rmtree(run)
    learn(FastSCNN(5), folder, run, epochs=3, observers=[delete])
    assert sorted(p.name for p in run.glob("epoch_*")) == ["epoch_2", "epoch_3"] and load_model(run / "epoch_3").completed_epochs == 3


LOCALE = """
import locale, sys, time, json
locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
assert f"{1.5:n}" == "1,5", "the locale has no comma"
jump, real = [0], time.time
time.time = lambda: real() + jump[0]
from segnb.models import FastSCNN, load_model
from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize
folder = sys.argv[1]
train, val = (SegDataset(folder, f"{folder}/{n}_list.txt", f"{folder}/labels.txt", Compose([Normalize()]), num_workers=0) for n in ("train", "val"))
def back(event): jump[0] -= 3600
FastSCNN(5).train(3, train, 2, val, save_dir=sys.argv[2], pretrain_weights=None, observers=[back], log_interval_steps=1)
from segnb.train.observers import read_events
assert len(read_events(sys.argv[2] + "/events.jsonl")) > 10
json.loads(open(sys.argv[2] + "/best_model/model.json").read())["metrics"]["miou"] + 0.5
load_model(sys.argv[2] + "/best_model")
"""


def test_c32_clocks_that_jump_and_decimal_commas(folder, tmp_path):
    "Every event an hour before the last, in a land of commas and of another time"
    made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"], capture_output=True, text=True)
    assert (tmp_path / "de_DE.UTF-8").exists(), made.stderr
    env = {**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": "de_DE.UTF-8", "TZ": "Pacific/Kiritimati"}
    done = subprocess.run([sys.executable, "-c", LOCALE, folder, tmp_path / "run"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    left = [line.split("eta=")[1] for line in done.stdout.splitlines() if "eta=" in line]
    assert "0:00:00" in left and not any("-" in x for x in left)
    clock = Clock()
    for now, event in ((10.0, TrainBegin(1, 4)), (11.0, StepEnd(1, 1, 1.0, 0.1)), (5.0, StepEnd(1, 2, 1.0, 0.1))): clock.see(event, now)
