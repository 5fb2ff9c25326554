from __future__ import annotations

import struct
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import IpwError
from ipw.workloads.lm.servers.gguf import gguf_facts

DATA = Path(str(files("ipw"))) / "data"


@pytest.mark.parametrize(
    ("model", "architecture", "parameters", "experts"),
    [("dense", "qwen3", 0.9e6, None), ("moe", "qwen3moe", 1.9e6, 8)],
)
def test_the_bundled_models_tell_what_they_are(
    model: str, architecture: str, parameters: float, experts: int | None
) -> None:
    facts = gguf_facts(DATA / f"{model}-q8_0.gguf")
    assert (facts["architecture"], facts["quantisation"], facts["experts"]) == (architecture, "q8_0", experts)
    assert facts["parameters"] == pytest.approx(parameters, rel=0.05)
    assert facts["context_tokens"] == 256
    assert facts["digest"].startswith("sha256:")


def test_a_token_uses_a_part_of_the_experts() -> None:
    facts = gguf_facts(DATA / "moe-q8_0.gguf")
    routed = 4 * 3 * 8 * 128 * 128  # layers, matrices, experts, hidden x inner
    assert facts["parameters"] - facts["active_parameters"] == routed * 6 // 8
    dense = gguf_facts(DATA / "dense-q8_0.gguf")
    assert dense["active_parameters"] == dense["parameters"]


def test_a_file_without_a_name_is_called_by_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    facts = gguf_facts(path)
    assert (facts["name"], facts["parameters"], facts["quantisation"]) == ("mine", 0, None)


@pytest.mark.parametrize(
    ("file_type", "tensor", "told"),
    [
        (15, 12, "Q4_K_M"),
        (14, 12, "Q4_K_S"),
        (15 + 1024, 12, "Q4_K_M"),
        (30, 23, "IQ4_XS"),
        (32, 30, "BF16"),
        (1, 8, None),  # a converter that left F16 in the header of a file of q8_0
        (9999, 12, None),
        (None, 12, None),
    ],
)
def test_the_mixture_of_types_has_the_name_that_people_know(
    tmp_path: Path, file_type: int | None, tensor: int, told: str | None
) -> None:
    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    entries = [] if file_type is None else [text("general.file_type") + struct.pack("<II", 4, file_type)]
    weights = text("w") + struct.pack("<IQIQ", 1, 256, tensor, 0)
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries)) + b"".join(entries) + weights)
    assert gguf_facts(path)["file_type"] == told


def test_no_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(IpwError, match="cannot be read: No such file"):
        gguf_facts(tmp_path / "none.gguf")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"not a model",
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sI", 1, b"k", 99),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"k", 9, 9, 1),
    ],
)
def test_what_is_no_gguf_is_told_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(data)
    with pytest.raises(IpwError, match="not a GGUF file, or is not whole") as caught:
        gguf_facts(path)
    assert "\n" not in caught.value.message


@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=16))
def test_damage_anywhere_raises_nothing_else(tmp_path_factory: pytest.TempPathFactory, at: int, new: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    data = bytearray((DATA / "dense-q8_0.gguf").read_bytes()[:24_000])
    data[at : at + len(new)] = new
    path.write_bytes(data)
    with suppress(IpwError):
        gguf_facts(path)


def text(word: str) -> bytes:
    return struct.pack("<Q", len(word.encode())) + word.encode()


ODD = {
    "text": struct.pack("<I", 8) + text("8"),
    "zero": struct.pack("<II", 4, 0),
    "below zero": struct.pack("<Ii", 5, -2),
    "half": struct.pack("<If", 6, 1.5),
    "truth": struct.pack("<I?", 7, True),
    "no number": struct.pack("<If", 6, float("nan")),
    "too large": struct.pack("<IQ", 10, 2**64 - 1),
    "a list": struct.pack("<IIQI", 9, 4, 1, 3),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_entries_of_other_types_are_absent_and_the_rest_is_kept(odd: bytes, tmp_path: Path) -> None:
    names = ["a.context_length", "a.expert_count", "a.expert_used_count"]
    entries = text("general.architecture") + struct.pack("<I", 8) + text("a") + b"".join(text(n) + odd for n in names)
    tensor = text("blk.0.ffn_up_exps.weight") + struct.pack("<IQQIQ", 2, 4, 5, 0, 0)
    path = tmp_path / "odd.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 4) + entries + tensor)
    facts = gguf_facts(path)
    assert (facts["architecture"], facts["parameters"], facts["active_parameters"]) == ("a", 20, 20)
    assert [facts[name] for name in ("experts", "experts_per_token", "context_tokens")] == [None] * 3


@pytest.mark.parametrize("name", [ODD["zero"], ODD["a list"], ODD["half"], struct.pack("<I", 8) + text("  ")])
def test_a_name_that_is_no_text_is_the_files_own(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("general.name") + name)
    assert gguf_facts(path)["name"] == "mine"


@pytest.mark.parametrize(
    "tail",
    [
        struct.pack("<QQ", 2**64 - 1, 0),
        struct.pack("<QQ", 0, 2**64 - 1),
        struct.pack("<QQ", 1, 0) + text("w") + struct.pack("<I", 2**32 - 1),
        struct.pack("<QQ", 1, 0) + text("w") + struct.pack("<IQQQIQ", 3, 2**63, 2**63, 2**63, 0, 0),
        struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**63),
        struct.pack("<QQ", 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 5),
        struct.pack("<QQ", 0, 1) + text("k") + struct.pack("<IIQ", 9, 8, 2**24),
    ],
)
def test_a_header_that_promises_the_absurd_is_told_in_one_line(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "absurd.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<I", 3) + tail)
    with pytest.raises(IpwError, match="not a GGUF file"):
        gguf_facts(path)
