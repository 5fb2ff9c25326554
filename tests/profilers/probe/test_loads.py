from __future__ import annotations

import time

import pytest

from ipw.profilers.probe.loads import gpu_load, matrix_load

torch = pytest.importorskip("torch", reason="the load of `ipw doctor --probe` is made with torch")


def test_a_load_works_in_its_pulses_and_tells_when_it_truly_did() -> None:
    play = matrix_load(torch, "cpu", side=32)
    now = time.monotonic_ns()
    asked = [(now + k * 20_000_000, now + k * 20_000_000 + 5_000_000) for k in (1, 2, 3)]
    worked = play(asked)
    assert len(worked) == 3
    for (start, end), (begun, ended) in zip(asked, worked, strict=True):
        assert start <= begun
        assert end <= ended


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_cuda_there_is_a_reason_and_no_load() -> None:
    assert gpu_load("GPU-00000000") == "no load: this torch sees no CUDA device"
