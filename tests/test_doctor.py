"""The label doctor before real masks: nothing is wrong with good ones, and every planted convention is named and undone."""

import cv2
import numpy as np
import pytest
from PIL import Image

from segnb.data.colours import palette, to_rgb
from segnb.data.conventions import voc_palette
from segnb.data.datasets import SegDataset
from segnb.data.doctor import diagnose
from segnb.data.images import read_image, read_label, write_label
from segnb.data.lists import read_labels, read_pairs
from segnb.data.transforms import Compose, Normalize
from segnb.models import FastSCNN

SETS = ["camvid", "isbi_em", "chase_db1", "dubai_aerial", "coffee_leaf", "nuclei_dsb", "burn_s2", "clouds_6band", "leaf_odd"]
BINARY = ["isbi_em", "chase_db1", "nuclei_dsb", "burn_s2"]


def masks(shared, name, most=8):
    folder = shared / "data" / name
    pairs = read_pairs(folder / ("val_list.txt" if name == "leaf_odd" else "train_list.txt"))[:most]
    return [folder / p[1] for p in pairs], [folder / p[2] for p in pairs], len(read_labels(folder / "labels.txt"))


@pytest.mark.parametrize("name", SETS)
def test_no_false_alarm(shared, name):
    images, labels, k = masks(shared, name, 400)
    assert diagnose(images, labels, k).findings == [] and diagnose(images, labels).findings == []


VOC, rng = np.array(voc_palette(), np.uint8), np.random.default_rng(0)


def save(path, pixels): Image.fromarray(pixels).save(path)


def save_shuffled(path, ids):
    "Like a tool that orders the palette anew in every file"
    order = rng.permutation(256).astype(np.uint8)
    picture = Image.fromarray(np.argsort(order).astype(np.uint8)[ids], "P")
    picture.putpalette(palette[order].tobytes())
    picture.save(path)


def save_either(path, ids): save(path, VOC[ids] if int(path.stem) % 2 else ids)


def save_array(path, values): np.save(path.with_suffix(".npy"), values)


PLANTED = {  # What it is called, what is done to ids (255 is unlabelled), how it is saved
    "from 1": ("counted from 1", lambda a: np.where(a == 255, 255, a + 1).astype(np.uint8), save),
    "0 is void": ("counted from 1", lambda a: np.where(a == 255, 0, a + 1).astype(np.uint8), save),
    "gaps": ("gaps", lambda a: np.where(a == 255, 255, a * 20).astype(np.uint8), save),
    "colours": ("colours", lambda a: VOC[a], save),
    "palettes": ("palettes disagree", lambda a: a, save_shuffled),
    "either": ("mixed", lambda a: a, save_either),
    "floats": ("float", lambda a: a.astype(np.float32), save_array),
    "divided": ("float", lambda a: a / np.float32(255), save_array),
    "void": ("void value", lambda a: np.where(a == 255, 254, a).astype(np.uint8), save),
    "negative void": ("void value", lambda a: np.where(a == 255, np.int16(-1), a.astype(np.int16)), save_array),
}


def planted(shared, tmp_path, name, change, how, most=8):
    "Labels as somebody else would have saved them, and what the doctor says"
    images, labels, k = masks(shared, name, 3 if name == "chase_db1" else most)
    truth = [read_label(p) for p in labels]
    for i, ids in enumerate(truth): how(tmp_path / f"{i}.png", change(ids))
    paths = sorted(tmp_path.iterdir(), key=lambda p: int(p.stem))
    return diagnose(images, paths, k), truth


@pytest.mark.parametrize("case", PLANTED)
@pytest.mark.parametrize("name", SETS)
def test_planted(shared, tmp_path, name, case):
    kind, change, how = PLANTED[case]
    found, truth = planted(shared, tmp_path, name, change, how)
    if case in ("0 is void", "void", "negative void") and not any((t == 255).any() for t in truth): return
    assert [f.kind for f in found.findings] == [kind], found
    for sample, ids in zip(found.dataset(), truth, strict=True): assert np.array_equal(sample.label, ids)
    found.write(tmp_path / "repaired")
    for (_, label), ids in zip(found.pairs, truth, strict=True): assert np.array_equal(read_label(tmp_path / "repaired" / f"{label.stem}.png"), ids)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("kind,change", [("0 and 255", lambda a: a * np.uint8(255)), ("0 and 255, inverted", lambda a: (1 - a) * np.uint8(255)),
                                         ("inverted", lambda a: 1 - a), ("colours", lambda a: np.dstack([a * np.uint8(255)] * 3)),
                                         ("inverted", lambda a: np.dstack([(1 - a) * np.uint8(255)] * 3))])
def test_two_classes(shared, tmp_path, name, kind, change):
    found, truth = planted(shared, tmp_path, name, lambda a: change(np.where(a == 255, 0, a)), save)
    assert [f.kind for f in found.findings] == [kind], found
    for sample, ids in zip(found.dataset(), truth, strict=True): assert np.array_equal(sample.label, np.where(ids == 255, 0, ids))


@pytest.mark.parametrize("name", ["chase_db1", "nuclei_dsb"])
def test_a_few_masks_are_the_other_way_round(shared, tmp_path, name):
    images, labels, k = masks(shared, name, 40 if name == "nuclei_dsb" else 8)  # Of several stains, so like is compared with like
    truth = [read_label(p) for p in labels]
    few = [i for i, a in enumerate(truth) if a.mean() < 0.2][:2]  # Nobody could tell for a mask that is half black, half white
    for i, a in enumerate(truth): save(tmp_path / f"{i}.png", 1 - a if i in few else a)
    found = diagnose(images, [tmp_path / f"{i}.png" for i in range(len(truth))], k)
    assert [(f.kind, [p.stem for p in f.files]) for f in found.findings] == [("inverted files", [str(i) for i in few])], found
    found.write(tmp_path / "repaired")
    for i, a in enumerate(truth): assert np.array_equal(read_label(tmp_path / "repaired" / f"{i}.png"), a)


def soft(pixels): return cv2.resize(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), pixels.shape[1::-1])


@pytest.mark.parametrize("name,change,kind", [
    *[(n, lambda a: a * np.uint8(255), "soft edges") for n in ("chase_db1", "nuclei_dsb", "burn_s2")],
    ("coffee_leaf", lambda a: (np.where(a == 255, 0, a) * 127).astype(np.uint8), "soft edges"),
    *[(n, lambda a: VOC[np.where(a == 255, 0, a)], "colours") for n in ("coffee_leaf", "dubai_aerial")]])
@pytest.mark.parametrize("way", ["jpeg", "antialiased"])
def test_soft_edges(shared, tmp_path, name, change, kind, way):
    "Nearly all pixels come back; along edges nobody can know"
    def how(path, pixels): Image.fromarray(pixels).save(path, "JPEG", quality=90) if way == "jpeg" else save(path, soft(pixels))
    found, truth = planted(shared, tmp_path, name, lambda a: change(np.where(a == 255, 0, a)), how, 4)
    assert [f.kind for f in found.findings] == [kind], found
    right = [np.mean(s.label == np.where(t == 255, 0, t)) for s, t in zip(found.dataset(), truth, strict=True)]
    assert np.mean(right) > (0.93 if name == "chase_db1" else 0.97), right


def test_nothing_labelled_and_one_class(shared, tmp_path):
    assert [f.kind for f in planted(shared, tmp_path, "coffee_leaf", lambda a: np.full_like(a, 255), save)[0].findings] == ["unlabelled"]
    assert [f.kind for f in planted(shared, tmp_path, "coffee_leaf", lambda a: a * 0, save)[0].findings] == ["one class"]


def test_exif_turns_one_of_the_two(shared, tmp_path):
    images, labels, k = masks(shared, "coffee_leaf", 3)
    notes = Image.Exif()
    notes[0x0112] = 6
    for i, p in enumerate(images): Image.open(p).save(tmp_path / f"{i}.jpg", exif=notes if i == 1 else b"")
    found = diagnose([tmp_path / f"{i}.jpg" for i in range(3)], labels, k)
    assert [(f.kind, f.files) for f in found.findings] == [("EXIF", [labels[1]])] and "an EXIF note" in found.findings[0].words


def test_twins_between_two_sets(shared, tmp_path):
    images, labels, k = masks(shared, "dubai_aerial", 6)
    others = [tmp_path / "again.jpg", tmp_path / "small.png"]
    Image.open(images[2]).save(others[0], quality=70)
    Image.fromarray(to_rgb(cv2.resize(read_image(images[4]), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))).save(others[1])
    found = diagnose(images, labels, k, other_images=others)
    assert [(f.kind, f.files) for f in found.findings] == [("twins", sorted([images[2], images[4]]))]
    assert diagnose(images[:2], labels[:2], k, other_images=others).findings == []


def test_awkward_cases(shared):
    folder = shared / "data/awkward"

    def kinds(images, labels): return {f.kind for f in diagnose(folder / images, folder / labels).findings}
    assert "palettes disagree" in kinds("palette_png/*[13].jpg", "palette_png/*_mask.png")
    assert "colours" in kinds("rgb_colour_mask/*_p1.jpg", "rgb_colour_mask/*_mask.png")
    assert kinds("mask_16bit_wrong_size/0.png", "mask_16bit_wrong_size/*_predict.png") == {"size", "not ids"}
    assert kinds("sen1floods11_13band/*_S2Hand.tif", "sen1floods11_13band/*_LabelHand.tif") == {"void value"}
    assert kinds("mask_0_255/0.png", "mask_0_255/*_label.png") == {"0 and 255, inverted"}
    one_bit = folder / "onebit_mask"
    assert diagnose([one_bit / "Image_01L.jpg"], [one_bit / "Image_01L_1stHO.png"]).findings == []
    assert "no label" in kinds("missing_mask/JPEGImages", "mask_0_255/*_label.png")


def test_one_file_an_object(shared, tmp_path):
    folder = shared / "data/awkward/rgba_instance_masks"
    found = diagnose(folder / "*_image.png", folder / "masks")
    assert {f.kind for f in found.findings} == {"one file an object", "0 and 255"}
    found.write(tmp_path)
    joined, = tmp_path.iterdir()
    parts = [read_label(p) for p in (folder / "masks").iterdir()]
    assert np.array_equal(read_label(joined), (np.max(parts, 0) > 0).astype(np.uint8))


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
