"""What all tests share: where the recorded data lies, and that CI skips nothing but GPU tests."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SEGNB_SHARED", ROOT.parent / "shared"))
torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def shared():
    "The folder with recorded arrays and real data sets"
    if not SHARED.is_dir(): pytest.skip(f"no recorded data in {SHARED}; set SEGNB_SHARED")
    return SHARED


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    "In CI a skipped test has failed, unless it needs a GPU"
    report = (yield).get_result()
    if report.skipped and os.environ.get("CI") and "gpu" not in item.keywords:
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"


def pytest_collectreport(report):
    "In CI a whole file that is skipped has failed"
    if report.skipped and os.environ.get("CI"): report.outcome = "failed"
