"""The label doctor before real masks: nothing is wrong with good ones, and every planted convention is named and undone."""

import numpy as np
import pytest
from PIL import Image

from segnb.data.conventions import voc_palette
from segnb.data.datasets import SegDataset, read_mapped
from segnb.data.doctor import diagnose
from segnb.data.images import palette, read_label, write_label
from segnb.data.lists import read_labels, read_pairs
from segnb.data.transforms import Compose, Normalize
from segnb.models import FastSCNN

SETS = ["camvid", "isbi_em", "chase_db1", "dubai_aerial", "coffee_leaf", "nuclei_dsb", "burn_s2", "clouds_6band"]


def masks(shared, name, most=12):
    folder = shared / "data" / name
    pairs = read_pairs(folder / "train_list.txt")[:most]
    return [folder / p[1] for p in pairs], [folder / p[2] for p in pairs], len(read_labels(folder / "labels.txt"))


@pytest.mark.parametrize("name", SETS)
def test_no_false_alarm(shared, name):
    images, labels, k = masks(shared, name, 400)
    assert diagnose(images, labels, k).findings == [] and diagnose(images, labels).findings == []


VOC = np.array(voc_palette(), np.uint8)
PLANTED = {  # What is done to ids (255 is unlabelled), what it is called, and what cannot come back
    "counted from 1": lambda a: np.where(a == 255, 255, a + 1).astype(np.uint8),
    "gaps": lambda a: np.where(a == 255, 255, a * 20).astype(np.uint8),
    "colours": lambda a: VOC[a],
    "palettes disagree": None,
}


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("name", ["camvid", "dubai_aerial", "coffee_leaf", "isbi_em"])
def test_planted(shared, tmp_path, name, kind):
    images, labels, k = masks(shared, name)
    truth, rng = [read_label(p) for p in labels], np.random.default_rng(0)
    for p, ids in zip(labels, truth, strict=True):
        if kind == "palettes disagree":
            order = rng.permutation(256).astype(np.uint8)
            picture = Image.fromarray(np.argsort(order).astype(np.uint8)[ids], "P")
            picture.putpalette(palette[order].tobytes())
        else: picture = Image.fromarray(PLANTED[kind](ids))
        picture.save(tmp_path / f"{p.stem}.png")
    planted = [tmp_path / f"{p.stem}.png" for p in labels]
    found = diagnose(images, planted, k)
    assert [f.kind for f in found.findings] == [kind], found
    for path, ids in zip(planted, truth, strict=True): assert np.array_equal(read_mapped(path, found.label_map), ids)


@pytest.mark.parametrize("name", ["isbi_em", "chase_db1", "nuclei_dsb"])
def test_white_on_black(shared, tmp_path, name):
    images, labels, k = masks(shared, name)
    for p in labels: Image.fromarray(read_label(p) * np.uint8(255)).save(tmp_path / f"{p.stem}.png")
    found = diagnose(images, [tmp_path / f"{p.stem}.png" for p in labels], k)
    assert [f.kind for f in found.findings] == ["0 and 255"] and found.label_map == {255: 1}


def test_awkward_cases(shared):
    folder = shared / "data/awkward"

    def kinds(images, labels): return {f.kind for f in diagnose(folder / images, folder / labels).findings}
    assert "palettes disagree" in kinds("palette_png/*[13].jpg", "palette_png/*_mask.png")
    assert "colours" in kinds("rgb_colour_mask/*_p1.jpg", "rgb_colour_mask/*_mask.png")
    assert kinds("mask_16bit_wrong_size/0.png", "mask_16bit_wrong_size/*_predict.png") == {"size", "not ids"}
    assert "one file an object" in kinds("rgba_instance_masks/*_image.png", "rgba_instance_masks/masks")
    assert kinds("sen1floods11_13band/*_S2Hand.tif", "sen1floods11_13band/*_LabelHand.tif") == {"void value"}
    assert kinds("mask_0_255/0.png", "mask_0_255/*_label.png") == {"0 and 255, inverted"}


def test_train_passes_the_doctors_line_on(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / f"{i}.png")
        write_label(tmp_path / f"{i}_label.png", rng.integers(1, 4, (64, 64)).astype(np.uint8))
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {i}_label.png\n" for i in range(3)))
    data = SegDataset(tmp_path, tmp_path / "list.txt", None, Compose([Normalize()]), 0)
    with pytest.raises(ValueError, match=r"The label doctor suggests: SegDataset\(..., label_map={1: 0, 2: 1, 3: 2}\)"):
        FastSCNN(3).train(1, data, 1, save_dir=tmp_path / "out", pretrain_weights=None)
    assert not (tmp_path / "out").exists()
    data.label_map = {1: 0, 2: 1, 3: 2}
    FastSCNN(3).train(1, data, 1, save_dir=tmp_path / "out", pretrain_weights=None)
