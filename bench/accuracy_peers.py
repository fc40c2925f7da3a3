"""What two of our networks learn from nothing in the budget that peers were given. Takes minutes; needs the recorded data.

bench/accuracy_peers.py [--recipes camvid isbi_em] [--seeds 0 1 2] [--out nbs/curves]

One recipe for both: SGD with momentum 0.9 and decay 4e-5, learning rate 0.01 * (1 - step/steps)^0.9, batch 8, cross entropy, flips, (x - 0.5) / 0.5,
the weights of the last step are judged, at the label's own resolution.
"""

import argparse
import os
import time
from pathlib import Path

import torch

from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize, RandomHorizontalFlip, RandomPaddingCrop, RandomVerticalFlip, Resize
from segnb.models import DeepLabv3p, UNet

SHARED = Path(os.environ.get("SEGNB_SHARED", Path(__file__).resolve().parents[2] / "shared"))
SMALL = Resize([256, 192])
RECIPES = dict(
    camvid=dict(make=lambda k: DeepLabv3p(k, backbone="MobileNetV2_x1.0"), steps=360, train=[SMALL, RandomHorizontalFlip()], val=[SMALL],
                peer="smp DeepLabV3+ mobilenet_v2 0.286 / 0.339, seeds 0 / 1"),
    isbi_em=dict(make=lambda k: UNet(k, input_channel=1), steps=150, train=[RandomHorizontalFlip(), RandomVerticalFlip(), RandomPaddingCrop(128)],
                 val=[], peer="plain U-Net 0.751"))


def sets(name, recipe):
    "Training and evaluation data"
    folder = SHARED / "data" / name
    def part(kind, transforms, shuffle=False):
        return SegDataset(folder, folder / f"{kind}_list.txt", folder / "labels.txt", Compose([*transforms, Normalize()]), 0, shuffle=shuffle)
    return part("train", recipe["train"], True), part("val", recipe["val"])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--recipes", nargs="*", default=list(RECIPES))
    p.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    p.add_argument("--rate", type=float, default=0.01, help="learning rate of the first step; the recipe's is 0.01")
    p.add_argument("--every", type=int, default=0, help="evaluate after each so many epochs; 0 looks eight times")
    p.add_argument("--out", default="output/peers", help="a folder for each run's log and models")
    a = p.parse_args()
    for name in a.recipes:
        recipe = RECIPES[name]
        train, val = sets(name, recipe)
        epochs = recipe["steps"] // (len(train) // 8)
        for seed in a.seeds:
            torch.manual_seed(seed)
            model, begin = recipe["make"](len(train.labels)), time.process_time()
            model.train(num_epochs=epochs, train_dataset=train, train_batch_size=8, eval_dataset=val, eval_batch_size=4, seed=seed,
                        save_interval_epochs=a.every or -(-epochs // 8), save_dir=Path(a.out) / f"{name}-{seed}",
                        pretrain_weights=None, learning_rate=a.rate)
            found = model.history.metrics[-1]
            print(f"{name:8} {type(model).__name__} seed {seed}, {len(model.history.losses)} steps from a rate of {a.rate:g}: "
                  f"mIoU {found['miou']:.3f} ({recipe['peer']}), "
                  f"accuracy {found['oacc']:.3f}; {time.process_time() - begin:.0f} s of CPU", flush=True)


if __name__ == "__main__": main()
