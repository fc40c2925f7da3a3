"""What a small network learns from many bands, against the best that one can do pixel by pixel. Takes minutes; needs the recorded data.

bench/accuracy_multiband.py [--sets burn_s2 clouds_6band] [--steps 900] [--seed 0]
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
    p.add_argument("--unet", action="store_true", help="UNet instead of FastSCNN")
    p.add_argument("--steps", type=int, default=900)
    p.add_argument("--crop", type=int, default=160)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--rate", type=float, default=0.05)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    for name in a.sets:
        train, val, bands = sets(name, a.crop)
        epochs = a.steps // (len(train) // a.batch)
        model = (UNet(len(train.labels), input_channel=bands) if a.unet else
                 FastSCNN(len(train.labels), input_channel=bands, multi_loss_weight=[1.0, 0.4, 0.4]))
        begin = time.process_time()
        with tempfile.TemporaryDirectory() as out:
            for _ in model.training(epochs, train, a.batch, save_interval_epochs=epochs, save_dir=out, pretrain_weights=None,
                                    learning_rate=a.rate, seed=a.seed): pass
        found, spent = model.evaluate(val), time.process_time() - begin
        ious = ", ".join(f"{label} {v:.3f}" for label, v in zip(train.labels, found["category_iou"], strict=True))
        print(f"{name:13} seed {a.seed}: mIoU {found['miou']:.3f} (pixel by pixel {FLOORS[name]:.3f}), accuracy {found['oacc']:.3f}; "
              f"{ious}; {spent:.0f} s of CPU", flush=True)


if __name__ == "__main__": main()
