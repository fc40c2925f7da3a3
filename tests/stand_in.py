"A segmenter without a network, for tests of what is shown: as slow, as long and as broken as a test wants it"

import math
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from segnb.options import Above, Between, Length, NumClasses, check_options, visible_defaults
from segnb.train.events import EpochEnd, EvalEnd, EvalStep, Run, Saved, StepEnd, TrainBegin

FAILURE = "`train_dataset` has images of 4 bands, but the network takes 3; build it with `input_channel=4`"


@dataclass
class Lesson:
    "A data set: the length and the pace of a training, and the epoch in which it fails"

    steps: int = 20
    pause: float = 0.0
    fail_at: int = 0
    labels: tuple = ("background", "roof")


def lesson(epochs, data):
    yield TrainBegin(epochs, data.steps, 2, "output")
    for e in range(1, epochs + 1):
        for s in range(1, data.steps + 1):
            time.sleep(data.pause)
            n = (e - 1) * data.steps + s
            yield StepEnd(e, s, 0.2 + 1.2 * math.exp(-n / 90) + 0.04 * math.sin(n * 12.9898), 0.01)
            if e == data.fail_at:
                raise ValueError(FAILURE)
        yield from (EvalStep(e, s) for s in (1, 2))
        yield EvalEnd(e, {"miou": 0.85 - 0.6 * math.exp(-e / 4), "category_iou": [0.5, 0.6]})
        yield EpochEnd(e, 1 / e, 0.01)
        yield Saved(e, f"output/epoch_{e}", True)


@visible_defaults
@dataclass(eq=False)
class Tiny:
    "Learns nothing, but shows how"

    num_classes: NumClasses = 2
    backbone: Annotated[Literal["small", "large"], "Network that reads the image"] = "small"
    width: Annotated[Literal[18, "18_small"], "Channels of the widest branch"] = 18
    use_dice_loss: Annotated[bool, "Add the Dice loss"] = False
    class_weight: Annotated[list[float] | str | None, "Weight of each class, 'dynamic', or None"] = None
    multi_loss_weight: Annotated[list[float], "Weight of each head", Length(1, 3)] = field(default_factory=lambda: [1.0])

    def __post_init__(self):
        check_options(self)

    def train(
        self,
        num_epochs: Annotated[int, "Number of epochs", Between(1)],
        train_dataset: Annotated[Any, "Images to learn from"],
        train_batch_size: Annotated[int, "Images in each step", Between(1)] = 2,
        eval_dataset: Annotated[Any, "Images to measure with"] = None,
        save_dir: Annotated[str, "Folder of the run"] = "output",
        pretrain_weights: Annotated[str | None, "Weights to begin with"] = "IMAGENET",
        optimizer: Annotated[Any, "None takes the default"] = None,
        learning_rate: Annotated[float, "First learning rate", Above(0)] = 0.01,
        *,
        seed: Annotated[int | None, "Where chance begins; None is different each time"] = 0,
        observers: Annotated[tuple, "Called with every event"] = (),
    ): ...

    def start(self, num_epochs, train_dataset, observers=(), **options):
        self.started_with = options
        return Run(lesson(num_epochs, train_dataset), observers).start()
