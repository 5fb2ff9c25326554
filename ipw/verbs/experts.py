"""`ipw experts advise`: which experts of a mixture to keep in fast memory, and how many."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipw.errors import UsageError
from ipw.verbs.common.options import JSON

if TYPE_CHECKING:
    from ipw.workloads.routing.advice.model import Sizes
    from ipw.workloads.routing.advice.prices import Prices

CONTEXT = 8192
"""Tokens, or what the model was made for where that is less."""


def advise(
    *, source: str, model: str | None, memory: str, context: int | None, inserts: int, as_json: bool, **options: Any
) -> int:
    """Read the trace, or let the model make one; price every policy; say which to take."""
    from ipw.workloads.routing.advice.advice import Budget, advice_for
    from ipw.workloads.routing.advice.amounts import bytes_of
    from ipw.workloads.routing.advice.sources import Told, open_source
    from ipw.workloads.routing.advice.untraced import untraced
    from ipw.workloads.routing.streams.tables import column_names

    total = bytes_of(memory, "--memory")
    names = ("expert_bytes", "resident_bytes", "kv_bytes", "num_experts", "experts_per_token", "corpus")
    told = Told(columns=column_names(options["columns"]), **{name: options[name] for name in names})
    with tempfile.TemporaryDirectory(prefix="ipw-experts-") as name:
        folder = Path(name)
        stream, sizes = open_source(source, model, told, folder)
        tokens = min(CONTEXT, sizes.context_tokens or CONTEXT) if context is None else context
        if context and sizes.kv_bytes is None:
            raise UsageError("what a token of context takes is not known", "give --kv-bytes, or --model")
        budget = Budget(total, sizes.resident_bytes or 0, (sizes.kv_bytes or 0) * tokens, tokens)
        prices = _prices(source, sizes, options)
        if stream is None:
            found = untraced(sizes, budget, prices)
        else:
            found = advice_for(stream, sizes, budget, prices, folder, inserts=inserts)
    if sizes.kv_bytes is None:
        found["notes"].append("the KV cache takes nothing here: its size is not known (--kv-bytes, --model)")
    if sizes.resident_bytes is None:
        found["notes"].append("all the memory is for experts: what else stays in it is not known (--resident-bytes)")
    if as_json:
        click.echo(json.dumps(found))
    else:
        from ipw.verbs.common.experts_shown import show

        show(found)
    return 0


def _prices(source: str, sizes: Sizes, options: dict[str, Any]) -> Prices:
    from ipw.workloads.routing.advice.amounts import JOULES, SECONDS, amount, bytes_per_s
    from ipw.workloads.routing.advice.measure import measure_cpu, measure_link
    from ipw.workloads.routing.advice.prices import Prices
    from ipw.workloads.routing.advice.sources import measured_prices

    found = measured_prices(source)
    how = ["prices of tokens and bytes: measured by this run"] if found else []
    if found.pop("estimated", False):
        how.append("joules are an estimate from load, not measured")
    largest = max(sizes.layer_bytes)
    for option, name, measure in (("link", "link_byte_s", measure_link), ("cpu", "cpu_byte_s", measure_cpu)):
        text = options[option]
        if text == "measure":
            rate, what = measure(largest)
            how.append(f"{option}: measured here: {what}")
        elif text:
            rate = bytes_per_s(text, f"--{option}")
        else:
            continue
        found[name] = 1 / rate
        if option == "link":  # the joules of another link's bytes are not known
            found.pop("link_byte_j", None)
    if options["token_time"]:
        found["token_s"] = amount(options["token_time"], SECONDS, "--token-time", "20ms")
    if options["token_energy"]:
        found["token_j"] = amount(options["token_energy"], JOULES, "--token-energy", "1.2J")
    if options["power"]:
        found["power_w"] = amount(options["power"], {"W": 1.0, "mW": 1e-3, "kW": 1e3}, "--power", "45W")
    return Prices(**found, how=tuple(how))


@click.command("advise")
@click.argument("source", metavar="TRACE|MODEL")
@click.option("--memory", required=True, help="Fast memory available for the model, as 8GiB.")
@click.option(
    "--model", help="The trace's model: a GGUF file, or a folder with safetensors; its headers tell the sizes."
)
@click.option("--context", type=click.IntRange(0, 1 << 24), help="Tokens of context.  [default: up to 8192]")
@click.option("--link", help="How fast experts come into fast memory: 12GB/s, or measure.")
@click.option("--cpu", help="How fast the CPU goes through the weights of experts: 30GB/s, or measure.")
@click.option("--token-time", help="Of a token whose experts are all in fast memory, as 20ms.")
@click.option("--power", help="Mean power while decoding, as 45W.")
@click.option("--token-energy", hidden=True)
@click.option("--expert-bytes", help="Of one expert, all its matrices, as 3MiB; or one size a layer, by comma.")
@click.option("--resident-bytes", help="Of the weights that always stay in fast memory, as 1.5GiB.")
@click.option("--kv-bytes", help="That a token of context takes in all layers, as 96KiB.")
@click.option("--num-experts", type=click.IntRange(1, 32767), help="Of each layer, where the trace does not say it.")
@click.option("--experts-per-token", type=click.IntRange(1, 1024), help="Where the trace does not say it.")
@click.option("--columns", help="Of a table with other names: layer=L,expert=E,token=T,text=R,phase=P,domain=D.")
@click.option("--inserts", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Most experts a token and layer that a bounded LRU takes in.")  # fmt: skip
@click.option("--corpus", default="bundled", show_default=True, help="What a model reads that is traced here.")
@JSON
def command(**options: Any) -> int:
    """Which experts to keep in fast memory, and how many, for a memory and a link.

    TRACE is a run of `ipw run routing`, a CSV of llama.cpp's moe-trace, JSON lines of vLLM or SGLang, or .npy files.
    MODEL is the bundled moe, or a folder with a model, which is traced here; a GGUF file alone tells of whole layers.
    """
    return advise(**options)


@click.group("experts")
def group() -> None:
    """Mixtures of experts that do not fit into fast memory."""


group.add_command(command)
