"""One suite over all segmenters: a new one joins by a row."""

import numpy as np
import pytest
import torch

from segnb.data.datasets import SegDataset
from segnb.data.scenes import draw_scene, write_scenes
from segnb.data.transforms import Compose, Normalize, RandomHorizontalFlip, RandomPaddingCrop
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet, load_model

FAMILY = {
    "unet": (UNet, {}, 16), "unet-deconv": (UNet, dict(upsample_mode="deconv"), 16),
    "deeplab": (DeepLabv3p, dict(backbone="MobileNetV2_x0.25"), 1), "deeplab-8": (DeepLabv3p, dict(backbone="MobileNetV2_x0.25", output_stride=8,
                aspp_with_sep_conv=False, decoder_use_sep_conv=False), 1),
    "deeplab-plain": (DeepLabv3p, dict(backbone="MobileNetV2_x0.25", encoder_with_aspp=False, enable_decoder=False), 1),
    "deeplab-v3": (DeepLabv3p, dict(backbone="MobileNetV3_large_x1_0_ssld", pooling_crop_size=[32, 32]), 1),
    "hrnet": (HRNet, dict(width="18_small_v1"), 1),
    "fastscnn": (FastSCNN, {}, 1), "fastscnn-3": (FastSCNN, dict(multi_loss_weight=[1.0, 0.4, 0.4]), 1),
}
PLAIN = Compose([Normalize()])
member = pytest.mark.parametrize("cls,options,multiple", FAMILY.values(), ids=FAMILY)


def data(folder, name, transforms, **options):
    return SegDataset(folder, folder / f"{name}_list.txt", folder / "labels.txt", transforms, num_workers=0, **options)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory): return write_scenes(tmp_path_factory.mktemp("scenes"), train=4, val=2, size=(64, 64))


@member
def test_forward_and_backward(cls, options, multiple):
    for bands, k in ((1, 2), (3, 5), (4, 3)):
        model = cls(num_classes=k, input_channel=bands, **options)
        size = (48, 64) if multiple > 1 else (45, 67)
        answers = model.net(torch.randn(2, bands, *size))
        assert all(a.shape == (2, k, *size) for a in answers)
        sum(a.square().mean() for a in answers).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.net.parameters())


@member
def test_one_epoch_lowers_the_loss(cls, options, multiple, scenes, tmp_path):
    torch.manual_seed(0)
    model = cls(num_classes=5, **options)
    train = data(scenes, "train", Compose([RandomHorizontalFlip(), RandomPaddingCrop(64), Normalize()]), shuffle=True)
    model.train(8, train, 2, data(scenes, "val", PLAIN), save_interval_epochs=8, save_dir=tmp_path, pretrain_weights=None, learning_rate=0.02)
    losses = model.history.losses
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert (tmp_path / "best_model" / "model.json").exists() and (tmp_path / "epoch_8").exists() and model.completed_epochs == 8


@member
def test_saved_and_opened_predicts_the_same(cls, options, multiple, tmp_path):
    model, image = cls(num_classes=3, **options), draw_scene((96, 64), 5)[0]
    model.save_model(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert type(again) is cls and (again.predict(image, PLAIN)["score_map"] == model.predict(image, PLAIN)["score_map"]).all()


@member
@pytest.mark.parametrize("loss", [dict(use_bce_loss=True), dict(use_dice_loss=True), dict(use_bce_loss=True, use_dice_loss=True)])
def test_binary_losses(cls, options, multiple, loss, tmp_path):
    folder = write_scenes(tmp_path / "s", train=2, val=1, size=(64, 64))
    for f in folder.glob("Annotations/*.png"):
        from segnb.data.images import read_label, write_label
        write_label(f, (read_label(f) > 0).astype(np.uint8))
    (folder / "labels.txt").write_text("ground\nrest\n")
    model = cls(**options, **loss)
    model.train(1, data(folder, "train", PLAIN), 2, data(folder, "val", PLAIN), save_dir=tmp_path / "out", pretrain_weights=None)
    scores = model.predict(draw_scene((64, 64))[0])["score_map"]
    assert scores.shape == (64, 64, 2) and np.allclose(scores.sum(-1), 1, atol=1e-5)
    assert np.isfinite(model.history.losses).all()


@member
def test_tiles_do_not_depend_on_batch_size(cls, options, multiple):
    torch.manual_seed(0)
    model, image = cls(num_classes=5, **options), draw_scene((130, 100), 2)[0]
    maps = [model.overlap_tile_predict(image, [48, 32], [16, 16], b, PLAIN)["label_map"] for b in (1, 2, 5, 32)]
    assert maps[0].shape == (100, 130) and all((m == maps[0]).all() for m in maps)


@member
def test_any_size_is_predicted_and_judged(cls, options, multiple, tmp_path):
    model = cls(num_classes=5, **options)
    for size in [(1, 1), (7, 2), (45, 37)]:
        image = draw_scene((64, 64))[0][: size[1], : size[0]]
        result = model.predict(image, PLAIN)
        assert result["label_map"].shape == size[::-1] and result["score_map"].shape == (*size[::-1], 5)
    odd = data(write_scenes(tmp_path, train=1, val=1, size=(45, 37)), "val", PLAIN)
    assert np.sum(model.evaluate(odd, return_details=True)[1]["confusion_matrix"]) == 45 * 37


@member
def test_more_than_256_classes(cls, options, multiple):
    label_map = cls(num_classes=300, **options).predict(draw_scene((64, 64))[0], PLAIN)["label_map"]
    assert label_map.dtype == np.uint16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@member
def test_on_a_gpu(cls, options, multiple, scenes, tmp_path):
    model = cls(num_classes=5, **options)
    model.train(2, data(scenes, "train", PLAIN), 2, data(scenes, "val", PLAIN), save_dir=tmp_path, pretrain_weights=None, device="cuda")
    assert model.device.type == "cuda"
    here = model.predict(draw_scene((64, 64))[0])["score_map"]
    model.net.cpu()
    assert np.allclose(here, model.predict(draw_scene((64, 64))[0])["score_map"], atol=1e-3)
