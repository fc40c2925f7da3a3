"The widgets by their traits: no browser, no kernel"

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from stand_in import FAILURE, Lesson, Tiny, lesson

from segnb.data.colours import palette
from segnb.data.datasets import SegDataset
from segnb.data.images import read_image, read_label
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize, RandomHorizontalFlip
from segnb.geo import place_tags
from segnb.models import DeepLabv3p, FastSCNN, HRNet, load_model
from segnb.options import options_of
from segnb.train.events import EvalEnd, Run, StepEnd, TrainBegin, TrainEnd, Warned, run
from segnb.widgets.attach import attach
from segnb.widgets.chart import LiveChart, settle, still_curve
from segnb.widgets.choices import Plan, control_of, meant, shown
from segnb.widgets.data import DataView
from segnb.widgets.form import Form
from segnb.widgets.live import LivePlot, Monitor, Progress, RunBar
from segnb.widgets.panel import Panel
from segnb.widgets.prediction import PredictView
from segnb.widgets.studio import Studio
from segnb.widgets.viewer import TileViewer, classes_of, overview, view
from segnb.widgets.windows import open_image


def until(what, seconds=10):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    assert what()


def ends(panel, state):
    until(lambda: panel.bar.state == state and not panel.form.locked)
    assert panel.monitor is None or panel.monitor.wait()


def press(widget, what, **more):
    widget._hear(widget, {"t": what, **more}, [])


def traffic(*widgets):
    "A list that grows by the time and the message of everything the widgets send"
    sent = []
    for w in widgets:
        w._send = lambda msg, buffers=None: sent.append((time.monotonic(), msg, buffers))
    return sent


# ---- live


def test_rows_are_sent_once_and_in_order():
    chart = LiveChart()
    chart._opened -= 100  # not in its first seconds any more
    sent = traffic(chart)
    for i in range(5):
        chart.add(i, i / 10, np.nan)
        if i in (2, 4):
            chart.flush()
    chart.flush()
    assert [(m["content"]["first"], len(b[0]) // 12) for _, m, b in sent] == [(0, 3), (3, 2)]
    np.testing.assert_allclose(np.frombuffer(sent[1][2][0], np.float32).reshape(-1, 3)[:, 1], [0.3, 0.4], rtol=1e-6)


def test_a_page_that_asks_gets_everything():
    chart = LiveChart()
    for i in range(7):
        chart.add(i, 1, np.nan)
    chart.flush()
    sent = traffic(chart)
    press(chart, "hello")
    assert sent[0][1]["content"]["first"] == 0 and len(sent[0][2][0]) == 7 * 12
    assert len(chart.get_state()["data"]) == 7 * 12


def test_threads_may_share_a_chart():
    chart = LiveChart()

    def work():
        for i in range(500):
            chart.add(i, 1.0, np.nan)
            chart.flush()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    assert len(chart) == 2000


def test_at_most_eight_messages_a_second():
    bar, chart = RunBar(), LiveChart()
    sent, monitor = traffic(bar, chart), Monitor(bar, chart)
    run(lesson(3, Lesson(steps=200, pause=0.005)), [monitor])
    assert monitor.wait()
    times = [t for t, *_ in sent]
    assert times[-1] - times[0] > 1.5
    assert max(sum(t <= u < t + 1 for u in times) for t in times) <= 10  # eight, and the two of the end


def test_pauses_do_not_count():
    p = Progress()
    for clock, event in enumerate([TrainBegin(1, 10), *(StepEnd(1, s, 1.0, 0.01) for s in range(1, 6))]):
        p.see(event, clock)
    assert p.left == pytest.approx(5)
    bar, chart = RunBar(), LiveChart()
    monitor = Monitor(bar, chart)
    bar.run = Run(lesson(1, Lesson(steps=100, pause=0.01)), [monitor]).start()
    until(lambda: len(chart) > 20)
    press(bar, "pause")
    assert bar.state == "paused"
    time.sleep(1.2)
    points = len(chart)
    press(bar, "resume")
    until(lambda: monitor.over.is_set())
    assert points < 100 and bar.state == "done"
    assert monitor._idle > 0.8


def test_bar_ends_full_or_says_where():
    for reason, part, text in (("done", 1.0, "Done"), ("stopped", 0.5, "Stopped at 50 %"), ("enough", 0.5, "Stopped at 50 %: enough")):
        p = Progress()
        for e in [TrainBegin(2, 1), StepEnd(1, 1, 0.5, 0.1), TrainEnd(reason)]:
            p.see(e, 1.0)
        assert p.part == part and p.text.startswith(text)


def test_warning_and_best_score_are_shown():
    p = Progress()
    for e in [TrainBegin(2, 1), Warned("no GPU was found"), StepEnd(1, 1, 0.5, 0.1), EvalEnd(1, {"miou": 0.7}), EvalEnd(2, {"miou": 0.6})]:
        p.see(e, 1.0)
    assert p.warning == "no GPU was found" and (p.best, p.best_epoch, p.score) == (0.7, 1, 0.6)


def test_late_progress_never_overwrites_paused():
    bar, chart = RunBar(), LiveChart()
    monitor = Monitor(bar, chart)
    bar.run = Run(lesson(1000, Lesson(pause=0.001)), [monitor]).start()
    for _ in range(5):
        press(bar, "pause")
        for _ in range(20):
            monitor._show(last=True)
            assert bar.state == "paused"
        press(bar, "resume")
    press(bar, "stop")
    assert bar.run.wait(5) == "stopped" and monitor.wait()
    assert bar.state == "stopped" and 0 < bar.part < 1


def test_live_plot_is_silent_outside_of_notebooks(capsys):
    plot = LivePlot()
    assert run(lesson(2, Lesson()), [plot]) == "done"
    assert capsys.readouterr().out == ""
    assert (plot.bar.state, len(plot.chart)) == ("done", 42)


def test_live_plot_may_be_used_twice():
    plot = LivePlot()
    for epochs in (2, 3):
        run(lesson(epochs, Lesson()), [plot])
        assert len(plot.chart) == 21 * epochs


def test_still_pictures():
    chart = LiveChart()
    assert "image/png" not in chart._repr_mimebundle_()[0]
    chart.add(1, 0.5, np.nan)
    assert "image/png" in chart._repr_mimebundle_()[0]
    assert Image.open(io.BytesIO(still_curve(chart.rows, chart.names))).width > 300


def test_no_pyplot():
    import sys

    before = "matplotlib.pyplot" in sys.modules
    chart = LiveChart()
    chart.add(1, 0.5, 0.5)
    still_curve(chart.rows, chart.names)
    assert before or "matplotlib.pyplot" not in sys.modules


# ---- panel


def test_every_option_has_a_control_or_is_an_object():
    fields = {o.name: control_of(o) for o in [*options_of(Tiny), *options_of(Tiny.train)]}
    assert [n for n, c in fields.items() if c is None] == ["train_dataset", "eval_dataset", "optimizer", "observers"]
    assert {fields[n] for n in ("num_classes", "train_batch_size")} == {"whole"}
    assert [fields[n] for n in ("learning_rate", "width", "use_dice_loss", "class_weight")] == ["number", "choice", "check", "text"]


def test_defaults_come_back_from_their_fields():
    for o in [*options_of(Tiny), *options_of(Tiny.train)]:
        if control_of(o) and o.name != "num_epochs":
            assert meant(o, shown(o.default)) == o.default, o.name


def test_choices_keep_their_types():
    form = Form(Plan([Tiny], dict(width="18_small"), {}))
    assert form.plan.values["width"] == "18_small"
    press(form, "set", name="width", raw="18")
    assert form.plan.values["width"] == 18


def test_every_broken_rule_blocks_start():
    panel = Panel(Tiny, Lesson())
    assert panel.bar.blocked == ""
    good = dict(panel.values)
    for o in list(panel.plan.options.values())[1:]:
        for value in (v for rule in o.rules for v in rule.broken_by()):
            press(panel.form, "set", name=o.name, raw=repr(value))
            assert panel.form.errors[o.name].startswith(f"{o.name} must be"), (o.name, value)
            assert panel.bar.blocked
            press(panel.bar, "start")
            assert panel.bar.state == "idle"
            panel.set(**{o.name: good[o.name]})
    assert panel.bar.blocked == "" and panel.values == good


def test_two_class_options_say_why_they_are_off():
    panel = Panel(Tiny, Lesson(labels=("a", "b", "c")), use_dice_loss=True)
    assert panel.values["num_classes"] == 3 and panel.values["use_dice_loss"] is False
    assert "two classes" in panel.form.off["use_dice_loss"] and "use_dice_loss" not in panel.code
    panel.set(num_classes=2)
    assert panel.values["use_dice_loss"] is True and panel.form.off == {"class_weight": "for the cross entropy only"}


def test_the_code_does_what_the_panel_does():
    data = Lesson()
    panel = Panel(Tiny, data, num_epochs=3, class_weight="dynamic", learning_rate=0.02)
    calls = {}
    names = {"Tiny": Tiny, "train_dataset": data}
    exec(panel.code.replace("model.train(", "calls.update(train=dict(").replace(")\ncalls", ")\ncalls") + ")", {**names, "calls": calls})
    assert calls["train"] == dict(num_epochs=3, train_dataset=data, learning_rate=0.02)


def test_start_runs_once_and_unlocks():
    panel = Panel(Tiny, Lesson(pause=0.002), num_epochs=4, learning_rate=0.5)
    press(panel.bar, "start")
    press(panel.bar, "start")
    until(lambda: panel.bar.state == "running")
    first = panel.run
    panel.start()
    press(panel.form, "set", name="num_epochs", raw="9")
    assert panel.run is first and panel.form.locked and panel.values["num_epochs"] == 4
    ends(panel, "done")
    assert panel.model.started_with["learning_rate"] == 0.5 and len(panel.chart) == 84
    panel.start()
    until(lambda: panel.run is not first)
    ends(panel, "done")
    assert len(panel.chart) == 84


def test_stop_keeps_the_model():
    panel = Panel(Tiny, Lesson(pause=0.002), num_epochs=500)
    panel.start()
    until(lambda: len(panel.chart) > 5)
    press(panel.bar, "stop")
    ends(panel, "stopped")
    assert isinstance(panel.model, Tiny) and panel.bar.text.startswith("Stopped at 0 %")


def test_stop_before_it_has_started():
    class Slow(Tiny):
        def __post_init__(self):
            time.sleep(0.3)

    panel = Panel(Slow, Lesson(pause=0.002), num_epochs=500)
    panel.start()
    press(panel.bar, "stop")
    assert panel.bar.state == "stopping"
    ends(panel, "stopped")


def test_missing_data_is_said():
    panel = Panel(Tiny)
    assert panel.bar.note == "Pass the images to learn from: Panel(Tiny, train_dataset)"
    panel.start()
    assert panel.run is None


def test_failures_are_told_in_their_own_words():
    panel = Panel(Tiny, Lesson(fail_at=2))
    panel.start()
    ends(panel, "failed")
    assert FAILURE in panel.error and "in lesson" in panel.bar.trace and "\n" not in panel.error
    panel.datasets["train_dataset"] = Lesson()
    panel.start()
    ends(panel, "done")
    assert panel.error == ""


def test_a_model_that_cannot_be_built_is_told():
    class Broken(Tiny):
        def __post_init__(self):
            raise ValueError("`class_weight` must have one entry for each class")

    panel = Panel(Broken, Lesson())
    panel.start()
    ends(panel, "failed")
    assert panel.error == "`class_weight` must have one entry for each class" and panel.bar.text == "Not started"


def test_two_panels_do_not_clash():
    one, two = Panel(Tiny, Lesson(pause=0.001), num_epochs=3), Panel(Tiny, Lesson(pause=0.001), num_epochs=5, save_dir="other")
    one.start(), two.start()
    ends(one, "done"), ends(two, "done")
    assert (len(one.chart), len(two.chart)) == (63, 105)
    assert one.receipt.name != two.receipt.name


def test_a_cell_that_is_run_again_does_not_train_twice_into_one_folder():
    old, new = Panel(Tiny, Lesson(pause=0.002), num_epochs=500, save_dir="here"), Panel(Tiny, Lesson(), save_dir="here")
    old.start()
    until(lambda: old.run is not None)
    new.start()
    ends(new, "failed")
    assert new.error.startswith("another panel is training into here; stop it") and new.run is None and old.run.alive
    old.close()
    assert old.run.wait(5) == "stopped"
    new.start()
    ends(new, "done")


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="unknown option `nmu_classes`"):
        Panel(Tiny, nmu_classes=3)
    with pytest.raises(TypeError, match="unknown option `epochs`"):
        Panel(Tiny).set(epochs=3)


def test_panel_reads_without_a_kernel():
    panel = Panel(Tiny, Lesson(), num_epochs=2)
    panel.start()
    ends(panel, "done")
    html = panel._repr_mimebundle_()["text/html"] + panel.receipt.html()
    assert "model.train(num_epochs=2" in html and "data:image/png" in html and "Done: 2 epochs" in html


def test_close():
    panel = Panel(Tiny, Lesson(pause=0.002), num_epochs=500)
    panel.start()
    until(lambda: panel.run is not None)
    panel.close()
    assert panel.run.wait(5) == "stopped" and panel.monitor.wait()


# ---- names and colours of classes


def small_sets(folder):
    folder = write_scenes(folder / "scenes", train=4, val=2, size=(64, 64))
    return [SegDataset(folder, folder / f"{n}_list.txt", folder / "labels.txt", Compose([Normalize()]), 0) for n in ("train", "val")]


def test_a_new_name_and_colour_are_seen_everywhere(tmp_path):
    train, val = small_sets(tmp_path)
    studio, model = Studio(train, val), FastSCNN(5)
    model.labels, model.test_transforms = train.labels, Compose([Normalize()])
    studio._use_model(model)
    settle(60)
    studio.evaluation._run()
    studio.prediction._paint(whole=True)
    old = studio.data.samples.pictures[0]["image"], studio.evaluation.pictures.pictures[0]["image"], studio.prediction.viewer.still()
    press(studio.data.classes, "name", id=1, text="house")
    for i in range(5):
        press(studio.data.classes, "colour", id=i, colour=f"#ff10{i:02x}")
    settle(60)
    assert train.labels == val.labels == model.labels == ["ground", "house", "water", "tree", "road"]
    assert train.colours[4] == val.colours[4] == model.colours[4] == (255, 16, 4)
    assert studio.evaluation.metrics.rows[1][0] == dict(text="house", colour=[255, 16, 1]) and studio.evaluation.matrix.columns[2] == "house"
    seen = [c for c in studio.prediction.viewer.classes if c["id"] < 5]
    assert seen and all(c["colour"] == [255, 16, c["id"]] and c["name"] == train.labels[c["id"]] for c in seen)
    new = studio.data.samples.pictures[0]["image"], studio.evaluation.pictures.pictures[0]["image"], studio.prediction.viewer.still()
    assert all(a != b for a, b in zip(old, new))
    assert studio.data.classes.code.startswith("train_dataset.labels = eval_dataset.labels = ['ground', 'house', ")
    assert palette[1].tolist() == [230, 159, 0]  # the default stays
    studio.close()


def test_a_model_with_other_classes_keeps_its_own(tmp_path):
    train, val = small_sets(tmp_path)
    studio, model = Studio(train, val), FastSCNN(2)
    model.labels = ["sea", "land"]
    studio._use_model(model)
    settle(60)  # the classes have been counted
    press(studio.data.classes, "name", id=1, text="house")
    settle(60)
    assert model.labels == ["sea", "land"] and train.labels[1] == "house"
    studio.close()


# ---- viewer


def scene(h=60, w=90):
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (h, w, 3)).astype(np.uint8), rng.integers(0, 3, (h, w)).astype(np.uint8)


def test_overview_says_its_scale():
    image, label = scene(5000, 3000)
    rgb, _, small, step = overview(image, label)
    assert step == 7 and rgb.shape[:2] == small.shape and max(small.shape) <= 768
    assert set(np.unique(small)) <= {0, 1, 2}


def test_shares_add_up():
    _, label = scene()
    assert sum(float(c["share"][:-2]) for c in classes_of(label)) == pytest.approx(100, abs=0.2)
    assert [c["name"] for c in classes_of(label, ["a", "b"])] == ["a", "b", "class 2"]


def test_views_are_independent():
    image, label = scene()
    one, two = view({"label_map": label}, image), view({"label_map": label}, image)
    one.opacity, one.hidden = 0.2, [1]
    assert (two.opacity, two.hidden) == (0.5, []) and one.model_id != two.model_id


def test_images_of_any_kind():
    _, label = scene()
    for bands, kind in ((1, np.uint8), (3, np.uint16), (6, np.float32)):
        image = np.random.default_rng(0).random((*label.shape, bands)).astype(kind)
        assert Image.open(io.BytesIO(TileViewer(image, label).still())).size == (90, 60)


def test_a_path_is_read(tmp_path):
    image, label = scene()
    Image.fromarray(image).save(tmp_path / "a.png")
    assert view({"label_map": label}, tmp_path / "a.png").full == [60, 90]


def test_viewer_closes():
    image, label = scene()
    viewer = view({"label_map": label}, image)
    viewer.close()
    viewer.opacity = 0.1  # nobody hears it, and nothing breaks


# ---- faults: each of the catalogue's group on widgets


def test_stop_before_start_twice_and_after_the_end():
    panel = Panel(Tiny, Lesson(pause=0.002), num_epochs=500)
    press(panel.bar, "stop"), press(panel.bar, "pause"), press(panel.bar, "best")
    assert panel.bar.state == "idle" and panel.run is None
    panel.start()
    until(lambda: len(panel.chart) > 3)
    press(panel.bar, "stop"), press(panel.bar, "stop")
    ends(panel, "stopped")
    press(panel.bar, "stop"), press(panel.bar, "resume")
    assert panel.bar.state == "stopped" and panel.error == ""


def test_a_closed_view_lets_the_training_go_on():
    panel = Panel(Tiny, Lesson(pause=0.002), num_epochs=10)
    panel.start()
    until(lambda: len(panel.chart) > 3)
    panel.chart.comm.close(), panel.bar.comm.close()
    assert panel.run.wait(20) == "done" and panel.monitor.wait()
    assert panel.bar.state == "done" and len(panel.chart) == 210


def test_options_that_contradict_each_other_block_start():
    panel = Panel(FastSCNN, Lesson(labels=("a", "b", "c")), class_weight=[1.0, 2.0])
    assert "one entry for each of 3 classes" in panel.form.errors["class_weight"] and panel.bar.blocked
    panel.start()
    assert panel.run is None
    panel.set(class_weight=None)
    assert panel.bar.blocked == ""


def test_choices_of_other_networks_say_whose_they_are():
    plan = Plan([DeepLabv3p, HRNet], dict(network="HRNet", num_classes=2), {})
    assert plan.off["backbone"] == "HRNet has no backbone" and "width" not in plan.off
    plan.set(network="DeepLabv3p", backbone="MobileNetV3_large_x1_0_ssld")
    assert plan.off["output_stride"] == "MobileNetV3 always has 32" and plan.off["width"] == "DeepLabv3p has no width"
    assert "output_stride" not in plan.code and "pooling_crop_size" not in plan.off


def test_a_typed_call_runs_nothing_and_changes_nothing_if_it_is_wrong(tmp_path):
    form = Form(Plan([Tiny], {}, {}))
    before = form.code
    for code in (f"Tiny(num_classes=open({str(tmp_path / 'x')!r}, 'w'))", "Tiny(3)", "import os", "Tiny(", "Tiny(colour=3)", "Tiny(**{})"):
        press(form, "code", code=code)
        assert form.wrong_code and form.code == before and not list(tmp_path.iterdir()), code
    press(form, "code", code="model = Tiny(num_classes=4)\nmodel.train(num_epochs=3, learning_rate=1e-3)")
    assert form.wrong_code == "" and (form.raw["num_classes"], form.raw["num_epochs"], form.raw["learning_rate"]) == ("4", "3", "0.001")
    form.plan.change(locked=True)
    press(form, "code", code="Tiny(num_classes=5)"), press(form, "set", name="num_classes", raw="6")
    assert form.raw["num_classes"] == "4"


def test_two_forms_on_one_plan_show_the_same():
    plan = Plan([Tiny], {}, {})
    one, two = Form(plan), Form(plan)
    press(one, "set", name="learning_rate", raw="0.5")
    assert two.raw["learning_rate"] == "0.5" and one.code == two.code
    two.close()
    press(one, "set", name="learning_rate", raw="0.25")
    assert two.raw["learning_rate"] == "0.5" and len(plan.watchers) == 1


def test_an_error_behind_a_button_is_a_line_and_the_button_works_again(tmp_path):
    view = DataView()
    for typed in ({}, {"images": str(tmp_path / "no such folder"), "labels": "~/neither"}):
        press(view.source, "act:Open folders", typed=typed)
        until(lambda: not view.source.busy)
        assert view.source.error and "\n" not in view.source.error and view.source.trace
    assert view.source.actions[0]["off"] == "" and view.datasets == {}


def test_a_hundred_thousand_events_stay_small():
    bar, chart = RunBar(), LiveChart()
    sent, monitor = traffic(bar, chart), Monitor(bar, chart)
    run(lesson(1000, Lesson(steps=100)), [monitor])
    assert monitor.wait(20) and len(chart) <= 20_000
    assert len(sent) <= 6 + 10 * (sent[-1][0] - sent[0][0])


def test_a_full_memory_says_which_number_to_change():
    class Full(Tiny):
        def start(self, **given):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore")

    panel = Panel(Full, Lesson(), train_batch_size=8)
    panel.start()
    ends(panel, "failed")
    assert panel.error == "The memory of the device is full; lower train_batch_size from 8 to 4" and "20.00 GiB" in panel.bar.trace


def test_a_log_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be the folder of a run"):
        attach(tmp_path)


# ---- images that are not read whole


def large_files(folder, side=500):
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 255, (side // 50, side // 50, 3)), np.ones((50, 50, 1))).astype(np.uint8)
    image[:130, -300:] = 0
    deep = image.astype(np.uint16) * 40
    rgb, tags = np.ascontiguousarray(image[..., ::-1]), [(42113, "s", 0, "0")]
    how = dict(photometric="rgb", tile=(128, 128), compression="deflate")
    tifffile.imwrite(folder / "tiles.tif", rgb, extratags=tags, **how)
    tifffile.imwrite(folder / "big.tif", rgb, bigtiff=True, **how)
    tifffile.imwrite(folder / "plain.tif", rgb, photometric="rgb")
    tifffile.imwrite(folder / "planes.tif", deep.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate")
    tifffile.imwrite(folder / "deep.tif", deep, photometric="minisblack", planarconfig="contig", rowsperstrip=9, compression="zlib", extratags=tags)
    with tifffile.TiffWriter(folder / "levels.tif") as f:
        f.write(rgb, subifds=1, **how)
        f.write(rgb[::2, ::2], subfiletype=1, **how)
    np.save(folder / "array.npy", image)
    zarr.create_array(folder / "chunks.zarr", data=image, chunks=(200, 200, 3))
    return [folder / name for name in ("tiles.tif", "big.tif", "plain.tif", "planes.tif", "deep.tif", "levels.tif", "array.npy", "chunks.zarr")]


@pytest.fixture
def asked():
    torch.manual_seed(0)
    model = FastSCNN(5)
    with torch.no_grad():
        model.net.classifier.conv.weight.mul_(1e4)  # an untrained network hardly prefers any class
    model.test_transforms = Compose([Normalize()])
    return model


def test_any_file_is_predicted_by_windows_as_the_model_does_it(tmp_path, asked, monkeypatch):
    whole = []
    def read(path, window=None):
        if window is None:
            whole.append(path)
        return read_image(path, window)

    monkeypatch.setattr("segnb.widgets.windows.read_image", read)
    monkeypatch.setattr("segnb.infer.predict.whole_image", lambda source: whole.append(source))
    monkeypatch.setattr("segnb.widgets.prediction.most_in_memory", 100_000)
    for path in large_files(tmp_path):
        asked.test_transforms = Compose([Normalize(max_val=[255 * 40] * 3)] if path.stem in ("deep", "planes") else [Normalize()])
        view = PredictView(asked, path, (240, 200), (60, 60))
        press(view.controls, "act:Predict", typed=view.controls.typed)
        settle(30)
        right = asked.overlap_tile_predict(path, [240, 200], [60, 60])["label_map"]
        assert view.controls.error == "" and type(view.viewer.label_map).__name__ == "FileMap", path
        np.testing.assert_array_equal(np.array(view.viewer.label_map), right, err_msg=path.name)
        assert (right == 255).any() == (path.name in ("tiles.tif", "deep.tif"))
        view.close()
    assert not whole


def test_padding_larger_than_the_image_is_mirrored_alike(tmp_path, asked):
    image, _ = scene(40, 50)
    np.save(tmp_path / "small.npy", image)
    view = PredictView(asked, tmp_path / "small.npy", (30, 30), (64, 64))
    view._paint(False)
    np.testing.assert_array_equal(view.viewer.label_map, asked.overlap_tile_predict(image, [30, 30], [64, 64])["label_map"])


def test_an_answer_is_saved_beside_older_ones_and_where_the_image_lies(tmp_path, asked, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image, _ = scene()
    (tmp_path / "prediction.png").write_text("somebody's")
    tags = [(33550, "d", 3, (2.0, 2.0, 0.0)), (33922, "d", 6, (0, 0, 0, 10.0, 20.0, 0))]
    tifffile.imwrite("field.tif", image, photometric="rgb", extratags=tags)
    for source, name, words in ((image, "prediction_2.png", ""), ("field.tif", "field_classes.tif", ", which lies where the image lies")):
        view = PredictView(asked, source, (64, 64), (0, 0))
        for button in ("Predict", "Save"):
            press(view.controls, f"act:{button}", typed=view.controls.typed)
            settle(30)
        assert view.controls.note == f"saved as {name}{words}"
        np.testing.assert_array_equal(read_label(name), view.viewer.label_map)
    assert Path("prediction.png").read_text() == "somebody's" and place_tags("field_classes.tif") == place_tags("field.tif")


def test_a_disk_without_room_is_told(asked, monkeypatch):
    monkeypatch.setattr("segnb.widgets.prediction.most_in_memory", 10)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 5}))
    view = PredictView(asked, scene()[0])
    press(view.controls, "act:Predict", typed=view.controls.typed)
    settle()
    assert "must have room for a map of" in view.controls.error and view.stopper.actions[0]["off"]


def test_a_closed_view_reads_no_further(tmp_path, monkeypatch):
    large_files(tmp_path)
    for name, value in dict(most_guessed=100_000, most_kept=100_000, least_side=100).items():
        monkeypatch.setattr(f"segnb.widgets.windows.{name}", value)
    source = open_image(tmp_path / "tiles.tif")
    monkeypatch.setattr("segnb.widgets.viewer.spawn", lambda job: None)
    viewer = TileViewer(source, np.zeros((500, 500), np.uint8))
    assert not source.whole
    viewer.close()
    viewer._refine()
    assert 0 < source._known.sum() < len(source._known)


# ---- going on


def stopped(folder):
    train, val = small_sets(folder)
    how = dict(num_epochs=40, train_batch_size=2, learning_rate=0.03, pretrain_weights=None)
    panel = Panel(FastSCNN, train, val, save_dir=str(folder / "run"), **how)
    assert panel.bar.again == ""
    panel.start()
    until(lambda: (folder / "run" / "epoch_1" / "train_state.json").exists() and panel.bar.state == "running", 60)
    press(panel.bar, "stop")
    ends(panel, "stopped")
    return panel, train, val


def test_a_stopped_run_goes_on_from_its_folder(tmp_path):
    first, train, val = stopped(tmp_path)
    run_dir = str(tmp_path / "run")
    assert first.bar.again == f"Go on with the run in {run_dir}"
    panel = Panel(FastSCNN, train, val, save_dir=run_dir)  # after a restart: nothing is known but data and folder
    before = len(first.model.history.losses)
    press(panel.bar, "again")
    until(lambda: panel.monitor and panel.monitor.progress.done > before, 60)
    assert f"resume_checkpoint={run_dir + '/last_model'!r}" in panel.code and "learning_rate=0.03" in panel.code
    assert panel.values["num_epochs"] == 40 and panel.bar.busy and panel.form.locked
    press(panel.bar, "again"), press(panel.bar, "stop")
    ends(panel, "stopped")
    rows = panel.chart.rows
    losses = rows[~np.isnan(rows[:, 1])]
    np.testing.assert_array_equal(losses[:before, 1], np.float32(first.model.history.losses))
    assert (np.diff(losses[:, 0]) == 1).all() and len(losses) > before and panel.monitor.progress.best >= first.monitor.progress.best
    panel.start()  # anew, not once more from there
    assert panel.values["resume_checkpoint"] is None
    until(lambda: panel.run is not None)
    panel.close()
    assert panel.run.wait(20) == "stopped"


def test_a_damaged_model_is_passed_over_and_named(tmp_path):
    first, train, val = stopped(tmp_path)
    weights = tmp_path / "run" / "last_model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    press(first.bar, "again")
    until(lambda: first.run and first.run.alive or first.error, 60)
    assert first.error == "", first.bar.trace
    assert first.bar.note.startswith("last_model cannot be used, because files are damaged")
    assert Path(first.values["resume_checkpoint"]).name.startswith("epoch_")
    press(first.bar, "stop")
    ends(first, "stopped")


def test_why_a_run_cannot_go_on_is_told(tmp_path):
    first, train, val = stopped(tmp_path)
    folder = str(tmp_path / "run")
    other = Panel(HRNet, train, val, save_dir=folder, num_epochs=3)
    press(other.bar, "again")
    ends(other, "failed")
    assert other.error.endswith("holds a FastSCNN, and here one can train HRNet; name another `save_dir`")
    done = Panel(FastSCNN, train, val, save_dir=str(tmp_path / "done"), num_epochs=1, train_batch_size=2, pretrain_weights=None)
    done.start()
    ends(done, "done")
    press(done.bar, "again")
    ends(done, "failed")
    assert done.error == f"all 1 epochs of the run in {tmp_path / 'done'} are done; raise `num_epochs` to go on"
    done.set(num_epochs=2)
    press(done.bar, "again")
    ends(done, "done")
    assert len(done.model.history.epoch_ends) == 2 and done.values["num_epochs"] == 2


def test_nothing_to_go_on_with_is_no_button(tmp_path):
    panel = Panel(FastSCNN, Lesson(), save_dir=str(tmp_path))
    press(panel.bar, "again")
    assert panel.bar.again == "" and panel.bar.state == "idle" and Panel(Tiny, Lesson()).bar.again == ""


def test_the_best_is_kept_by_the_run_itself(tmp_path):
    train, val = small_sets(tmp_path)
    panel = Panel(FastSCNN, train, val, num_epochs=500, train_batch_size=2, pretrain_weights=None, save_dir=str(tmp_path / "run"))
    panel.start()
    until(lambda: panel.run and panel.run.best, 60)
    model = panel.model
    press(panel.bar, "best")
    ends(panel, "stopped")
    assert panel.model is model and panel.bar.note.startswith("the model is now the best one of the run, from epoch")
    best = load_model(tmp_path / "run" / "best_model")
    assert all((a == b).all() for a, b in zip(model.net.state_dict().values(), best.net.state_dict().values(), strict=True))


def test_keep_best_before_the_start_is_over():
    class Slow(Tiny):
        def __post_init__(self):
            time.sleep(0.3)

    panel = Panel(Slow, Lesson(pause=0.002), num_epochs=500)
    panel.start()
    press(panel.bar, "best")
    assert panel.bar.state == "stopping"
    ends(panel, "stopped")
    assert panel.bar.note == "nothing better was evaluated and saved, so the model stays as it is"


def test_pictures_that_never_change_are_shown_once(tmp_path):
    train, val = small_sets(tmp_path)
    data = DataView(train)
    settle(60)
    assert len(data.augmented.pictures) == 1 and data.augmented.note.startswith("Nothing is left to chance")
    train.transforms = Compose([RandomHorizontalFlip(), Normalize()])
    data._augment()
    assert len(data.augmented.pictures) == 8 and data.augmented.note == ""
    data.close()


def test_runs_are_told_apart_in_a_table():
    panel = Panel(Tiny, Lesson(pause=0.001), num_epochs=2)
    for i, change in enumerate(({}, dict(learning_rate=0.5), dict(backbone="large"), {})):
        panel.set(**change)
        assert len(panel.runs.rows) == (i if i > 1 else 0)
        before = panel.run
        panel.start()
        until(lambda: panel.run is not before)  # noqa: B023
        ends(panel, "done")
    first, *_, last = panel.runs.rows
    assert first[0] == "backbone=small, learning_rate=0.01" and last[0] == "backbone=large, learning_rate=0.5"
    assert (last[1]["text"], last[2], last[3]) == ("0.486", 2, 40)
