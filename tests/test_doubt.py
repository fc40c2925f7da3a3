"""Where a model doubts: in memory, in files, and against a slow formula."""

import numpy as np
import pytest
import torch
from torch import nn

from segnb.data.scenes import draw_scene
from segnb.data.transforms import Compose, Normalize, Resize
from segnb.infer.disk import read_rows
from segnb.models import FastSCNN

PLAIN, LOOKS = Compose([Normalize()]), ["horizontal", "both"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = FastSCNN(5)
    model.net, model.test_transforms = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 3, padding=1)), PLAIN
    with torch.no_grad(): model.net[2].weight.mul_(8)
    return model


@pytest.fixture(scope="module")
def image(): return draw_scene((150, 110), seed=3)[0]


def slow(model, image):
    "The spread, from the scores of three predictions"
    flip = {"horizontal": lambda a: a[:, ::-1], "both": lambda a: a[::-1, ::-1]}
    scores = [model.predict(image)["score_map"], *(flip[k](model.predict(flip[k](image))["score_map"]) for k in LOOKS)]
    return np.sqrt(np.var(scores, 0).sum(-1))


def test_spread_is_the_deviation_between_predictions(model, image):
    expected = slow(model, image)
    found = model.predict(image, looks=LOOKS, uncertainty="spread")
    assert np.allclose(found["uncertainty_map"], expected, atol=1e-5) and expected.max() > 0.05
    assert all(np.allclose(r["uncertainty_map"], expected, atol=1e-5) for r in model.batch_predict([image] * 2, looks=LOOKS, uncertainty="spread"))
    for blend in ("crop", "hann"):
        tiled = model.overlap_tile_predict(image, [48, 40], [16, 12], looks=LOOKS, uncertainty="spread", blend=blend)
        assert np.allclose(tiled["uncertainty_map"][4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-5 if blend == "crop" else 0.01)


def test_entropy_is_that_of_the_scores(model, image):
    for result in (model.predict(image, uncertainty="entropy"), model.overlap_tile_predict(image, [48, 40], [16, 12], uncertainty="entropy")):
        p = result["score_map"].astype(float)
        assert np.allclose(result["uncertainty_map"], -(p * np.log(p)).sum(-1) / np.log(5), atol=1e-5)
    assert "uncertainty_map" not in model.predict(image)


@pytest.mark.parametrize("doubt,blend", [("entropy", "crop"), ("spread", "crop"), ("spread", "gaussian")])
@pytest.mark.parametrize("kind,far", [(None, 0.5 / 255 + 1e-6), ("float32", 0)])
def test_in_files_it_is_the_same(model, image, tmp_path, doubt, blend, kind, far):
    how = dict(looks=LOOKS, uncertainty=doubt, blend=blend, regions=[[10, 10, 100, 70]])
    memory = model.overlap_tile_predict(image, [48, 40], [16, 12], **how)
    for suffix in (".npy", ".tif", ".zarr"):
        found = model.overlap_tile_predict(image, [48, 40], [16, 12], out=tmp_path / f"a{suffix}", scores=kind, **how)
        assert np.abs(found["uncertainty_map"] - memory["uncertainty_map"]).max() <= far and (found["label_map"] == memory["label_map"]).all()
        assert read_rows(tmp_path / f"a.uncertainty{suffix}").shape == (110, 150) and (memory["uncertainty_map"][80:] == 0).all()


def test_stopped_it_goes_on(model, image, tmp_path, monkeypatch):
    from segnb.infer.source import Scene
    how = dict(looks=LOOKS, uncertainty="spread", scores="float32")
    expected = model.overlap_tile_predict(image, [48, 20], [16, 12], out=tmp_path / "whole.npy", **how)
    plain, left = Scene.band, [3]
    def band(scene, y, height):
        left[0] -= 1
        if left[0] < 0: raise KeyboardInterrupt
        return plain(scene, y, height)
    for name, method in (("stopped", band), ("gone on", plain)):
        monkeypatch.setattr(Scene, "band", method)
        np.save(tmp_path / "a.npy", image) if name == "stopped" else None
        try: found = model.overlap_tile_predict(tmp_path / "a.npy", [48, 20], [16, 12], out=tmp_path / "again.npy", **how)
        except KeyboardInterrupt: assert name == "stopped" and not (tmp_path / "again.npy").exists()
    for key in expected: assert (found[key] == expected[key]).all()


def test_transforms_are_taken_back(model, image):
    found = model.predict(image, Compose([Resize([64, 48]), Normalize()]), looks=LOOKS, uncertainty="spread")
    assert found["uncertainty_map"].shape == image.shape[:2]
    with pytest.raises(TypeError, match="`uncertainty` must be one of"): model.predict(image, uncertainty="guess")
    with pytest.raises(KeyError, match="uncertainty"): model.predict(image)["uncertainty_map"]
