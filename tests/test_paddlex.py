"""Models that PaddleX trained give the pictures here that they gave there."""

import json

import cv2
import numpy as np
import pytest
import torch

from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize
from segnb.models import load_model
from segnb.paddlex import load_paddlex

PLAIN = Compose([Normalize()])


@pytest.fixture(scope="module", params=["trained_model", "pruned_model"])
def folder(request, shared): return shared / "reference" / request.param


@pytest.fixture(scope="module")
def model(folder): return load_paddlex(folder)


@pytest.fixture(scope="module")
def expected(folder): return json.loads((folder / "expected/expected.json").read_text())


def images(shared): return shared / "reference/trained_model/images"
def label(path): return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def near(ours, theirs):
    "At least 99.9 % of the pixels agree"
    assert ours.shape == theirs.shape
    assert (ours == theirs).mean() >= 0.999


def probe(scores, probes):
    "Full-precision scores at single pixels"
    for p in probes: np.testing.assert_allclose(scores[p["y"], p["x"]], p["score"], atol=1e-4)


@pytest.mark.parametrize("pipeline,suffix", [("plain", "plain_label"), ("saved", "saved_label_nearest")])
def test_predict(shared, folder, model, expected, pipeline, suffix):
    for row in expected["predict"]:
        result, stem = model.predict(images(shared) / row["image"], PLAIN if pipeline == "plain" else None), row["image"].removesuffix(".png")
        near(result["label_map"], label(folder / f"expected/{stem}_{suffix}.png"))
        scores = np.load(folder / f"expected/{stem}_score.npz")[pipeline].astype(np.float32)
        assert np.abs(result["score_map"] - scores).max() <= 2e-3


def test_probes(shared, model, expected):
    for row in expected["predict"]:
        probe(model.predict(images(shared) / row["image"], PLAIN)["score_map"], row["plain_score"])
        probe(model.predict(images(shared) / row["image"])["score_map"], row["saved_score"])


@pytest.mark.parametrize("pipeline,row", [("plain", "evaluate_plain"), ("saved", "evaluate_saved_nearest")])
def test_evaluate(shared, model, expected, pipeline, row):
    base, theirs = shared / "reference/trained_model", expected[row]
    data = SegDataset(base, base / "val_list.txt", base / "labels.txt", PLAIN if pipeline == "plain" else model.eval_transforms, num_workers=0)
    metrics, details = model.evaluate(data, return_details=True)
    counts = np.array(details["confusion_matrix"])
    assert np.abs(counts - theirs["confusion_matrix"]).max() <= 1e-3 * counts.sum()
    assert np.nan_to_num(metrics["category_iou"]).mean() == pytest.approx(theirs["miou"], abs=1e-4)
    assert metrics["oacc"] == pytest.approx(theirs["oacc"], abs=1e-4)


def test_overlap_tiles(shared):
    folder = shared / "reference/trained_model"
    model, tried = load_paddlex(folder), 0
    for row in json.loads((folder / "expected/expected.json").read_text())["overlap_tile_predict"]:
        if row["batch_size"] != 1: continue  # The original's padding of unequal tiles in a batch is not ours
        transforms = PLAIN if row["transforms"] == "plain" else None
        result = model.overlap_tile_predict(images(shared) / row["image"], row["tile_size"], row["pad_size"], 1, transforms)
        near(result["label_map"], label(folder / f"expected/overlap_{row['name']}_label.png"))
        probe(result["score_map"], row["score"])
        tried += 1
    assert tried >= 4


def test_opened_is_one_of_ours(folder, model, shared, tmp_path):
    "Saved, opened again, trained on"
    image = next(images(shared).glob("T6*.png"))
    model.save_model(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert (again.predict(image)["score_map"] == model.predict(image)["score_map"]).all()
    assert again.labels == ["land", "road", "building", "vegetation", "water"]
    data = SegDataset(shared / "reference/trained_model", shared / "reference/trained_model/val_list.txt", None, again.eval_transforms, num_workers=0)
    again.train(1, data, 3, save_dir=tmp_path / "more", learning_rate=1e-3)  # It has learned, so nothing is fetched
    assert np.isfinite(again.history.losses).all()
    later, before = load_model(tmp_path / "more/epoch_1"), model.net.state_dict()
    assert later.completed_epochs == model.completed_epochs + 1
    assert all(t.shape == before[n].shape for n, t in later.net.state_dict().items())
    assert not torch.equal(later.net.backbone.conv1_1.conv.weight.cpu(), model.net.backbone.conv1_1.conv.weight.cpu())
