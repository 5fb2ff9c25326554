from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from workloads.diffusion import tiny

from ipw.workloads.diffusion import load
from ipw.workloads.diffusion.subject import Subject


@pytest.fixture(scope="session")
def llada(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return load(tiny.llada(tmp_path_factory.mktemp("llada")), device="cpu")


@pytest.fixture(scope="session")
def dream(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return load(tiny.dream(tmp_path_factory.mktemp("dream")), device="cpu")
