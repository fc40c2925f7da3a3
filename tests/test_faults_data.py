"""The public catalogue of faults, group B: data sets and label files. The number of each case stands in the name of its test."""

import os
import pickle
import resource
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageFile

from segnb.data.augment import FillMissing
from segnb.data.batches import Batches, training_batch
from segnb.data.conventions import Facts, of_numbers
from segnb.data.datasets import SegDataset, check_dataset
from segnb.data.doctor import diagnose, find_twins
from segnb.data.images import read_image, read_label, write_label
from segnb.data.lists import read_pairs
from segnb.data.sample import Sample
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.models import FastSCNN

PLAIN = Compose([Normalize()])


@pytest.fixture
def folder(tmp_path): return write_scenes(tmp_path / "set", train=3, val=1, size=(64, 64))


def data(folder, name="train", **options):
    return SegDataset(folder, folder / f"{name}_list.txt", folder / "labels.txt", **{"transforms": PLAIN, "num_workers": 0, **options})


def lines(folder): return (folder / "train_list.txt").read_text().split("\n")[:3]


def relist(folder, *text): (folder / "train_list.txt").write_text("\n".join(text))


def test_b1_list_is_a_folder(folder):
    (folder / "train_list.txt").unlink()
    (folder / "train_list.txt").mkdir()
    with pytest.raises(FileNotFoundError, match="train_list.txt is a folder, where a list file should be"): data(folder)


def test_b3_one_list_in_seven_spellings(folder):
    plain, expected = lines(folder), data(folder).file_list
    for text in ("\r\n".join(plain), "\ufeff" + "\n".join(plain), "\n\n".join(plain) + "\n\n  \n", "# by hand\n" + "\n".join(plain),
                 "\n".join(plain).replace(" ", "\t"), "\n".join(plain).replace("/", "\\"), "\n".join(f" {p} " for p in plain)):
        (folder / "train_list.txt").write_bytes(text.encode())
        assert data(folder).file_list == expected


def test_b4_blanks_quotes_and_letters_of_the_world(tmp_path):
    names = ("ein bild ü.png", "etikett 标签.png")
    Image.new("RGB", (8, 8)).save(tmp_path / names[0])
    write_label(tmp_path / names[1], np.zeros((8, 8), np.uint8))
    for text in ("\t".join(names), " ".join(f'"{n}"' for n in names)):
        (tmp_path / "list.txt").write_text(text, encoding="utf-8")
        assert SegDataset(tmp_path, tmp_path / "list.txt")[0].label.shape == (8, 8)
    for text in (" ".join(names), f'"{names[0]} {names[1]}'):
        (tmp_path / "list.txt").write_text("# first\n" + text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"list.txt, line 2: a line must hold an image and its label, got \d names"):
            read_pairs(tmp_path / "list.txt")


def test_b5_lists_do_not_leave_their_folder(folder, tmp_path):
    first, good = lines(folder)[:2]
    image, label = first.split()
    outside = tmp_path / "outside.png"
    outside.write_bytes((folder / image).read_bytes())
    os.symlink(outside, folder / "link.png")
    for name in ("../outside.png", "..\\outside.png", str(outside), "JPEGImages/../../outside.png", "link.png"):
        relist(folder, good, f"{name} {label}")
        with pytest.raises(ValueError, match="train_list.txt, line 2: .* lies outside `data_dir`, which is .*; pass allow_outside=True"): data(folder)
        assert len(data(folder, allow_outside=True)[1].image) == 64


def test_b6_the_same_line_twice_and_two_labels(folder):
    a, b, c = lines(folder)
    relist(folder, a, b, a, c)
    with pytest.warns(UserWarning, match="names 1 samples twice, such as in lines 1 and 3"): assert len(data(folder)) == 4
    relist(folder, a, b, f"{a.split()[0]} {c.split()[1]}")
    with pytest.raises(ValueError, match=f"lines 1 and 3: {a.split()[0]} has two labels"): data(folder)


def test_b7_one_picture_in_both_sets(folder):
    train, val = data(folder), data(folder, "val")
    assert find_twins(train, val) == []
    val.file_list[0][0].write_bytes(train.file_list[1][0].read_bytes())
    assert [(a, b) for a, b, _ in find_twins(train, val)] == [(train.file_list[1][0], val.file_list[0][0])]


def test_b10_a_name_that_lies(folder):
    train = data(folder)
    for image, _ in train.file_list[:2]: Image.open(image).convert("RGB").save(image, "JPEG")
    with pytest.warns(UserWarning, match="2 files are not what their names say, such as .*, which is JPEG; they are read as what they are") as said:
        check_dataset(train, FastSCNN(5).check)
    assert len(said) == 1


@pytest.mark.parametrize("values,expected", [(np.array([[0, 1]], bool), [0, 1]), (np.array([[0, 300]], np.uint16), [0, 300]),
                                             (np.array([[0.0, 2.0]]), [0, 2]),
                                             (np.array([[-1, 2]], np.int16), [-1, 2]), (np.array([[0, 1.5]]), None), (np.array([[np.nan, 1]]), None),
                                             (np.array([["a", "b"]]), None), (np.zeros((2, 2, 2), np.uint8), None)])
def test_b13_kinds_of_numbers(tmp_path, values, expected):
    np.save(tmp_path / "a.npy", values)
    if expected is None:
        with pytest.raises(ValueError, match="a.npy must hold whole numbers"): read_label(tmp_path / "a.npy")
    else: assert read_label(tmp_path / "a.npy")[0].tolist() == expected


def test_b13_one_bit(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png").tolist() == [[0, 1]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK"])
def test_b14_labels_with_several_bands(tmp_path, mode):
    path = tmp_path / ("a.png" if mode != "CMYK" else "a.jpg")
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(ValueError, match=f"must hold one class id per pixel, got a {mode} picture"): read_label(path)


def test_b15_size_and_a_hint(folder):
    train = data(folder)
    write_label(train.file_list[0][1], np.zeros((64, 32), np.uint8))
    with pytest.raises(ValueError, match=r"got 64 x 64 in .* and 32 x 64 in"): train[0]
    write_label(train.file_list[0][1], np.zeros((64, 48), np.uint8))
    Image.new("RGB", (64, 48)).save(train.file_list[0][0])
    assert "lies on its side" in diagnose([train.file_list[0][0]], [train.file_list[0][1]]).findings[0].words


RED = np.full((16, 16, 3), (200, 30, 60), np.uint8)


@pytest.mark.parametrize("name,make,expected", [
    ("cmyk.jpg", lambda p: Image.fromarray(RED).convert("CMYK").save(p, quality=100), (60, 30, 200)),
    ("grey.png", lambda p: Image.fromarray(RED[..., 0]).save(p), (200,)),
    ("opacity.png", lambda p: Image.fromarray(np.dstack([RED[..., 0], RED[..., 1]]), "LA").save(p), (200,)),
    ("deep.png", lambda p: Image.fromarray(np.full((4, 4), 60000, np.uint16)).save(p), (60000,)),
    ("float.tif", lambda p: Image.fromarray(np.full((4, 4), 0.25, np.float32)).save(p), (0.25,)),
    ("palette.png", lambda p: Image.fromarray(RED).quantize(4).save(p, transparency=0), (60, 30, 200)),
    ("rgba.png", lambda p: Image.fromarray(np.dstack([RED, RED[..., :1]]), "RGBA").save(p), (60, 30, 200, 200))])
def test_b17_modes(tmp_path, name, make, expected):
    make(tmp_path / name)
    found = read_image(tmp_path / name)[2, 2]
    assert len(found) == len(expected) and np.abs(found.astype(float) - expected).max() <= 3, found


def test_b18_sixteen_bits_are_not_cut(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (8, 8, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="minisblack", planarconfig="contig")
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image, deep)
    done = Normalize([0.0] * 3, [1.0] * 3, [0.0] * 3, [65535.0] * 3)(Sample(image)).image
    assert np.allclose(done, deep / 65535, atol=1e-6)


def test_b19_bands_that_differ(folder):
    train = data(folder)
    Image.new("L", (64, 64)).save(train.file_list[2][0])
    with pytest.raises(ValueError, match=rf"the image of .*{train.file_list[2][1].name} has 1 bands, the model wants 3"):
        FastSCNN(5).train(1, train, 1, save_dir=folder / "out", pretrain_weights=None)


def bomb(path, side=20000):
    "A PNG of 400 million zeros, in some 400 kilobytes"
    def chunk(kind, body): return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    squeeze = zlib.compressobj(9)
    rows = b"".join([squeeze.compress(bytes((side + 1) * 100)) for _ in range(side // 100)] + [squeeze.flush()])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def test_b20_bombs_are_refused_in_little_memory(tmp_path):
    bomb(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 500_000
    tifffile.imwrite(tmp_path / "bomb.tif", shape=(1, 1), dtype=np.uint8)
    data = bytearray((tmp_path / "bomb.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "bomb.tif") as f:
        for tag in (256, 257): data[f.pages[0].tags[tag].valueoffset : f.pages[0].tags[tag].valueoffset + 4] = (900_000).to_bytes(4, "little")
    (tmp_path / "bomb.tif").write_bytes(data)
    code = """
import resource, sys
from segnb.data.images import read_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in ("bomb.png", "bomb.tif"):
    try: read_image(name)
    except ValueError as e: assert "MAX_IMAGE_PIXELS" in str(e) and name in str(e), e
    else: sys.exit(f"{name} was read")
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "more than 100 MB"
"""
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_b21_half_files_are_refused_whatever_another_library_allows(tmp_path, monkeypatch):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:2000])
    for allowed in (False, True):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", allowed)
        with pytest.raises(ValueError): read_image(tmp_path / "a.jpg")


def test_b22_nothing_labelled(folder):
    train = data(folder)
    for _, label in train.file_list[:2]: write_label(label, np.full((64, 64), 255, np.uint8))
    model = FastSCNN(5)
    model.train(1, train, 1, save_dir=folder / "out", pretrain_weights=None)
    assert np.isfinite(model.history.losses).all() and model.history.losses.count(0.0) == 2


def test_b23_only_class_0(folder):
    train = data(folder)
    for _, label in train.file_list: write_label(label, np.zeros((64, 64), np.uint8))
    with pytest.warns(UserWarning, match="only class 0 found"): check_dataset(train, FastSCNN(5).check)
    assert of_numbers([Facts(folder, "ids", (1, 1), {0: 9})] * 3, 5).kind == "one class"
    with warnings.catch_warnings(action="error"): check_dataset(data(folder, "val"), FastSCNN(5).check)


@pytest.mark.parametrize("names,words", [("a\nb\nb\nc\nd", "must name each class once, got 'b' twice"), ("a\nb\n", "names 2 classes"),
                                         ("a\n\nb\nc\nd\ne\nf", "names 6 classes")])
def test_b24_names_of_classes(folder, names, words):
    (folder / "labels.txt").write_text(names)
    with pytest.raises(ValueError, match=words): FastSCNN(5).train(1, data(folder), 1, save_dir=folder / "out", pretrain_weights=None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_b25_pixels_that_are_not_numbers(folder, value):
    train, image = data(folder), np.zeros((64, 64, 3), np.float32)
    image[5, 6, 1] = value
    tifffile.imwrite(folder / "JPEGImages" / "a.tif", image, photometric="rgb")
    train.file_list[1] = (folder / "JPEGImages" / "a.tif", train.file_list[1][1])
    with pytest.raises(ValueError, match=rf"{train.file_list[1][1].name} holds pixels that are not numbers.*FillMissing"):
        FastSCNN(5).train(1, train, 1, save_dir=folder / "out", pretrain_weights=None)
    assert np.isfinite(FillMissing()(train[1]).image).all()


def test_b26_several_pictures_in_one_file(tmp_path):
    pages = [Image.fromarray(np.full((8, 9), i, np.uint8)) for i in range(3)]
    for name in ("stack.tif", "moving.gif", "moving.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        for read in (read_image, read_label):
            with pytest.raises(ValueError, match=f"{name} cannot be read as an image: it"): read(tmp_path / name)
    with tifffile.TiffWriter(tmp_path / "two.tif") as f:
        for side in (20, 10): f.write(np.zeros((side, side), np.uint8))
    with pytest.warns(UserWarning, match="holds 2 pictures of different sizes; the first is read"):
        assert read_image(tmp_path / "two.tif").shape == (20, 20, 1)


def test_b27_what_is_no_file(folder):
    image = data(folder).file_list[0][0]
    image.unlink()
    image.mkdir()
    with pytest.raises(FileNotFoundError, match=f"names 1 files that are not there:\n  line 1: .*{image.name}"): data(folder)
    image.rmdir()
    os.symlink(image.with_name("gone.png"), image)
    with pytest.raises(FileNotFoundError, match=image.name): data(folder)


def test_b28_a_file_that_is_gone_later(folder):
    train, model = data(folder), FastSCNN(5)
    lost = train.file_list[1][0]
    def remove(event):
        if type(event).__name__ == "Saved" and lost.exists(): lost.unlink()
    with pytest.raises(FileNotFoundError, match=lost.name):
        model.train(3, train, 1, save_dir=folder / "out", pretrain_weights=None, observers=[remove])
    assert (folder / "out" / "epoch_1" / "MANIFEST.json").exists()


def test_b29_a_data_set_of_ones_own(folder):
    "A class from a script works in worker processes; what cannot be sent is told by Python's own words"
    class Brighter(SegDataset):
        def image(self, index): return super().image(index) | 64
    train = data(folder)
    own = Brighter(train.data_dir, [f for f in train.file_list], transforms=PLAIN, num_workers=2)
    batch = next(iter(Batches(own, 2, PLAIN.before_batch, training_batch).epoch(0)))
    assert batch.images.min() >= 64
    with pytest.raises((AttributeError, pickle.PicklingError), match="Brighter"): pickle.dumps(own)


def test_profiles_in_pictures_change_nothing(tmp_path):
    "A colour profile is for screens; pixels are read as they are stored"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RED).save(tmp_path / "a.png", icc_profile=profile)
    assert np.array_equal(read_image(tmp_path / "a.png")[..., ::-1], RED)
