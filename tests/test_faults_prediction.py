"""Faults of prediction, by their row in the catalogue: what is wrong is said, nothing is half done, and what is merely odd works."""

import os
import sys
import threading

import numpy as np
import pytest
import rasterio
import tifffile
import torch
from PIL import Image
from rasterio.transform import Affine

from segnb.data.images import read_label
from segnb.data.scenes import draw_scene
from segnb.data.transforms import Compose, Normalize, RandomHorizontalFlip, RandomPaddingCrop
from segnb.geo import nodata_of, place_tags
from segnb.infer.disk import Growing
from segnb.infer.rows import Job
from segnb.infer.source import Scene
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet

PLAIN = Compose([Normalize()])
PLACE = [(33550, 12, 3, (0.5, 0.25, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 4.8e6, 0.0), True),
         (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True), (42113, 2, 0, "0", True)]


def made(kind, **options):
    "An untrained model, louder than it would be: its network hardly prefers any class"
    torch.manual_seed(0)
    model = kind(5, **options)
    model.test_transforms = PLAIN
    last = [m for m in model.net.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    with torch.no_grad(): last.weight.mul_(1e4)
    return model


@pytest.fixture(scope="module")
def model(): return made(FastSCNN)


@pytest.fixture(scope="module")
def image(): return draw_scene((150, 110), seed=3)[0]


def label(model, image, **options): return model.overlap_tile_predict(image, [48, 40], [16, 12], **options)["label_map"]


@pytest.mark.parametrize("wrong,error,words", [
    pytest.param(b"bytes", TypeError, "must be a path or a numpy array .* got a bytes", id="D1 bytes"),
    pytest.param([1, 2], TypeError, "must be a path or a numpy array .* got a list", id="D1 list"),
    pytest.param(torch.zeros(3, 4, 4), TypeError, "must be a path or a numpy array .* got a Tensor", id="D1 tensor"),
    pytest.param(Image.new("RGB", (4, 4)), TypeError, "must be a path or a numpy array .* got a Image", id="D1 PIL"),
    pytest.param(np.float32(3), TypeError, "got a float32", id="D1 number"),
    pytest.param("no/such.png", FileNotFoundError, "no/such.png", id="D1 missing"),
    pytest.param("no/such.zarr", FileNotFoundError, "no/such.zarr", id="D1 missing zarr"),
    pytest.param(np.zeros((4, 4, 4)), ValueError, "4 bands", id="D1 bands"),
    pytest.param(np.zeros((0, 4, 3)), ValueError, "shape", id="D1 empty"),
    pytest.param(np.zeros((4, 4, 3), complex), TypeError, "real numbers", id="D1 complex"),
    pytest.param(np.full((4, 4, 3), np.nan), ValueError, "finite|nan", id="D1 nan"),
    pytest.param(np.array(3.0), ValueError, "shape", id="D3 0-d")])
def test_what_is_no_image_is_refused(model, wrong, error, words):
    for verb in (model.predict, model.overlap_tile_predict):
        with pytest.raises(error, match=words): verb(wrong)


def test_D1_a_folder_is_no_image(model, tmp_path):
    with pytest.raises((FileNotFoundError, IsADirectoryError), match=str(tmp_path)): model.predict(tmp_path)


@pytest.mark.parametrize("change", [
    pytest.param(np.asfortranarray, id="D3 Fortran"), pytest.param(lambda a: a[::-1].copy()[::-1], id="D3 negative strides"),
    pytest.param(lambda a: a.astype(">u2"), id="D3 big-endian"), pytest.param(lambda a: a.astype(np.float32), id="D3 float"),
    pytest.param(lambda a: np.pad(a, ((0, 0), (0, 0), (0, 2)))[..., :3], id="D3 gaps"), pytest.param(lambda a: a.astype(np.uint16), id="D3 16 bits")])
def test_the_form_of_an_array_does_not_matter(model, image, change):
    given = change(image)
    given.flags.writeable = False
    before = given.tobytes()
    assert (model.predict(given)["label_map"] == model.predict(image)["label_map"]).all()
    assert (label(model, given) == label(model, image)).all() and given.tobytes() == before


@pytest.mark.parametrize("kind,options,sides", [
    pytest.param(FastSCNN, {}, range(1, 41), id="D4 FastSCNN"),
    pytest.param(DeepLabv3p, dict(backbone="MobileNetV2_x0.25"), range(1, 41, 3), id="D4 DeepLabv3p"),
    pytest.param(UNet, {}, (1, 7, 17, 33), id="D4 UNet"), pytest.param(HRNet, dict(width="18_small_v1"), (1, 3, 17, 31), id="D4 HRNet")])
def test_every_size_comes_back(image, kind, options, sides):
    model = made(kind, **options)
    for n in sides:
        for part in (image[:n, :n], image[:1, :n], image[:n, : 41 - n]):
            assert model.predict(part)["label_map"].shape == part.shape[:2] == label(model, part).shape


def test_D5_no_transforms(image):
    with pytest.raises(ValueError, match="`transforms` must be given"): FastSCNN(5).predict(image)
    with pytest.raises(ValueError, match="`transforms` must be given"): FastSCNN(5).overlap_tile_predict(image)


@pytest.mark.parametrize("wrong,error", [
    pytest.param(Compose([RandomHorizontalFlip(), Normalize()]), ValueError, id="D6 random"),
    pytest.param(Compose([RandomPaddingCrop(32), Normalize()]), ValueError, id="D6 crop"),
    pytest.param([Normalize()], TypeError, id="D6 list"), pytest.param(Normalize(), TypeError, id="D6 one")])
def test_transforms_that_do_not_predict(model, image, wrong, error):
    for verb, given in ((model.predict, image), (model.batch_predict, [image]), (model.overlap_tile_predict, image)):
        with pytest.raises(error, match="`transforms` must"): verb(given, transforms=wrong)


def test_D7_lists(model, image, tmp_path):
    assert model.batch_predict([]) == []
    assert len(model.batch_predict((image, image))) == 2
    with pytest.raises(TypeError, match="got a generator"): model.batch_predict(i for i in [image])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    five = [image, image[:50], tmp_path / "bad.png", image, image]
    with pytest.raises(ValueError, match=r"image 2 of the list: .*bad\.png"): model.batch_predict(five)
    with pytest.warns(UserWarning, match="image 2 of the list is left out"): found = model.batch_predict(five, errors="skip")
    assert found[2] is None and [f["label_map"].shape[0] for f in found if f] == [110, 50, 110, 110]


def test_D8_company_changes_nothing(model, image):
    images = [image, image[:50], image[:, :77], image, image[:50], image[:1, :1]]
    together = model.batch_predict(images)
    assert all((a["label_map"] == model.predict(b)["label_map"]).all() and a["label_map"].shape == b.shape[:2] for a, b in zip(together, images))


@pytest.mark.parametrize("kind,options", [pytest.param(FastSCNN, {}, id="D9 FastSCNN"),
                                          pytest.param(DeepLabv3p, dict(backbone="MobileNetV2_x0.25"), id="D9 DeepLabv3p, which drops out")])
def test_evaluation_mode_is_lent_and_given_back(image, kind, options):
    model = made(kind, **options)
    expected = model.predict(image)["label_map"]
    model.net.train()  # As an interrupted training leaves it
    before = {k: v.clone() for k, v in model.net.state_dict().items()}
    assert all((model.predict(image)["label_map"] == expected).all() for _ in range(2))
    assert model.net.training and all((v == before[k]).all() for k, v in model.net.state_dict().items())


@pytest.mark.parametrize("name", ["tile_size", "pad_size"])
@pytest.mark.parametrize("value", [[0.5, 3], 64, [64], [64, 64, 64], [-1, 5], "64", [np.nan, 5], None], ids=lambda v: f"D11 {v}")
def test_sizes_that_are_none(model, image, name, value):
    with pytest.raises((TypeError, ValueError), match=f"`{name}` must be"): model.overlap_tile_predict(image, **{name: value})


def test_D11_a_surround_may_be_wider_than_tile_and_image(model, image):
    assert model.overlap_tile_predict(image[:20, :20], [8, 8], [40, 40])["label_map"].shape == (20, 20)
    with pytest.raises(ValueError, match="`tile_size` must be"): model.overlap_tile_predict(image, [0, 64])


def test_D12_memory_is_asked_for_before_it_is_taken(model, image, monkeypatch):
    import segnb.infer.rows as rows
    monkeypatch.setattr(rows.os, "sysconf", lambda name: 10)
    result = model.overlap_tile_predict(image, [48, 40], [16, 12])
    with pytest.raises(MemoryError, match="out='labels.tif'"): result["score_map"]


def test_D14_where_nothing_can_be_written(model, image, tmp_path, monkeypatch):
    (tmp_path / "there.npy").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="pass overwrite=True"): label(model, image, out=tmp_path / "there.npy")
    assert (tmp_path / "there.npy").read_bytes() == b"precious"
    with pytest.raises(FileNotFoundError, match="make it first"): label(model, image, out=tmp_path / "no/a.npy")
    with pytest.raises(ValueError, match=r"must be a \.tif, \.npy or \.zarr"): label(model, image, out=tmp_path / "a.jpg")
    with pytest.raises(OSError, match="must have room for"): Growing(tmp_path / "big", (2**40, 2**20), np.uint8, "")
    with monkeypatch.context() as m, pytest.raises(PermissionError, match="must lie in a folder that can be written to"):
        m.setattr(os, "access", lambda path, how: False)
        label(model, image, out=tmp_path / "a.npy")
    with monkeypatch.context() as m, pytest.raises(ImportError, match=r"labels.zarr is a zarr array, .*pip install segnb\[zarr\]"):
        m.setitem(sys.modules, "zarr", None)
        label(model, image, out=tmp_path / "labels.zarr")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["there.npy"]
    with pytest.raises(ValueError, match="must not be the image itself"):
        np.save(tmp_path / "a.npy", image)
        label(model, tmp_path / "a.npy", out=tmp_path / "a.npy", overwrite=True)


def test_D15_two_threads(model, image):
    alone, found = label(model, image[:40]), []
    threads = [threading.Thread(target=lambda: found.extend(label(model, image[:40]) for _ in range(50))) for _ in range(2)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert len(found) == 100 and all((f == alone).all() for f in found)


def test_D16_out_of_memory_leaves_a_model_that_works(model, image, monkeypatch):
    import segnb.infer.asker as asker
    expected = label(model, image)
    def full(net, x): raise torch.OutOfMemoryError("no memory")
    with monkeypatch.context() as m:
        m.setattr(asker, "inference_copy", lambda net, x, precision: net)
        m.setattr(asker, "small_logits", full)
        with pytest.raises(MemoryError, match="batch_size"): model.predict(image)
    assert (label(model, image) == expected).all()


def test_D17_a_file_that_changes_is_named(model, image, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", image[..., ::-1], tile=(32, 32), photometric="rgb")
    job = Job(model._asker(None), Scene(tmp_path / "a.tif", 3), (48, 20), (0, 0))
    rows = job.rows()
    next(rows)
    os.utime(tmp_path / "a.tif", ns=(1, 1))
    with pytest.raises(RuntimeError, match="must not change while it is read"): list(rows)   # The next one may have been read already


def test_D18_georeference_and_nodata(model, image, tmp_path):
    image = image.copy()
    image[:60, :70] = 0
    tifffile.imwrite(tmp_path / "in.tif", image[..., ::-1], tile=(32, 32), photometric="rgb", extratags=PLACE)
    result = model.overlap_tile_predict(tmp_path / "in.tif", [48, 40], [16, 12], out=tmp_path / "out.tif")
    ids = read_label(tmp_path / "out.tif")
    assert (ids[:60, :70] == 255).all() and (ids != 255).any() and (result["label_map"] == ids).all()
    assert (ids == label(model, tmp_path / "in.tif")).all()
    assert [t[:4] for t in place_tags(tmp_path / "out.tif")] == [t[:4] for t in PLACE[:3]] and nodata_of(tmp_path / "out.tif") == 255
    assert (label(model, tmp_path / "in.tif", nodata=None) != 255).all()
    with tifffile.TiffFile(tmp_path / "out.tif") as f: assert f.pages[0].photometric == 3 and f.pages[0].is_tiled


@pytest.mark.parametrize("transform,crs", [
    pytest.param((10, 0, 600_000, 0, -10, 4_100_040), "EPSG:32611", id="D18 north up"),
    pytest.param((10, 0, 600_000, 0, 10, 4_000_000), "EPSG:32611", id="D18 south up"),
    pytest.param((8.1, -3.2, 5.5, 3.2, 8.1, 7.25), "EPSG:3035", id="D18 turned"),
    pytest.param((8.1, -1.7, 5.5, 0, -8.1, 7.25), "EPSG:4326", id="D18 skewed"),
    pytest.param((0.5, 0, 100, 0, -0.5, 200), None, id="D18 no coordinate system")])
def test_a_place_is_copied_exactly(model, image, tmp_path, transform, crs):
    image = image.copy()
    image[:60, :70] = 7
    look = dict(photometric="rgb", interleave="pixel")
    with rasterio.open(tmp_path / "in.tif", "w", "GTiff", 150, 110, 3, crs, Affine(*transform), "uint8", 7, **look) as f:
        f.write(image[..., ::-1].transpose(2, 0, 1))
    found = model.overlap_tile_predict(tmp_path / "in.tif", [48, 40], [16, 12], out=tmp_path / "out.tif", scores="uint8")
    with rasterio.open(tmp_path / "in.tif") as given:
        for name, nodata in (("out", 255), ("out.scores", None)):
            with rasterio.open(tmp_path / f"{name}.tif") as f: assert (f.transform, f.crs, f.nodata) == (given.transform, given.crs, nodata)
    assert (found["label_map"][:60, :70] == 255).all() and (found["score_map"][:60, :70] == 0).all()
    measured = ~(image == 7).all(2)
    assert (found["label_map"][measured] == label(model, image)[measured]).all()
