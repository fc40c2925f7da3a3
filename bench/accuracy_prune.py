"""A trained model loses a third of its multiply-adds and keeps its mIoU. Takes minutes; needs the recorded data.

bench/accuracy_prune.py [FastSCNN | DeepLabv3p] [--loss 0.05 ...]
Several losses are tried on the same trained model, and beside them one that is not cut and learns on for as long.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch

from segnb.data.augment import ResizeRangeScaling
from segnb.data.datasets import SegDataset
from segnb.data.transforms import Compose, Normalize, RandomHorizontalFlip, RandomPaddingCrop, ResizeByLong
from segnb.models import DeepLabv3p, FastSCNN, load_model
from segnb.nets.channels import prune_net, ratios_of
from segnb.pruning import joint_sensitivities, savings, sensitivities
from segnb.weights.tables import read_sensitivities

SHARED = Path(os.environ.get("SEGNB_SHARED", Path(__file__).resolve().parents[2] / "shared"))
MAKE = dict(FastSCNN=lambda k: FastSCNN(k, multi_loss_weight=[1.0, 0.4, 0.4]), DeepLabv3p=lambda k: DeepLabv3p(k, "MobileNetV2_x0.5"))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model", nargs="?", default="FastSCNN", choices=MAKE)
    p.add_argument("--data", default="coffee_leaf")
    p.add_argument("--epochs", type=int, default=24)
    p.add_argument("--more", type=int, default=12, help="epochs after the cut")
    p.add_argument("--side", type=int, default=256, help="long side of the pictures")
    p.add_argument("--crop", type=int, default=128)
    p.add_argument("--loss", type=float, nargs="+", default=[0.05])
    p.add_argument("--judged", type=int, default=30, help="pictures that sensitivities are measured on")
    p.add_argument("--joint", type=float, default=0.05, help="loss that all cuts together may cost at once")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    torch.manual_seed(a.seed)
    folder = SHARED / "data" / a.data
    def part(kind, *transforms, shuffle=False):
        return SegDataset(folder, folder / f"{kind}_list.txt", folder / "labels.txt", Compose([*transforms, Normalize()]), 0, shuffle=shuffle)
    train = part("train", ResizeRangeScaling(a.side, int(1.3 * a.side)), RandomHorizontalFlip(), RandomPaddingCrop(a.crop), shuffle=True)
    val, few = part("val", ResizeByLong(a.side)), part("val", ResizeByLong(a.side))
    few.file_list = few.file_list[:: max(1, len(val) // a.judged)]
    common = dict(train_dataset=train, train_batch_size=8, pretrain_weights=None, seed=a.seed)

    def learn(model, epochs, **options):
        with tempfile.TemporaryDirectory() as out:
            events = model.training(epochs, **common, save_interval_epochs=epochs, save_dir=out, **options)
            return [e.message for e in events if getattr(e, "message", "").startswith(("prun", "nothing was pruned"))], model.evaluate(val)["miou"]
    with tempfile.TemporaryDirectory() as place:
        begin, table, whole = time.process_time(), Path(place) / "table.json", Path(place) / "whole"
        def say(words): print(f"{words}; {time.process_time() - begin:.0f} s of CPU", flush=True)
        model = MAKE[a.model](len(train.labels))
        _, before = learn(model, a.epochs, learning_rate=0.05)
        model.save_model(whole)
        say(f"{a.model} on {a.data}: mIoU {before:.3f} after {a.epochs} epochs")
        found = sensitivities(model, few, table, ratios=(0.2, 0.4, 0.6, 0.8))
        say(f"sensitivities of {len(found)} groups")
        for loss, parameters, macs in savings(model, table, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)):
            print(f"  at a loss of {loss:.2f}: {100 * parameters:.0f} % of the parameters, {100 * macs:.0f} % of the multiply-adds left", flush=True)
        _, after = learn(load_model(whole), a.more, learning_rate=0.02)
        say(f"not cut: mIoU {after:.3f} after {a.more} more epochs")
        joint = Path(place) / "joint.json"
        joint_sensitivities(load_model(whole), table, few, joint, a.joint)
        for file, loss in [*((table, loss) for loss in a.loss), (joint, a.joint)]:
            cut = load_model(whole)
            prune_net(cut.net, ratios_of(read_sensitivities(file, cut.net.state_dict()), loss))
            at_once = cut.evaluate(val)["miou"]
            (note,), after = learn(load_model(whole), a.more, learning_rate=0.02, sensitivities_file=file, eval_metric_loss=loss)
            say(f"{file.stem} at {loss}: {note}; mIoU {before:.3f} before, {at_once:.3f} at once, {after:.3f} after {a.more} more epochs "
                f"({100 * (before - after) / before:.1f} % lost)")


if __name__ == "__main__": main()
