"""Evaluations: counted right for every kind of ids, at every size, and every pixel can be found again."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segnb.data.datasets import SegDataset
from segnb.data.images import write_label
from segnb.data.scenes import draw_scene
from segnb.data.transforms import Compose, Normalize, Padding, Resize
from segnb.infer.interpret import interpret
from segnb.metrics import ConfusionMatrix
from segnb.models import FastSCNN
from segnb.strips import classes_of

SIZES = [(64, 64), (70, 50), (64, 64), (48, 80), (70, 50), (64, 64)]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    "A model, and a set whose images differ in size"
    folder = tmp_path_factory.mktemp("mixed")
    for i, size in enumerate(SIZES):
        image, label = draw_scene(size, seed=i)
        label[:3, :4] = 255
        cv2.imwrite(str(folder / f"{i}.png"), image)
        write_label(folder / f"{i}_label.png", label)
    (folder / "list.txt").write_text("".join(f"{i}.png {i}_label.png\n" for i in range(len(SIZES))))
    torch.manual_seed(0)
    return FastSCNN(5), folder


def data(folder, *transforms): return SegDataset(folder, folder / "list.txt", transforms=Compose([*transforms, Normalize()]), num_workers=0)


@pytest.mark.parametrize("transforms", [(), (Resize([56, 40]),), (Padding(96),)], ids=["as it is", "resized", "padded"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_details_are_of_the_right_image(judged, transforms, batch_size):
    model, folder = judged
    val = data(folder, *transforms)
    metrics, details = model.evaluate(val, batch_size, return_details=True)
    total = np.zeros((5, 5), int)
    for i, sample in enumerate(val):
        answer = model.predict(sample.image, val.transforms)["label_map"]
        assert answer.shape == sample.label.shape
        assert (details.answer(i) == answer).mean() > 0.999  # Two classes may be equally likely, but for rounding
        assert details["images"][i]["name"] == f"{i}.png"
        total += ConfusionMatrix(5).update(details.answer(i), sample.label).counts
    assert details["confusion_matrix"] == total.tolist() and total.sum() == sum(w * h - 12 for w, h in SIZES)
    assert metrics["miou"] == pytest.approx(np.nanmean(np.diag(total) / (total.sum(0) + total.sum(1) - np.diag(total))))


def test_every_cell_can_be_found_again(judged):
    model, folder = judged
    seen = interpret(model.evaluate(data(folder), 3, return_details=True))
    for cell in np.argwhere(seen.counts):
        ranked = seen.cell(*cell)
        assert sum(int(seen.pixels(r.index, *cell).sum()) for r in ranked) == sum(r.value for r in ranked) == seen.counts[tuple(cell)]


def test_labels_that_changed_are_noticed(judged, tmp_path):
    model, folder = judged
    val = data(folder)
    seen = interpret(model.evaluate(val, return_details=True))
    true, called = np.argwhere(seen.counts)[0]
    worst = seen.cell(true, called)[0]
    val.file_list[worst.index] = (val.file_list[worst.index][0], tmp_path / "other.png")
    write_label(tmp_path / "other.png", np.full(SIZES[worst.index][::-1], (true + 1) % 5, np.uint8))
    with pytest.raises(RuntimeError, match="must be as it was when the model was evaluated"): seen.pixels(worst.index, true, called)


@pytest.mark.parametrize("classes", [2, 5, 254, 255, 256, 300])
@pytest.mark.parametrize("ignore_index", [0, 1, 255, 65535])
def test_counts(classes, ignore_index):
    rng = np.random.default_rng(classes)
    pred, label = rng.integers(0, classes, (2, 40, 50))
    label[rng.random(label.shape) < 0.2] = ignore_index
    keep = label != ignore_index
    if keep.any() and label[keep].max() >= classes: pytest.fail("the test is wrong")
    by_hand = np.zeros((classes, classes), int)
    np.add.at(by_hand, (label[keep], pred[keep]), 1)
    for kind in (np.uint8, np.uint16, np.int32, np.int64):
        if np.iinfo(kind).max < max(classes - 1, ignore_index): continue
        assert (ConfusionMatrix(classes, ignore_index).update(pred.astype(kind), label.astype(kind)).counts == by_hand).all(), kind


@pytest.mark.parametrize("label", [2, 3, 254, -1])
def test_classes_that_are_not_there(label):
    counts = ConfusionMatrix(2)
    with pytest.raises(ValueError, match=f"`label` must hold classes 0 to 1, got {min(label, 0)} to {max(label, 0)}"):
        counts.update(np.zeros(3, int), np.array([0, label, 255]))
    assert counts.counts.sum() == 0


def test_from_small_logits_as_from_large(judged):
    torch.manual_seed(1)
    for k, small, size in ((19, (16, 32), (128, 256)), (2, (9, 7), (100, 75)), (1, (8, 8), (61, 61)), (5, (40, 40), (40, 40))):
        logits = torch.randn(2, k, *small)
        large = F.interpolate(logits.double(), size, mode="bilinear", align_corners=True)
        best = large[:, 0] > 0 if k == 1 else large.argmax(1)
        assert torch.equal(classes_of(logits, size).long(), best.long())
