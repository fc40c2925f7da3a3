"""The names, their order and their defaults, as the document of PaddleX 1.3 has them."""

import inspect

import pytest

import segnb.all
from segnb.data.datasets import SegDataset
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet

LOSSES = dict(use_bce_loss=False, use_dice_loss=False, class_weight=None, ignore_index=255)
CLASSES = {
    DeepLabv3p: dict(num_classes=2, backbone="MobileNetV2_x1.0", output_stride=16, aspp_with_sep_conv=True, decoder_use_sep_conv=True,
                     encoder_with_aspp=True, enable_decoder=True, **LOSSES, pooling_crop_size=None, input_channel=3),
    HRNet: dict(num_classes=2, width=18, **LOSSES, input_channel=3),
    UNet: dict(num_classes=2, upsample_mode="bilinear", **LOSSES, input_channel=3),
    FastSCNN: dict(num_classes=2, **LOSSES, multi_loss_weight=[1.0], input_channel=3),
}
NEEDED = inspect.Parameter.empty
VERBS = dict(
    train=dict(num_epochs=NEEDED, train_dataset=NEEDED, train_batch_size=2, eval_dataset=None, eval_batch_size=1, save_interval_epochs=1,
               log_interval_steps=2, save_dir="output", pretrain_weights="IMAGENET", optimizer=None, learning_rate=0.01, lr_decay_power=0.9,
               use_vdl=False, sensitivities_file=None, eval_metric_loss=0.05, early_stop=False, early_stop_patience=5, resume_checkpoint=None),
    evaluate=dict(eval_dataset=NEEDED, batch_size=1, epoch_id=None, return_details=False),
    predict=dict(img_file=NEEDED, transforms=None),
    batch_predict=dict(img_file_list=NEEDED, transforms=None),
    overlap_tile_predict=dict(img_file=NEEDED, tile_size=[512, 512], pad_size=[64, 64], batch_size=32, transforms=None),
)


def documented(f):
    "Name and default of every parameter that may be given by position"
    return [(p.name, p.default) for p in inspect.signature(f).parameters.values() if p.kind is not p.KEYWORD_ONLY and p.name != "self"]


@pytest.mark.parametrize("cls", CLASSES)
def test_constructor(cls): assert documented(cls) == list(CLASSES[cls].items())


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("cls", CLASSES)
def test_verbs(cls, verb): assert documented(getattr(cls, verb)) == list(VERBS[verb].items())


@pytest.mark.parametrize("other", ["start", "training"])
def test_other_drivers_take_what_train_takes(other):
    assert documented(getattr(UNet, other)) == documented(UNet.train)


def test_dataset():
    assert documented(SegDataset) == list(dict(data_dir=NEEDED, file_list=NEEDED, label_list=None, transforms=None, num_workers="auto",
                                               buffer_size=100, parallel_method="process", shuffle=False).items())


TRANSFORMS = dict(
    RandomHorizontalFlip=dict(prob=0.5), RandomVerticalFlip=dict(prob=0.1), Resize=dict(target_size=NEEDED, interp="LINEAR"),
    ResizeByLong=dict(long_size=256), ResizeRangeScaling=dict(min_value=400, max_value=600),
    ResizeStepScaling=dict(min_scale_factor=0.75, max_scale_factor=1.25, scale_step_size=0.25),
    Normalize=dict(mean=[0.5] * 3, std=[0.5] * 3, min_val=[0] * 3, max_val=[255.0] * 3), Clip=dict(min_val=[0] * 3, max_val=[255.0] * 3),
    Padding=dict(target_size=NEEDED, im_padding_value=[127.5] * 3, label_padding_value=255), RandomBlur=dict(prob=0.1),
    RandomPaddingCrop=dict(crop_size=512, im_padding_value=[127.5] * 3, label_padding_value=255),
    RandomRotate=dict(rotate_range=15, im_padding_value=[127.5] * 3, label_padding_value=255),
    RandomScaleAspect=dict(min_scale=0.5, aspect_ratio=0.33),
    RandomDistort=dict(brightness_range=0.5, brightness_prob=0.5, contrast_range=0.5, contrast_prob=0.5, saturation_range=0.5, saturation_prob=0.5,
                       hue_range=18, hue_prob=0.5),
    ComposedSegTransforms=dict(mode=NEEDED, min_max_size=[400, 600], train_crop_size=[512, 512], mean=[0.5] * 3, std=[0.5] * 3,
                               random_horizontal_flip=True),
)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name): assert documented(getattr(segnb.all, name)) == list(TRANSFORMS[name].items())


def test_every_public_option_says_what_it_means():
    from segnb.options import options_of
    for f in (*CLASSES, UNet.train, UNet.evaluate):
        for o in options_of(f): assert o.help, f"{f.__name__}({o.name}) has no help"
