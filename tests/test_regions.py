"""Parts of an image: what is asked, what is left out, and what that is called."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import segnb.infer.rows as rows
from segnb.data.scenes import draw_scene, scene_classes
from segnb.data.transforms import Compose, Normalize
from segnb.geo import nodata_of
from segnb.infer.regions import check_regions, within
from segnb.models import FastSCNN

FIELD = [[(20, 20), (90, 25), (80, 80), (15, 70)], [(40.5, 40), (60, 40), (60, 60.25), (40.5, 60)]]  # With a pond in it


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = FastSCNN(5)
    with torch.no_grad(): model.net.classifier.conv.weight.mul_(1e4)
    model.test_transforms, model.labels = Compose([Normalize()]), list(scene_classes)
    return model


@pytest.fixture(scope="module")
def image(): return draw_scene((200, 160), seed=3)[0]


point = st.tuples(st.floats(-20, 60), st.floats(-20, 60))


@settings(max_examples=80, deadline=None)
@given(st.lists(point, min_size=3, max_size=3, unique=True), st.integers(1, 9))
def test_a_pixel_is_inside_if_its_middle_is(corners, step):
    shape, middles = check_regions([corners]), np.stack(np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5), -1).reshape(-1, 2)
    found = np.concatenate([within(shape, y, min(step, 30 - y), 40) for y in range(0, 30, step)])
    a = np.array(corners)
    sides = np.stack([np.cross(np.r_[q - p, 0], np.c_[middles - p, np.zeros(1200)])[:, 2] for p, q in zip(a, np.roll(a, -1, 0))])
    expected, sure = (sides > 0).all(0) | (sides < 0).all(0), (abs(sides) > 1e-6).all(0)  # On one side of all three; not on a line
    assert (found.ravel() == expected)[sure].all()


@pytest.mark.parametrize("blend", ["crop", "hann"])
def test_only_tiles_that_meet_a_region_are_asked(model, image, monkeypatch, blend):
    asked, plain = [], rows.predict_tiles
    monkeypatch.setattr(rows, "predict_tiles", lambda a, band, tiles, *rest: asked.extend(tiles) or plain(a, band, tiles, *rest))
    found = model.overlap_tile_predict(image, [40, 40], [8, 8], regions=[FIELD], blend=blend)["label_map"]
    inside, count = within(check_regions([FIELD]), 0, 160, 200), len(asked)
    assert (found[~inside] == 255).all() and (found[inside] < 5).all() and not inside[50, 50]
    whole = model.overlap_tile_predict(image, [40, 40], [8, 8], blend=blend)["label_map"]
    assert (found == whole)[inside].all() and len(asked) - count == 20
    assert count == (6 if blend == "crop" else 20)


def test_what_was_skipped_is_called_so(model, image, tmp_path):
    found = model.overlap_tile_predict(image, [64, 64], [8, 8], regions=[FIELD], out=tmp_path / "a.tif")
    memory = model.overlap_tile_predict(image, [64, 64], [8, 8], regions=[FIELD])
    assert (found["label_map"] == memory["label_map"]).all() and (memory["score_map"][~within(check_regions([FIELD]), 0, 160, 200)] == 0).all()
    for result in (found, memory):
        legend = [t.get_text() for t in result.draw().legends[0].get_texts()]
        assert sum(t.startswith("skipped ") for t in legend) == 1 and not any("class 255" in t for t in legend), legend
        assert result.none == 255
    assert "skipped" in repr(memory) and scene_classes[0] in memory.names


def test_where_all_numbers_of_a_byte_are_classes(image, tmp_path):
    torch.manual_seed(0)
    model = FastSCNN(5)
    model.net, model.test_transforms = nn.Conv2d(3, 256, 1), Compose([Normalize()])
    whole = model.overlap_tile_predict(image, [64, 64], [8, 8], out=tmp_path / "whole.tif")
    assert whole["label_map"].dtype == np.uint8 and whole.none is None and nodata_of(tmp_path / "whole.tif") is None
    part = model.overlap_tile_predict(image, [64, 64], [8, 8], out=tmp_path / "part.tif", regions=[[0, 0, 50, 50]])
    assert part["label_map"].dtype == np.uint16 and part.none == 65535 and nodata_of(tmp_path / "part.tif") == 65535
    assert (part["label_map"][:50, :50] == whole["label_map"][:50, :50]).all() and (part["label_map"][50:] == 65535).all()
    assert part.draw() and whole.draw()
