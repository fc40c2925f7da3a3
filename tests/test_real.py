"""Real pictures: a satellite scene and the membranes of the U-Net story."""

import numpy as np
import pytest
import torch

from segnb.data.datasets import SegDataset
from segnb.data.images import read_label
from segnb.data.transforms import Compose, Normalize, RandomHorizontalFlip, RandomPaddingCrop
from segnb.metrics import ConfusionMatrix
from segnb.models import FastSCNN, UNet, load_model

PLAIN = Compose([Normalize()])


def sets(folder, crop):
    "Training and validation set of a folder in list-file layout"
    augmented = Compose([RandomHorizontalFlip(), RandomPaddingCrop(crop), Normalize()])
    return [SegDataset(folder, folder / f"{name}_list.txt", folder / "labels.txt", t, num_workers=0, shuffle=name == "train")
            for name, t in (("train", augmented), ("val", PLAIN))]


def best_constant(dataset, num_classes):
    "mIoU of the best map that is one class everywhere"
    scores = []
    for c in range(num_classes):
        counts = ConfusionMatrix(num_classes)
        for sample in dataset: counts.update(np.full_like(sample.label, c), sample.label)
        scores.append(counts.metrics("zero")["miou"])
    return max(scores)


@pytest.fixture(scope="module")
def dubai(shared, tmp_path_factory):
    "FastSCNN after a short training on aerial pictures of unequal size"
    train, val = sets(shared / "data/dubai_aerial", 192)
    torch.manual_seed(0)
    model = FastSCNN(num_classes=5, multi_loss_weight=[1.0, 0.4, 0.4])
    out = tmp_path_factory.mktemp("dubai")
    model.train(30, train, 4, val, save_interval_epochs=30, save_dir=out, pretrain_weights=None, learning_rate=0.05)  # 330 steps
    return model, val, out


def test_aerial_training(dubai):
    model, val, out = dubai
    losses, metrics = model.history.losses, model.history.metrics[-1]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert metrics["miou"] > best_constant(val, 5) + 0.1, metrics
    assert load_model(out / "best_model").evaluate(val)["miou"] == pytest.approx(metrics["miou"], abs=1e-6)


def test_bf16_gives_the_same_classes(dubai):
    model, val, _ = dubai
    pairs = [[model.predict(sample.image, PLAIN, precision=p)["label_map"] for p in ("fp32", "bf16")] for sample in val]
    assert np.mean([(exact == quick).mean() for exact, quick in pairs]) >= 0.995


def test_tiles_agree_with_the_whole(dubai, record_property):
    "FastSCNN averages over all it sees, so no surround makes tiles equal to the whole image"
    model, val, _ = dubai
    image = max((sample.image for sample in val), key=lambda image: image.size)
    whole = model.predict(image, PLAIN)["label_map"]
    for pad in (0, 64, 128):
        agree = (model.overlap_tile_predict(image, [256, 256], [pad, pad], transforms=PLAIN)["label_map"] == whole).mean()
        record_property(f"agreement with a surround of {pad}", float(agree))
        print(image.shape, pad, agree)
    assert agree > 0.8


def test_aerial_scene_by_tiles(dubai, shared):
    model, _, _ = dubai
    image, label = (shared / "data/dubai_aerial" / p for p in (shared / "data/dubai_aerial/large_list.txt").read_text().split())
    first = model.overlap_tile_predict(str(image), batch_size=4)
    assert first["label_map"].shape == (4123, 5450) and first["label_map"].dtype == np.uint8
    second = model.overlap_tile_predict(str(image), batch_size=7)
    assert (first["label_map"] == second["label_map"]).all()
    scores = ConfusionMatrix(5).update(first["label_map"], read_label(label)).metrics()
    assert scores["oacc"] > 0.35, scores


def test_membranes(shared, tmp_path):
    "Grey, two classes, one band: U-Net's own problem"
    train, val = sets(shared / "data/isbi_em", 96)
    torch.manual_seed(0)
    model = UNet(num_classes=2, input_channel=1)
    model.train(24, train, 4, val, save_interval_epochs=24, save_dir=tmp_path, pretrain_weights=None, learning_rate=0.05)  # 120 steps
    assert np.mean(model.history.losses[-5:]) < np.mean(model.history.losses[:5])
    assert model.history.metrics[-1]["miou"] > best_constant(val, 2)
    image = val.file_list[0][0]
    a, b = (model.overlap_tile_predict(str(image), [256, 256], [32, 32], n)["label_map"] for n in (1, 4))
    assert a.shape == (512, 512) and (a == b).all()
