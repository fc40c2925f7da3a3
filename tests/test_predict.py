"""Predictions: what may be asked, what comes back, and what happens when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from threading import RLock

import numpy as np
import pytest
import tifffile
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segnb.data.scenes import draw_scene
from segnb.data.transforms import Compose, Normalize
from segnb.draw import shrink
from segnb.infer import fuse
from segnb.infer.asker import Asker
from segnb.infer.disk import Growing, read_rows
from segnb.infer.predict import predict_images
from segnb.infer.rows import Job, overlap_tile
from segnb.infer.source import Scene
from segnb.infer.verbs import suggest_tiles
from segnb.models import FastSCNN

PLAIN = Compose([Normalize()])
PLACE = [(33550, 12, 3, (0.5, 0.25, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 4.8e6, 0.0), True),
         (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True), (42113, 2, 0, "0", True)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = FastSCNN(5)
    with torch.no_grad(): model.net.classifier.conv.weight.mul_(1e4)  # An untrained network hardly prefers any class
    model.test_transforms = PLAIN
    return model


@pytest.fixture(scope="module")
def image(): return draw_scene((150, 110), seed=3)[0]


def write(image, path):
    "An image as an array in a file"
    if path.suffix == ".npy": np.save(path, image)
    else: zarr.create_array(path, data=image, chunks=(32, 40, 3))


def label(model, image, **options): return model.overlap_tile_predict(image, [48, 40], [16, 12], **options)["label_map"]


torch.manual_seed(0)
STACK = Asker(nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in [(2, 6), (6, 3)])), PLAIN, RLock())  # Looks two pixels far
side, tile, pad = st.integers(1, 50), st.integers(3, 40), st.integers(0, 60)


@settings(max_examples=40, deadline=None)
@given(st.tuples(side, side), st.tuples(tile, tile), st.tuples(pad, pad), st.integers(1, 5), st.sampled_from(["crop", "hann", "gaussian"]))
def test_batch_size_changes_nothing_and_every_pixel_is_written(size, tile_size, pad_size, batch_size, blend):
    image = np.random.default_rng(0).integers(0, 255, (*size[::-1], 2), np.uint8)
    maps = [overlap_tile(Job(STACK, Scene(image, 2), tile_size, pad_size, n, blend), image)["label_map"] for n in (batch_size, 32)]
    assert maps[0].shape == size[::-1] and (maps[0] == maps[1]).all() and maps[0].max() < 3


@settings(max_examples=40, deadline=None)
@given(st.tuples(side, side), st.tuples(tile, tile), st.tuples(st.integers(2, 60), st.integers(2, 60)))
def test_tiles_are_the_whole_image_where_the_network_sees_enough(size, tile_size, pad_size):
    image = np.random.default_rng(1).integers(0, 255, (*size[::-1], 2), np.uint8)
    scores = overlap_tile(Job(STACK, Scene(image, 2), tile_size, pad_size), image)["score_map"]
    whole = next(predict_images(STACK, [image], 2))["score_map"]
    assert np.allclose(scores[2:-2, 2:-2], whole[2:-2, 2:-2], atol=1e-5)


def test_files_of_all_kinds(model, image, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", image[..., ::-1], tile=(32, 32), photometric="rgb", compression="deflate")
    tifffile.imwrite(tmp_path / "strips.tif", image[..., ::-1], rowsperstrip=7, photometric="rgb")
    np.save(tmp_path / "a.npy", image)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    write(image, tmp_path / "a.zarr")
    turned = zarr.create_array({}, data=np.ascontiguousarray(image.transpose(2, 0, 1)), chunks=(3, 32, 32), dimension_names=("band", "y", "x"))
    expected = label(model, image)
    for source in (tmp_path / "a.tif", str(tmp_path / "strips.tif"), tmp_path / "a.npy", mapped, tmp_path / "a.zarr", turned):
        assert (label(model, source) == expected).all()


def test_a_lazy_list_reads_a_few_images(model, image, tmp_path, monkeypatch):
    import segnb.infer.predict as predict
    read = []
    monkeypatch.setattr(predict, "read_source", lambda s, n: read.append(1) or image)
    found = model.batch_predict(["x"] * 1000, lazy=True)
    next(found), next(found)
    assert len(read) <= 16


def test_weights_that_hold_nan_are_named(image):
    model = FastSCNN(5)
    with torch.no_grad(): model.net.classifier.conv.bias[0] = float("nan")
    with pytest.warns(UserWarning, match="faster copy"), pytest.raises(ValueError, match="must be finite"): model.predict(image, PLAIN)


def test_the_copy_follows_the_weights(image):
    torch.manual_seed(0)
    model = FastSCNN(5)
    before = model.predict(image, PLAIN)["score_map"]
    with torch.no_grad(): model.net.classifier.conv.bias[2] += 3
    after = model.predict(image, PLAIN)["score_map"]
    assert (after[..., 2] > before[..., 2]).all()
    model.net.classifier.conv.bias.data[2] -= 3
    assert np.allclose(model.predict(image, PLAIN)["score_map"], before, atol=1e-6)


def test_a_copy_that_fails_is_replaced_by_the_network(image, monkeypatch):
    torch.manual_seed(0)
    model = FastSCNN(5)
    expected = model.predict(image, PLAIN)["score_map"]
    fuse._copies.clear()
    def broken(*args): raise RuntimeError("no such call")
    monkeypatch.setattr(fuse.Packed, "forward", broken)
    with pytest.warns(UserWarning, match="no such call; the plain network answers instead") as seen: found = model.predict(image, PLAIN)["score_map"]
    assert len(seen) == 1 and np.allclose(found, expected, atol=1e-4)


def test_bf16_agrees(shared):
    "The recorded network has learned little: between its two best classes lie a few hundredths, and still it hardly ever changes its mind"
    from segnb.paddlex import load_paddlex
    model = load_paddlex(shared / "reference/trained_model")
    same = []
    for path in sorted((shared / "reference/trained_model/images").glob("*.png")):
        exact, quick = (model.predict(path, precision=p)["label_map"] for p in ("fp32", "bf16"))
        same.append((exact == quick).mean())
    assert np.mean(same) >= 0.995 and min(same) >= 0.99, same


@pytest.mark.parametrize("kind,far", [("uint8", 0.003), ("float16", 0.001), ("float32", 0)])
def test_scores_on_disk(model, image, tmp_path, kind, far):
    memory = model.overlap_tile_predict(image, [48, 40], [16, 12])
    for suffix in (".npy", ".tif", ".zarr"):
        result = model.overlap_tile_predict(image, [48, 40], [16, 12], out=tmp_path / f"a{suffix}", scores=kind)
        assert np.abs(result["score_map"] - memory["score_map"]).max() <= far and (result["label_map"] == memory["label_map"]).all()


KILLED = """
import sys, time, torch
from segnb.models import load_model
import segnb.infer.rows as rows
slow = rows.predict_tiles
def slower(*args):
    time.sleep(0.15)
    return slow(*args)
rows.predict_tiles = slower
load_model("model").overlap_tile_predict("a.KIND", [48, 10], [16, 12], out="labels.KIND")
"""


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_killed_it_goes_on(model, image, tmp_path, kind):
    model.save_model(tmp_path / "model")
    write(image, tmp_path / f"a.{kind}")
    code, out = KILLED.replace("KIND", kind), tmp_path / f"labels.{kind}"
    expected = model.overlap_tile_predict(image, [48, 10], [16, 12])["label_map"]
    here = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=here)
    note = tmp_path / f"labels.{kind}.part.json"
    until = time.monotonic() + 120
    while not note.exists() and child.poll() is None and time.monotonic() < until: time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert note.exists() and not out.exists()
    done = Growing(tmp_path / f"labels.{kind}.part", (110, 150), np.uint8, json.loads(note.read_text())["key"]).rows
    assert 0 < done < 110
    again = [sys.executable, "-c", code.replace("0.15", "0")]
    said = subprocess.run(again, cwd=tmp_path, check=True, env=here, capture_output=True, text=True).stdout
    assert (read_rows(out) == expected).all() and not note.exists() and f"{done} of 110 rows are there already" in said


def test_windows_of_a_tiff_with_jpeg_tiles(model, image, tmp_path):
    "tifffile looks at the first tile when its decoder is made, which moves the place in the file"
    tifffile.imwrite(tmp_path / "a.tif", image[..., ::-1], tile=(32, 32), photometric="rgb", compression="jpeg")
    assert (label(model, tmp_path / "a.tif") == label(model, tifffile.imread(tmp_path / "a.tif")[..., ::-1])).all()


def test_a_zarr_array_is_predicted_like_its_pixels(model, image, tmp_path):
    write(image, tmp_path / "a.zarr")
    stored = zarr.open(tmp_path / "a.zarr", mode="r+")
    expected = model.overlap_tile_predict(image, [48, 40], [16, 12])
    for source in (tmp_path / "a.zarr", stored):
        found = model.overlap_tile_predict(source, [48, 40], [16, 12], out=tmp_path / "labels.zarr", overwrite=True)
        assert (found["label_map"] == expected["label_map"]).all()
        assert (zarr.open(tmp_path / "labels.zarr", mode="r")[:] == expected["label_map"]).all()
        assert (model.predict(source)["label_map"] == model.predict(image)["label_map"]).all()
        assert found.draw() and model.overlap_tile_predict(source, [48, 40], [16, 12]).draw()
    stored.attrs["_FillValue"] = 0
    stored[:60, :70] = 0
    assert (label(model, tmp_path / "a.zarr")[:60, :70] == 255).all()


def test_a_place_is_kept_in_a_zarr(model, image, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", image[..., ::-1], tile=(32, 32), photometric="rgb", extratags=PLACE)
    label(model, tmp_path / "in.tif", out=tmp_path / "one.zarr")
    zarr.create_array(tmp_path / "in.zarr", data=image, chunks=(32, 40, 3), attributes=dict(zarr.open(tmp_path / "one.zarr", mode="r").attrs))
    label(model, tmp_path / "in.zarr", out=tmp_path / "two.zarr", nodata=None)
    one, two = (dict(zarr.open(tmp_path / f"{name}.zarr", mode="r").attrs) for name in ("one", "two"))
    assert one == two and one["spatial:transform"] == [0.5, 0, 5e5, 0, -0.25, 4.8e6] and one["proj:code"] == "EPSG:32633"


def test_an_overview_decodes_each_row_once(model, tmp_path, monkeypatch):
    image, bands = draw_scene((96, 1300), seed=1)[0], []
    result = model.overlap_tile_predict(image, [96, 650], [8, 8], out=tmp_path / "labels.tif")
    read = Scene.band
    monkeypatch.setattr(Scene, "band", lambda self, y, height: bands.append((y, height)) or read(self, y, height))
    for side in (640, 1300, 77):
        bands.clear()
        seen, ids = result.overview(side)
        assert np.array_equal(seen, shrink(image, side)) and np.array_equal(ids, shrink(result["label_map"], side))
        assert max(n for _, n in bands) <= (520 if side < 1300 else 1300) and sum(n for _, n in bands) == 1300


def test_a_drawing_reads_a_file_in_parts(model, tmp_path, monkeypatch):
    image = draw_scene((96, 1300), seed=1)[0]
    tifffile.imwrite(tmp_path / "tall.tif", image[..., ::-1], tile=(64, 64), photometric="rgb")
    result = model.overlap_tile_predict(tmp_path / "tall.tif", [96, 650], [8, 8])
    monkeypatch.setattr("segnb.infer.source.whole_image", lambda source: pytest.fail("read as a whole"))
    drawn, held = (r.draw().axes[0].images[0].get_array() for r in (result, model.overlap_tile_predict(image, [96, 650], [8, 8])))
    assert drawn.shape == (640, 47, 3) and np.array_equal(drawn, held)


def test_advice_reads_only_the_rows_it_tries(model, tmp_path, monkeypatch):
    image, bands = draw_scene((200, 2000), seed=2)[0], []
    tifffile.imwrite(tmp_path / "tall.tif", image[..., ::-1], tile=(64, 64), photometric="rgb")
    read = Scene.band
    monkeypatch.setattr(Scene, "band", lambda self, y, height: bands.append(height) or read(self, y, height))
    monkeypatch.setattr("segnb.infer.source.whole_image", lambda source: pytest.fail("read as a whole"))
    advice = [suggest_tiles(model, source, memory=10**9) for source in (image, tmp_path / "tall.tif")]
    assert advice[0] == advice[1] and bands == 6 * [128 + 2 * 256]
