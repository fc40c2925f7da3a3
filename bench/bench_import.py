"""How long it takes until the names are there."""

from statistics import median

from timing import fresh, line

CODE = "import time, json; t = time.perf_counter(); {}; print(json.dumps(time.perf_counter() - t))"
CASES = {"segnb": "import segnb", "all": "from segnb.all import *", "torch": "import torch, torchvision"}


def main():
    times = {name: [] for name in CASES}
    for _ in range(8):
        for name, statement in CASES.items(): times[name].append(fresh(CODE.format(statement)))
    times = {name: t[1:] for name, t in times.items()}  # The first round reads the disk
    line("`import segnb`, seconds", f"{median(times['segnb']):.4f}", "< 0.15")
    share = median(a / b for a, b in zip(times["all"], times["torch"], strict=True))
    line("`from segnb.all import *` over `import torch, torchvision`", f"{share:.2f} x", "<= 1.1")


if __name__ == "__main__": main()
