"""Every rule is broken once, with a value made from the rule; the message must name the option, the rule and the value."""

import re

import pytest

from segnb.data.transforms import Padding, RandomHorizontalFlip, RandomPaddingCrop, RandomVerticalFlip, Resize
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet
from segnb.options import check_options, fits, options_of

DECLARED = [UNet, FastSCNN, DeepLabv3p, HRNet, Resize, Padding, RandomPaddingCrop, RandomHorizontalFlip, RandomVerticalFlip,
            UNet.train, UNet.evaluate, UNet.overlap_tile_predict]
BROKEN = [(f, o, value, rule) for f in DECLARED for o in options_of(f) for rule in o.rules for value in rule.broken_by()]


def test_there_are_rules(): assert len(BROKEN) > 40


@pytest.mark.parametrize("f,option,value,rule", BROKEN, ids=lambda v: getattr(v, "__name__", None) or getattr(v, "name", None) or str(v))
def test_rule(f, option, value, rule):
    with pytest.raises((ValueError, TypeError)) as caught:
        if isinstance(f, type) and f in (UNet, FastSCNN, DeepLabv3p, HRNet): f(**{option.name: value})
        else: check_options(f, {option.name: value})
    message = str(caught.value)
    assert message.startswith(f"`{option.name}` must be ") and message.rstrip().endswith(f"got {value!r}"), message
    assert str(rule) in message if fits(value, option.kind) else True


@pytest.mark.parametrize("f", DECLARED)
def test_wrong_type(f):
    for option in options_of(f):
        wrong = object()
        if fits(wrong, option.kind): continue
        with pytest.raises((TypeError, ValueError), match=re.escape(f"`{option.name}` must be")): check_options(f, {option.name: wrong})
