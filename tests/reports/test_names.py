"""What runs are called: by their labels, or by what tells them apart; never by a path, and no two alike."""

# ruff: noqa: RUF001 - the sign between a model and its load is a multiplication sign
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.reports.names import filled, model_name, plain_name, row_names, without_path


def run(model: str = "dense", *, facts: dict[str, Any] | None = None, kind: str = "lm", **given: Any) -> dict[str, Any]:
    """A summary as far as its name goes."""
    top = {name: given.pop(name) for name in ("label", "basis", "devices", "host") if name in given}
    defaults = {"concurrency": None, "rate": None, "dataset": "bundled", "limit": None} if kind == "lm" else {}
    parameters = {"model": model} | defaults | given
    return {
        "run_id": "r",
        "model": {"name": model} | (facts or {}),
        "workload": {"kind": kind, "parameters": parameters},
    } | top


def gguf(path: str, file_type: str, name: str = "ipw-tiny-dense") -> dict[str, Any]:
    return run(path, facts={"name": name, "file_type": file_type, "quantisation": file_type[:4].lower()})


def test_a_matrix_of_models_and_loads_is_named_by_both() -> None:
    cells = [run(model, concurrency=level) for model in ("dense", "moe") for level in (1, 4)]
    assert row_names(cells) == ["dense ×1", "dense ×4", "moe ×1", "moe ×4"]


def test_a_load_that_is_the_default_is_named_too_where_others_differ() -> None:
    assert row_names([run(), run(concurrency=8)]) == ["dense ×1", "dense ×8"]


def test_runs_of_two_models_at_two_loads_do_not_hide_the_load() -> None:
    assert row_names([run("a", concurrency=1), run("b", concurrency=8)]) == ["a ×1", "b ×8"]


def test_a_load_that_all_have_is_not_repeated() -> None:
    assert row_names([run("a", concurrency=4), run("b", concurrency=4)]) == ["a", "b"]


@pytest.mark.parametrize(
    ("rates", "names"),
    [
        ((0.5, 30.0), ["dense 0.5/s", "dense 30/s"]),
        ((None, 2.0), ["dense ×1", "dense 2/s"]),
    ],
)
def test_rates_tell_apart(rates: tuple[float | None, float], names: list[str]) -> None:
    assert row_names([run(rate=rate) for rate in rates]) == names


def test_a_ladder_of_quantisations_is_named_by_its_files() -> None:
    ladder = [gguf(f"/models/m-{kind}.gguf", kind) for kind in ("Q4_K_M", "Q8_0", "F16")]
    assert row_names(ladder) == ["m-Q4_K_M", "m-Q8_0", "m-F16"]


def test_files_that_do_not_tell_their_quantisation_are_named_with_it() -> None:
    ladder = [gguf(f"/{kind}/model.gguf", kind) for kind in ("Q4_K_M", "Q4_K_S")]
    assert row_names(ladder) == ["model Q4_K_M", "model Q4_K_S"]


def test_one_file_name_in_two_folders_is_named_with_the_folder() -> None:
    assert row_names([gguf("/a/m.gguf", "Q8_0"), gguf("/b/m.gguf", "Q8_0")]) == ["m in a", "m in b"]


def test_a_file_called_by_its_digest_is_named_as_its_header_says() -> None:
    assert model_name(gguf(f"/blobs/sha256-{'0a' * 32}", "Q8_0", name="Tiny")) == "Tiny"
    assert model_name(gguf(f"/blobs/{'0a' * 32}.gguf", "Q8_0", name="Tiny")) == "Tiny"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("llama3:8b-instruct-q4_K_M", "llama3:8b-instruct-q4_K_M"),
        ("/srv/models/Llama-3-8B-Q4_K_M.gguf", "Llama-3-8B-Q4_K_M"),
        ("/srv/models/Llama-3-8B/", "Llama-3-8B"),
        (r"C:\models\phi.gguf", "phi"),
        (r"\\share\models\phi", "phi"),
        ("~/models/checkpoint-200", "checkpoint-200"),
        ("./out/last", "last"),
        ("models/big-00001-of-00003.gguf", "big"),
        ("/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/" + "a" * 40, "Qwen/Qwen3-8B"),
        ("unsloth/Qwen3-GGUF/Qwen3-Q4_K_M.gguf", "Qwen3-Q4_K_M"),
        ("a b/c", "a b/c"),
    ],
)
def test_no_name_holds_a_path(told: str, shown: str) -> None:
    assert without_path(told) == shown
    assert plain_name(run("x", facts={"name": told}, base_url="http://h/v1")) == shown


def test_a_command_is_named_without_its_folders() -> None:
    command = {
        "workload": {"kind": "command", "parameters": {"command": ["/usr/bin/python3", "/home/me/train.py", "-n", "3"]}}
    }
    assert plain_name(command) == "python3 train.py -n 3"


def test_methods_are_told_and_diffusion_names_its_own() -> None:
    training = [run("text", kind="train", methods=[method]) for method in ("backprop", "local")]
    assert row_names(training) == ["text backprop", "text local"]
    decoding = [run("diffusion", kind="diffusion", method=method) for method in ("greedy", "local-leap")]
    assert row_names(decoding) == ["diffusion greedy", "diffusion local-leap"]


def test_a_workload_tells_a_model_apart_from_itself() -> None:
    assert row_names([run("moe"), run("moe", kind="routing")]) == ["moe", "moe routing"]


@pytest.mark.parametrize(
    ("differing", "names"),
    [
        ({"host": [{"name": "alpha"}, {"name": "beta"}]}, ["dense on alpha", "dense on beta"]),
        ({"devices": [["alpha: GPU-1"], ["beta: GPU-1"]]}, ["dense on alpha", "dense on beta"]),
        ({"basis": ["gpu", "soc"]}, ["dense, basis gpu", "dense, basis soc"]),
        ({"max_tokens": [64, 512]}, ["dense, max-tokens 64", "dense, max-tokens 512"]),
        ({"limit": [None, 80]}, ["dense", "dense, limit 80"]),
        ({"logprobs": [False, True]}, ["dense", "dense logprobs"]),
        ({"dataset": ["/data/a.jsonl", "/data/b.jsonl"]}, ["dense a.jsonl", "dense b.jsonl"]),
        ({"engine": ["llamacpp", "transformers"]}, ["dense llamacpp", "dense transformers"]),
        ({"seed": [0, 1], "max_tokens": [1, 1]}, ["dense, seed 0", "dense, seed 1"]),
        ({"base_url": ["http://me:pass@a:1/v1", "http://b:2/v1"]}, ["dense at a:1", "dense at b:2"]),
        ({"serve": ["go --kv fp8 --port {port}", "go --kv fp16 --port {port}"]}, ["dense fp8", "dense fp16"]),
    ],
)
def test_what_differs_is_what_names(differing: dict[str, list[Any]], names: list[str]) -> None:
    pairs = [run(**{key: values[i] for key, values in differing.items()}) for i in (0, 1)]
    assert row_names(pairs) == names


def test_runs_alike_in_everything_are_numbered() -> None:
    assert row_names([run(), run(), run("b")]) == ["dense", "dense #2", "b"]


def test_a_sweep_names_its_level_also_where_one_run_stands_alone() -> None:
    swept = run(concurrency=4)
    swept["workload"]["series"] = {"id": "s", "levels": [1, 4]}
    assert plain_name(swept) == "dense ×4"


def test_a_label_is_the_name_and_may_name_settings() -> None:
    assert plain_name(run(label="ours")) == "ours"
    assert plain_name(run(label="{model} ×{concurrency}", concurrency=4)) == "dense ×4"
    assert plain_name(run(label="{model} ×{concurrency}")) == "dense ×1"
    assert plain_name(gguf("/m/x.gguf", "Q4_K_M") | {"label": "{quantisation} of {dataset}, {nothing}"}) == (
        "Q4_K_M of bundled, {nothing}"
    )
    assert filled("{model}", run("/srv/models/x")) == "x"


def test_one_label_of_two_runs_is_completed_by_what_differs() -> None:
    assert row_names([run(label="a", concurrency=1), run(label="a", concurrency=2)]) == ["a ×1", "a ×2"]
    decoding = [run("diffusion", kind="diffusion", method=m, label="ours") for m in ("greedy", "dream")]
    assert row_names(decoding) == ["ours greedy", "ours dream"]


def test_a_label_leaves_the_names_of_others_as_they_were() -> None:
    assert row_names([run(label="ours", concurrency=1), run("b", concurrency=2)]) == ["ours", "b"]


KEYS = ["model", "serve", "base_url", "concurrency", "rate", "method", "x"]
texts = st.text(max_size=12) | st.none() | st.integers() | st.lists(st.text(max_size=3), max_size=2)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), texts), max_size=5), texts)
def test_whatever_a_manifest_says_every_run_has_a_name_of_its_own(parameters: list[dict[str, Any]], label: Any) -> None:
    runs = [
        {"label": label, "model": {"name": each.get("model")}, "workload": {"kind": "lm", "parameters": each}}
        for each in parameters
    ]
    names = row_names(runs)
    assert len(set(names)) == len(runs)
    assert all(name and "\n" not in name for name in names)
    assert isinstance(label, str) or not any(Path(name).is_absolute() for name in names)  # a label is as people gave it
