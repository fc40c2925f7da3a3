"""Interleaved timing and peak memory, for the benchmarks beside this file."""

import gc
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median


def interleave(cases, rounds=7, seed=0, clock=time.perf_counter):
    "Seconds of each case in each round; every round runs all cases in a new order, so that a busy machine slows all of them alike"
    rng, times = random.Random(seed), {name: [] for name in cases}
    for run in cases.values(): run()
    for _ in range(rounds):
        for name in rng.sample(list(cases), len(cases)):
            gc.collect()
            start = clock()
            cases[name]()
            times[name].append(clock() - start)
    return times


def ratio(times, name, base):
    "Median over the rounds of one case's time over another's in the same round"
    return median(a / b for a, b in zip(times[name], times[base], strict=True))


class PeakMemory:
    "Growth of this process's resident memory while the block runs, in MB"

    def __enter__(self):
        self.start, self.peak, self.over = rss(), 0, threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while not self.over.wait(0.005): self.peak = max(self.peak, rss())

    def __exit__(self, *error):
        self.over.set()
        self.thread.join()
        self.growth = (self.peak - self.start) / 2**20


def rss(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def fresh(code):
    "What a new Python process prints as JSON when it runs `code`"
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def line(what, value, goal): print(f"{what:72} {value:>12}   goal {goal}", flush=True)
