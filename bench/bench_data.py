"""Pictures a second through our transforms, in one process, against the usual way and against albumentations where it can be imported.

bench/bench_data.py      decode, scale by 0.5 to 2, cut 512 x 512, mirror; ours leaves normalising to the batch
"""

import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from timing import interleave, line, ratio

from segnb.data.augment import ResizeStepScaling
from segnb.data.batches import Batches, training_batch
from segnb.data.datasets import SegDataset
from segnb.data.doctor import diagnose
from segnb.data.transforms import Compose, Normalize, RandomHorizontalFlip, RandomPaddingCrop

CROP, MEAN, STD = 512, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
RECIPE = Compose([ResizeStepScaling(0.5, 2.0, 0), RandomPaddingCrop(CROP), RandomHorizontalFlip(), Normalize()])


def draw(folder, n, height, width):
    "Soft noise as JPEG, blocks of 19 classes as PNG"
    folder.mkdir()
    for i in range(n):
        rng = np.random.default_rng(i)
        picture = cv2.resize(rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        picture = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        ids = cv2.resize(rng.integers(0, 19, (height // 64, width // 64), np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{i}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        cv2.imwrite(str(folder / f"{i}.png"), ids)
    return [(f"{i}.jpg", f"{i}.png") for i in range(n)]


def by_hand(image, ids, rng):
    "Each step for the whole picture"
    scale = rng.uniform(0.5, 2)
    image, ids = (cv2.resize(a, None, fx=scale, fy=scale, interpolation=i) for a, i in ((image, cv2.INTER_LINEAR), (ids, cv2.INTER_NEAREST)))
    low, right = (max(0, CROP - side) for side in ids.shape)
    image = cv2.copyMakeBorder(image, 0, low, 0, right, cv2.BORDER_CONSTANT, value=(127, 127, 127))
    ids = cv2.copyMakeBorder(ids, 0, low, 0, right, cv2.BORDER_CONSTANT, value=255)
    y, x = (rng.integers(side - CROP + 1) for side in ids.shape)
    image, ids = image[y : y + CROP, x : x + CROP], ids[y : y + CROP, x : x + CROP]
    if rng.random() < 0.5: image, ids = image[:, ::-1], ids[:, ::-1]
    return np.ascontiguousarray((image.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)), np.ascontiguousarray(ids)


def albumentations():
    "The same as a function of image, ids and rng, or None"
    if find_spec("albumentations") is None: return None
    A, ToTensorV2 = import_module("albumentations"), import_module("albumentations.pytorch").ToTensorV2
    steps = A.Compose([A.RandomScale((-0.5, 1.0), p=1), A.PadIfNeeded(CROP, CROP, fill=127, fill_mask=255), A.RandomCrop(CROP, CROP),
                       A.HorizontalFlip(), A.Normalize(MEAN, STD), ToTensorV2()])
    return lambda image, ids, rng: steps(image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB), mask=ids)


def cases(folder, files):
    "Ways to bring all pictures of a folder to crops"
    seeds = iter(range(10**9))
    read = lambda files: (cv2.imread(str(folder / files[0])), cv2.imread(str(folder / files[1]), cv2.IMREAD_UNCHANGED))
    plain, kept = SegDataset(folder, files, num_workers=0), SegDataset(folder, files, num_workers=0, cache_dir=folder / "kept")
    theirs = {"usual": by_hand, "albumentations": albumentations()}
    found = {name: lambda f=f: [f(*read(pair), np.random.default_rng(next(seeds))) for pair in files] for name, f in theirs.items() if f}
    for name, ds in (("ours", plain), ("kept", kept)):
        found[name] = lambda ds=ds: [training_batch([RECIPE.before_batch(s, np.random.default_rng(next(seeds)))]) for s in ds]
    return found


def main():
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp())
    for (height, width), goal in (((1024, 1024), 1.3), ((375, 500), 1.15)):
        files = draw(root / f"{height}", 12, height, width)
        times = interleave(cases(root / f"{height}", files), 25)
        base = "albumentations" if "albumentations" in times else "usual"
        line(f"{width} x {height} to a crop of {CROP}: speed, times {base}", f"{ratio(times, base, 'ours'):.2f}", f">= {goal}")
        line(f"{width} x {height}, decoded copies kept: speed, times {base}", f"{ratio(times, base, 'kept'):.2f}", ">= 4.0")
    several_epochs(root / "375", files)
    many = [root / "375" / f"{i % 12}.png" for i in range(500)]
    times = interleave({"doctor": lambda: diagnose([p.with_suffix(".jpg") for p in many], many, 19)}, 1)
    line("the doctor looks at 500 label maps, seconds", f"{times['doctor'][0]:.2f}", "<= 5")


def several_epochs(folder, files):
    "How long the first batch of the second epoch takes, with one process that reads"
    ds = SegDataset(folder, files, transforms=RECIPE, num_workers=1)
    batches = Batches(ds, 2, RECIPE.before_batch, training_batch, epochs=2)
    for _ in batches.epoch(1): torch.randn(400, 400) @ torch.randn(400, 400)
    start = time.perf_counter()
    next(batches.epoch(2))
    line("first batch of the second epoch, milliseconds", f"{1e3 * (time.perf_counter() - start):.1f}", "< 50")


if __name__ == "__main__": main()
