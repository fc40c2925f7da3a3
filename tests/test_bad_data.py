"""Bad input stops before the first step, with one message that names the file, the line or the value, and the way out."""

import pickle

import numpy as np
import pytest
from PIL import Image

from segnb.data.batches import Batches, training_batch
from segnb.data.datasets import SegDataset
from segnb.data.images import read_image, read_label, write_label
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize, RandomPaddingCrop
from segnb.models import FastSCNN

PLAIN = Compose([Normalize()])


@pytest.fixture
def folder(tmp_path): return write_scenes(tmp_path / "set", train=3, val=1, size=(64, 64))


def data(folder, name="train", **options):
    return SegDataset(folder, folder / f"{name}_list.txt", folder / "labels.txt", **{"transforms": PLAIN, "num_workers": 0, **options})


def refused(error, words, folder, classes=5, **options):
    "Training must stop before its first step, saying `words`, and write nothing"
    with pytest.raises(error) as caught:
        FastSCNN(classes).train(1, data(folder), **{"save_dir": folder / "out", "pretrain_weights": None, **options})
    for word in words: assert word in str(caught.value), str(caught.value)
    assert not (folder / "out").exists() or not any((folder / "out").iterdir())


def test_list_is_missing(folder):
    (folder / "train_list.txt").unlink()
    refused(FileNotFoundError, ["train_list.txt"], folder)


def test_list_is_empty(folder):
    (folder / "train_list.txt").write_text(" \n\n")
    refused(ValueError, ["train_list.txt", "at least one image"], folder)


def test_line_with_three_names(folder):
    (folder / "train_list.txt").write_text("a.png b.png\na.png b.png c.png\n")
    refused(ValueError, ["train_list.txt, line 2", "got 3 names"], folder)


def test_missing_images_are_all_named(folder):
    for f in list(folder.glob("JPEGImages/*.png"))[:2]: f.unlink()
    (folder / "train_list.txt").write_text("".join(f"JPEGImages/lost{i}.png Annotations/lost{i}.png\n" for i in range(20)))
    refused(FileNotFoundError, ["line 1: ", "lost0.png", "and 30 more", "relative to `data_dir`"], folder)


def test_image_and_label_of_different_size(folder):
    f = sorted(folder.glob("Annotations/*.png"))[1]
    write_label(f, np.zeros((64, 32), np.uint8))
    refused(ValueError, [f.name, "64 x 64", "32 x 64"], folder)


def test_label_outside_the_classes(folder):
    f = sorted(folder.glob("Annotations/*.png"))[2]
    write_label(f, np.full((64, 64), 9, np.uint8))
    refused(ValueError, [f.name, "holds 9", "num_classes=10"], folder)


def test_label_in_colours(folder):
    f = sorted(folder.glob("Annotations/*.png"))[0]
    Image.new("RGB", (64, 64)).save(f)
    refused(ValueError, [f.name, "one class id per pixel", "got a RGB picture"], folder)


def test_names_do_not_fit_the_classes(folder):
    refused(ValueError, ["names 5 classes", "num_classes=3", "build it with num_classes=5"], folder, classes=3)


def test_smaller_than_a_batch(folder):
    refused(ValueError, ["`train_batch_size`", "3", "got 4", "pass train_batch_size=3"], folder, train_batch_size=4)


def test_no_transforms(folder):
    with pytest.raises(ValueError, match="`train_dataset` must have transforms"):
        FastSCNN(5).train(1, data(folder, transforms=None), pretrain_weights=None)


def test_half_an_image(folder):
    f = sorted(folder.glob("JPEGImages/*.png"))[0]
    f.write_bytes(f.read_bytes()[:-500])
    refused(ValueError, [f.name, "cannot be read as an image"], folder)


def test_damage_that_appears_while_training(folder):
    "A file that goes bad after the check ends the run with its name; what was saved stays"
    train = data(folder)
    model = FastSCNN(5)
    def damage(event):
        if type(event).__name__ == "Saved": train.file_list[0][0].write_bytes(b"gone")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        model.train(3, train, 1, save_dir=folder / "out", pretrain_weights=None, observers=[damage])
    assert (folder / "out" / "epoch_1" / "MANIFEST.json").exists()
    train.file_list.pop(0)
    model.train(1, train, 1, save_dir=folder / "out", pretrain_weights=None)


def test_broken_and_foreign_images(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "scan.tif").write_bytes(b"II*\0")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    for name, error in (("text.png", ValueError), ("scan.tif", ValueError), ("objects.npy", ValueError)):
        with pytest.raises(error, match=name): read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="nowhere"): read_label(tmp_path / "nowhere.png")


def test_a_photo_that_lies_on_its_side(tmp_path):
    "EXIF is followed for the image, and a label without EXIF still fits"
    picture = Image.fromarray(np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3))
    exif = picture.getexif()
    exif[0x0112] = 6  # Turn by 90 degrees
    picture.save(tmp_path / "phone.png", exif=exif)
    assert read_image(tmp_path / "phone.png").shape == (4, 6, 3)


def test_another_library_allows_half_images(tmp_path, monkeypatch):
    from PIL import ImageFile
    Image.new("P", (9, 9)).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ValueError, match="half an image would pass for a whole one"): read_image(tmp_path / "a.png")


def test_loading_can_move_to_other_processes(folder):
    "Everything a worker needs can be pickled, for systems that do not fork"
    batches = Batches(data(folder, transforms=Compose([RandomPaddingCrop(32), Normalize()])), 2, PLAIN.before_batch, training_batch)
    pickle.loads(pickle.dumps((batches._loader.dataset, batches._loader.collate_fn)))
    pickle.loads(pickle.dumps(FastSCNN(5).check))
