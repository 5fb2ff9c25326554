"""Code that comes with a model runs where that was typed, and nowhere else: a file tells whether it ran."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from workloads.diffusion import tiny

from ipw.errors import UsageError
from ipw.verbs.workloads.diffusion import command, run_diffusion
from ipw.workloads.diffusion import decode, load
from ipw.workloads.diffusion.own_code import own_code

CONFIGURATION = """
from pathlib import Path
from transformers import PretrainedConfig
Path({ran!r}).touch()
class OddConfig(PretrainedConfig):
    model_type = "odd"
"""
MODELING = """
import torch
from pathlib import Path
from transformers import PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput
from .configuration_odd import OddConfig
Path({ran!r}).touch()
class OddModel(PreTrainedModel):
    config_class = OddConfig
    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Embedding(20, 20)
        self.post_init()
    def forward(self, input_ids):
        return MaskedLMOutput(logits=self.table(input_ids.cumsum(1) % 20))
"""
CONFIG: dict[str, Any] = {
    "model_type": "odd", "mask_token_id": tiny.MASK, "vocab_size": tiny.VOCABULARY, "eos_token_id": tiny.END,
    "auto_map": {"AutoConfig": "configuration_odd.OddConfig", "AutoModel": "modeling_odd.OddModel"},
}  # fmt: skip


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of such code are made in a folder of the test's own, and nobody is asked."""
    from transformers import dynamic_module_utils

    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *_: "y")


def _odd(folder: Path, ran: Path, **changes: Any) -> Path:
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "configuration_odd.py").write_text(CONFIGURATION.format(ran=str(ran)))
    (folder / "modeling_odd.py").write_text(MODELING.format(ran=str(ran)))
    table = torch.randn((20, 20), generator=torch.Generator().manual_seed(0)) * 4
    save_file({"table.weight": table}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("changes", [{}, {"is_causal": False}, {"mask_token_id": None}, {"model_type": None}])
def test_it_does_not_run_where_nothing_was_typed(tmp_path: Path, ran: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="code of its own, which would run here") as error:
        load(_odd(tmp_path / "odd", ran, **changes), device="cpu")
    assert "--trust-remote-code" in str(error.value.hint)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["TRUST_REMOTE_CODE", "HF_TRUST_REMOTE_CODE", "HF_HUB_TRUST_REMOTE_CODE"])
def test_no_variable_of_the_environment_stands_for_typing_it(
    tmp_path: Path, ran: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(UsageError, match="code of its own"):
        load(_odd(tmp_path / "odd", ran), device="cpu")
    assert not ran.exists()


@pytest.mark.parametrize("typed", [False, True])
def test_a_kind_that_is_known_needs_none_and_runs_none(tmp_path: Path, ran: Path, *, typed: bool) -> None:
    known: dict[str, Any] = {
        "auto_map": {"AutoConfig": "configuration_odd.OddConfig", "AutoModel": "modeling_odd.OddModel"}
    }
    for number, make in enumerate((tiny.llada, tiny.dream)):
        folder = make(tmp_path / f"m{number}", **known)
        for name, text in (("configuration_odd.py", CONFIGURATION), ("modeling_odd.py", MODELING)):
            (folder / name).write_text(text.format(ran=str(ran)))
        found = load(folder, device="cpu", trust_remote_code=typed)
        assert decode(found, [3, 4], length=4).committed
        assert not found.whole
    assert not ran.exists()


def test_a_tokenizer_of_its_own_does_not_run_either(tmp_path: Path, ran: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=20, hidden_size=24, intermediate_size=32, num_hidden_layers=1, num_attention_heads=3,
        num_key_value_heads=3, head_dim=8, max_position_embeddings=64,
    )  # fmt: skip
    config.is_causal, config.mask_token_id = False, 19
    Qwen3ForCausalLM(config).save_pretrained(tmp_path / "m")
    told = {"tokenizer_class": "Odd", "auto_map": {"AutoTokenizer": ["tokenization_odd.Odd", None]}}
    (tmp_path / "m" / "tokenizer_config.json").write_text(json.dumps(told))
    (tmp_path / "m" / "tokenization_odd.py").write_text(CONFIGURATION.format(ran=str(ran)))
    with pytest.raises(UsageError, match="tokenizer"):
        load(tmp_path / "m", device="cpu")
    assert not ran.exists()


def test_where_it_was_typed_it_runs_and_the_run_says_which_code(tmp_path: Path, ran: Path) -> None:
    folder = _odd(tmp_path / "odd", ran)
    found = load(folder, device="cpu", trust_remote_code=True)
    assert ran.exists()
    assert found.facts["own_code"] == own_code(folder)
    assert found.facts["own_code"]["files"] == ["configuration_odd.py", "modeling_odd.py"]
    one = decode(found, [3, 4, 5], length=6)
    assert sorted(place for step in one.committed for place in step) == [3, 4, 5, 6, 7, 8]
    assert tiny.MASK not in one.tokens
    at_once = decode(found, [3, 4, 5], length=6, sampler="threshold", threshold=1e-9)
    assert len(at_once.committed) == 1
    with pytest.raises(UsageError, match="only whole passes"):
        decode(found, [3, 4, 5], length=6, cache="prefill")
    (folder / "modeling_odd.py").write_text("# another")
    assert own_code(folder)["digest"] != found.facts["own_code"]["digest"]


@pytest.mark.parametrize(
    "place", ["someone/other--modeling_odd.OddModel", "../modeling_odd.OddModel", "absent.OddModel"]
)
def test_code_that_lies_elsewhere_is_refused(tmp_path: Path, ran: Path, place: str) -> None:
    folder = _odd(tmp_path / "odd", ran, auto_map={"AutoModel": place})
    (tmp_path / "modeling_odd.py").write_text(MODELING.format(ran=str(ran)))
    with pytest.raises(UsageError, match="is not in its folder"):
        load(folder, device="cpu", trust_remote_code=True)
    assert not ran.exists()


def test_code_that_fails_or_gives_no_logits_is_told_in_one_line(tmp_path: Path, ran: Path) -> None:
    folder = _odd(tmp_path / "odd", ran)
    (folder / "modeling_odd.py").write_text("raise RuntimeError('first\\nsecond')")
    with pytest.raises(UsageError, match="gives no logits: RuntimeError: first") as error:
        load(folder, device="cpu", trust_remote_code=True)
    assert "\n" not in error.value.message


def test_code_of_the_hub_is_taken_at_the_commit_that_was_read(tmp_path: Path) -> None:
    for revision in (None, "main", "abc123", "g" * 40):
        with pytest.raises(UsageError, match="which of it was read must be said"):
            load("someone/model", trust_remote_code=True, revision=revision)
    with pytest.raises(UsageError, match="has no revisions"):
        load(tiny.llada(tmp_path / "m"), revision="a" * 40)


def test_a_run_names_the_code_in_its_first_line_and_keeps_it(
    tmp_path: Path, ran: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = _odd(tmp_path / "odd", ran)
    words = Tokenizer(models.WordLevel({str(k): k for k in range(tiny.VOCABULARY)}, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0").save_pretrained(folder)
    questions = tmp_path / "q.jsonl"
    questions.write_text("".join(json.dumps({"id": f"q{k}", "prompt": f"3 {k} 5", "answer": "1"}) + "\n" for k in "67"))
    given = ["--model", str(folder), "--dataset", str(questions), "--answer-length", "4", "--sensors", "estimate"]
    given += ["--idle", "0", "--out", str(tmp_path / "runs"), "--json", "--device", "cpu", "--warmup", "1"]
    asked = command.make_context("diffusion", [*given, "--trust-remote-code"]).params
    with pytest.raises(UsageError, match="only whole passes"):
        run_diffusion(**asked | {"method": "greedy,dkv-decode"})
    assert not (tmp_path / "runs").exists()
    assert run_diffusion(**asked) == 0
    told = capsys.readouterr()
    kept = json.loads(told.out)["summaries"][0]["model"]["own_code"]
    assert kept == own_code(folder)
    first = told.err.splitlines()[0]
    assert first.startswith(f"mind: code that comes with {folder} runs here: sha256:")
    assert first.endswith("(configuration_odd.py, modeling_odd.py)")
    known = tiny.llada(tmp_path / "known")
    for path in folder.glob("*token*"):
        (known / path.name).write_bytes(path.read_bytes())
    assert run_diffusion(**asked | {"model": str(known)}) == 0
    assert "--trust-remote-code says nothing here" in capsys.readouterr().err
