"""Files as satellites, scanners and other libraries write them."""

import warnings

import numpy as np
import pytest
import rasterio
import torch

from segnb.data.augment import FillMissing
from segnb.data.datasets import SegDataset, value_counts
from segnb.data.images import read_image, read_label, write_label
from segnb.data.sample import Sample
from segnb.data.transforms import Compose, Normalize, RandomPaddingCrop
from segnb.geo import georeference
from segnb.models import FastSCNN


def test_windows_of_every_tiff(shared):
    found = sorted((shared / "data").rglob("*.tif"))
    assert len(found) >= 15
    for path in found:
        whole = read_image(path)
        h, w = whole.shape[:2]
        assert np.array_equal(read_image(path, (10, 20, w - 37, h - 41)), whole[20 : h - 21, 10 : w - 27], equal_nan=True), path


def test_thirteen_bands_and_labels_below_zero(shared):
    folder = shared / "data/awkward/sen1floods11_13band"
    scene, label = next(folder.glob("*S2Hand.tif")), next(folder.glob("*LabelHand.tif"))
    assert read_image(scene).shape == (512, 512, 13) and read_label(label).min() == -1
    data = SegDataset(folder, [(scene.name, label.name)], label_map={-1: 255})
    assert set(value_counts(data)) <= {0, 1, 255} and len(data.stats()["mean"]) == 13


def bands_of(shared, name, part, transforms, **options):
    folder = shared / "data" / name
    return SegDataset(folder, folder / f"{part}_list.txt", folder / "labels.txt", transforms, num_workers=0, **options)


@pytest.mark.parametrize("name,bands,classes", [("burn_s2", 5, 2), ("clouds_6band", 6, 5)])
def test_many_bands_are_learned_from(shared, tmp_path, name, bands, classes):
    "Normalised by what `stats` finds; holes are filled"
    found = bands_of(shared, name, "train", None).stats()
    assert len(found["mean"]) == bands and np.isfinite(list(found.values())).all()
    normalize = Normalize(found["mean"], found["std"], [0] * bands, [1] * bands)
    train = bands_of(shared, name, "train", Compose([FillMissing(), RandomPaddingCrop(96, [0.0] * bands), normalize]), shuffle=True)
    val = bands_of(shared, name, "val", Compose([FillMissing(), normalize]))
    model = FastSCNN(classes, input_channel=bands)
    model.train(2, train, 2, val, save_interval_epochs=2, save_dir=tmp_path, pretrain_weights=None)
    assert np.isfinite(model.history.losses).all()
    assert model.predict(val.file_list[0][0])["score_map"].shape[2] == classes


def test_holes_are_named(shared, tmp_path):
    train = bands_of(shared, "burn_s2", "train", Compose([Normalize([0.5] * 5, [0.5] * 5, [0] * 5, [1e4] * 5)]))
    with pytest.raises(ValueError, match=r"holds pixels that are not numbers.*put FillMissing\(\)"):
        FastSCNN(2, input_channel=5).train(1, train, 1, save_dir=tmp_path, pretrain_weights=None)


class Mirror:
    "Speaks like albumentations, which would bring a second OpenCV along"
    def set_random_seed(self, seed): self.rng = np.random.default_rng(seed)
    def __call__(self, image, mask): return dict(image=image[:, ::-1] + self.rng.integers(0, 2, image.shape, np.uint8), mask=mask[:, ::-1])


Mirror.__module__ = "albumentations.stand_in"


def test_transforms_of_albumentations():
    sample = Sample(np.random.default_rng(0).integers(0, 200, (40, 60, 3)).astype(np.uint8), np.tile(np.arange(60, dtype=np.uint8), (40, 1)))
    recipe = Compose([Mirror(), Normalize()])
    out = recipe(sample, np.random.default_rng(1))
    assert np.array_equal(out.label, sample.label[:, ::-1]) and np.abs(out.image - Normalize()(sample).image[:, ::-1]).max() < 0.01
    assert np.array_equal(out.image, recipe(sample, np.random.default_rng(1)).image)


def test_what_cannot_be_saved_is_refused_before_training(shared, tmp_path):
    train = bands_of(shared, "clouds_6band", "train", Compose([Normalize([0] * 6, [1] * 6, [0] * 6, [1] * 6)]))
    val = bands_of(shared, "clouds_6band", "val", Compose([Mirror(), *train.transforms.transforms]))
    with pytest.raises(ValueError, match="must have transforms of segnb only, because they are saved with the model, got Mirror"):
        FastSCNN(5, input_channel=6).train(1, train, 1, val, save_dir=tmp_path / "out", pretrain_weights=None)
    assert not (tmp_path / "out").exists()


def test_same_epoch_from_threads_and_processes(shared):
    from segnb.data.batches import Batches, training_batch

    def labels(workers, method):
        recipe = Compose([RandomPaddingCrop(64, [0.0] * 6), Normalize([0] * 6, [1] * 6, [0] * 6, [1] * 6)])
        data = bands_of(shared, "clouds_6band", "train", recipe, shuffle=True)
        data.num_workers, data.parallel_method = workers, method
        return torch.cat([b.labels for b in Batches(data, 2, data.transforms.before_batch, training_batch, True).epoch(1)])
    assert torch.equal(labels(0, "process"), labels(2, "thread")) and torch.equal(labels(0, "process"), labels(2, "process"))


def test_georeference_of_every_tiff_is_kept(shared, tmp_path):
    "Label maps written beside real scenes lie where rasterio says that the scenes lie"
    placed = 0
    for path in sorted((shared / "data").rglob("*.tif")):
        found = georeference(path)
        with warnings.catch_warnings(action="ignore"), rasterio.open(path) as f: transform, crs, nodata, size = f.transform, f.crs, f.nodata, f.shape
        assert (found is None) == (crs is None) and (found is None or (found.nodata == nodata and found.transform == tuple(transform)[:6]))
        if found is None: continue
        write_label(tmp_path / path.name, np.zeros(size, np.uint8), like=path)
        with rasterio.open(tmp_path / path.name) as f: assert (f.transform, f.crs, f.nodata, f.shape) == (transform, crs, 255, size)
        with rasterio.open(path) as f: assert np.allclose(found.window(11, 7).at(0, 0), f.xy(7, 11, offset="ul"), rtol=0, atol=1e-12)
        placed += 1
    assert placed >= 13
