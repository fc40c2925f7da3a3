"""What a small network learns from many bands, against the best that one can do pixel by pixel. Takes minutes; needs the recorded data.

bench/accuracy_multiband.py [--sets burn_s2 clouds_6band] [--seed 0]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from segnb.data.augment import FillMissing
from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize, RandomHorizontalFlip, RandomPaddingCrop, RandomVerticalFlip
from segnb.models import FastSCNN, UNet

SHARED = Path(os.environ.get("SEGNB_SHARED", Path(__file__).resolve().parents[2] / "shared"))
HEADS = [1.0, 0.4, 0.4]
RECIPES = dict(burn_s2=dict(make=lambda k, bands: FastSCNN(k, input_channel=bands, multi_loss_weight=HEADS), steps=900, crop=160, rate=0.05),
               clouds_6band=dict(make=lambda k, bands: UNet(k, input_channel=bands), steps=240, crop=96, rate=0.02))  # Clouds have small holes
FLOORS = dict(burn_s2=0.754, clouds_6band=0.502)  # A threshold of the burn ratio; a linear discriminant of each pixel


def sets(name, crop):
    "Training and evaluation data, each band normalised by its own mean and spread"
    folder = SHARED / "data" / name
    def part(kind, transforms, shuffle=False):
        return SegDataset(folder, folder / f"{kind}_list.txt", folder / "labels.txt", transforms, 0, shuffle=shuffle)
    found = part("train", None).stats()
    n = len(found["mean"])
    normalize = Normalize(found["mean"], found["std"], [0] * n, [1] * n)
    augment = [FillMissing(), RandomHorizontalFlip(), RandomVerticalFlip(), RandomPaddingCrop(crop, found["mean"]), normalize]
    return part("train", Compose(augment), True), part("val", Compose([FillMissing(), normalize])), n


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--sets", nargs="*", default=list(FLOORS))
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    for name in a.sets:
        recipe = RECIPES[name]
        train, val, bands = sets(name, recipe["crop"])
        model, epochs = recipe["make"](len(train.labels), bands), recipe["steps"] // (len(train) // 4)
        begin = time.process_time()
        with tempfile.TemporaryDirectory() as out:
            for _ in model.training(epochs, train, 4, save_interval_epochs=epochs, save_dir=out, pretrain_weights=None,
                                    learning_rate=recipe["rate"], seed=a.seed): pass
        found, spent = model.evaluate(val), time.process_time() - begin
        ious = ", ".join(f"{label} {v:.3f}" for label, v in zip(train.labels, found["category_iou"], strict=True))
        print(f"{name:13} {type(model).__name__} seed {a.seed}: mIoU {found['miou']:.3f} (pixel by pixel {FLOORS[name]:.3f}), "
              f"accuracy {found['oacc']:.3f}; {ious}; {spent:.0f} s of CPU", flush=True)


if __name__ == "__main__": main()
