"""What the loop around the steps costs: the records, the history, the log and the lines, beside a step of the quickest network.

bench/bench_loop.py [SIDE] [THREADS]      (default 192 and 2; FastSCNN, batch 4, 5 classes; seconds of the processor)
"""

import sys
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from timing import interleave, line, ratio

from segnb.nets.fastscnn import FastSCNN
from segnb.objective import make_loss
from segnb.train.displays import Lines
from segnb.train.events import TrainBegin, run
from segnb.train.loop import keep_models, training_events
from segnb.train.observers import EventLog, History
from segnb.train.schedule import default_optimizer
from segnb.train.stepper import Stepper

STEPS = 200


def turns(observers):
    "An epoch whose steps do nothing"
    def events():
        yield TrainBegin(1, STEPS)
        yield from training_events(lambda batch: (0.5, 0.01), lambda epoch, done: range(STEPS), None, 1)

    def go():
        with redirect_stdout(StringIO()), tempfile.TemporaryDirectory() as out:
            made = [make(Path(out)) for make in observers]
            run(keep_models(events(), lambda *a: None, Path(out), 1), made)

    return go


def steps(side, n=4):
    "Some steps of the quickest network"
    torch.manual_seed(0)
    net, label = FastSCNN(3, 5).train().to(memory_format=torch.channels_last), torch.randint(0, 5, (4, side, side))
    x = torch.rand(4, 3, side, side).contiguous(memory_format=torch.channels_last)
    step = Stepper(net, make_loss(5), default_optimizer(net, 0.01), lambda batch: (x, label), lambda done: 0.01, STEPS)
    return lambda: [step(None) for _ in range(n)]


def main():
    side, threads = (int(sys.argv[i]) if len(sys.argv) > i else n for i, n in ((1, 192), (2, 2)))
    torch.set_num_threads(threads)
    log = lambda out: EventLog(out / "events.jsonl")
    cases = {"steps": steps(side), "loop": turns([lambda out: History(), log]), "bare": turns([]), "shown": turns([lambda out: Lines(2)])}
    times = interleave(cases, rounds=7, clock=time.process_time)
    of_steps = lambda name: 100 * ratio(times, name, "steps") * 4 / STEPS
    what = f"FastSCNN, batch 4, {side} x {side}"
    line(f"{what}: loop, history and log, % of a step", f"{of_steps('loop'):.3f}", "< 3")
    line(f"{what}: a printed line every second step, % of a step", f"{of_steps('shown') - of_steps('bare'):.3f}", "< 0.5")


if __name__ == "__main__": main()
