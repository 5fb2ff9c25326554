"""What a reader of runs knows that no run can: prices, release dates, the grid's carbon. Read from a TOML file.

grid_g_co2e_per_kwh = 380
grid_source = "national mix of 2025, from ..."
electricity_per_kwh = 0.31
currency = "EUR"

[models."Qwen3-8B"]
released = 2025-04-29
parameters = 8.2e9
role = "local"                              # or "cloud"
price_per_million_tokens = [0.035, 0.138]   # in, out

[router]
false_local = 0.05
false_cloud = 0.2
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.foreign_toml import read_toml
from ipw.metrics.metric import mapping, number
from ipw.shapes import misfit

JOULES_PER_KWH = 3.6e6
HINT = "docs/reports.md shows what such a file holds"
SHAPE = {
    "grid_g_co2e_per_kwh": float, "grid_source": str, "electricity_per_kwh": float, "currency": str,
    "router": {"false_local": float, "false_cloud": float},
    "models": {"*": {"parameters": float, "role": str, "price_per_million_tokens": [float]}},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Of one model, by the name that its runs show."""

    released: dt.date | None = None
    parameters: float | None = None
    cloud: bool = False
    price_per_million_tokens: tuple[float, float] | None = None
    """In and out, in the currency of the facts."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All of them; what is not known is `None`."""

    grid_g_co2e_per_kwh: float | None = None
    grid_source: str | None = None
    electricity_per_kwh: float | None = None
    currency: str = ""
    false_local: float = 0.0
    false_cloud: float = 0.0
    models: Mapping[str, ModelFacts] = field(default_factory=dict)

    def of(self, name: str) -> ModelFacts:
        """Facts of a model; none where it is not named."""
        return self.models.get(name, ModelFacts())

    def carbon_g(self, energy_j: float) -> float | None:
        """Grams of CO₂ equivalent of so many joules."""
        per_kwh = self.grid_g_co2e_per_kwh
        return None if per_kwh is None else energy_j / JOULES_PER_KWH * per_kwh

    def cost(self, energy_j: float) -> float | None:
        """Price of so many joules of electricity."""
        return None if self.electricity_per_kwh is None else energy_j / JOULES_PER_KWH * self.electricity_per_kwh


NO_FACTS = Facts()


def unmatched(facts: Facts, names: Collection[str]) -> str | None:
    """Say which models of the facts no run is of, and the names that would have matched; `None` where all are found."""
    lost = [name for name in facts.models if name not in names]
    if not lost:
        return None
    return f"no run is of {', '.join(map(repr, lost))}; a name must be the run's: {', '.join(map(repr, names))}"


def read_facts(path: Path) -> Facts:
    """Read and check a file. Raises UsageError, which names what is wrong."""
    content = read_toml(path, HINT)
    if fault := misfit(content, SHAPE):
        raise UsageError(f"{path}: {fault}", HINT)
    router = mapping(content.pop("router", None))
    models = mapping(content.pop("models", None))
    source, currency = content.pop("grid_source", None), content.pop("currency", "")
    facts = Facts(
        grid_g_co2e_per_kwh=_amount(content, "grid_g_co2e_per_kwh"),
        grid_source=None if source is None else str(source),
        electricity_per_kwh=_amount(content, "electricity_per_kwh"),
        currency=str(currency),
        false_local=_rate(router, "false_local"),
        false_cloud=_rate(router, "false_cloud"),
        models={name: _model(name, mapping(entry)) for name, entry in models.items()},
    )
    for unknown in (*content, *router):
        raise UsageError(f"{path}: nothing is called {unknown!r}", HINT)
    return facts


def _model(name: str, entry: dict[str, Any]) -> ModelFacts:
    released = entry.pop("released", None)
    if released is not None and not isinstance(released, dt.date):
        raise UsageError(f"{name}: released must be a date", "write it as 2025-04-29, without quotes")
    released = released.date() if isinstance(released, dt.datetime) else released
    role = entry.pop("role", "local")
    if role not in {"local", "cloud"}:
        raise UsageError(f"{name}: role is {role!r}", "a role is local or cloud")
    prices = entry.pop("price_per_million_tokens", None)
    parameters = _amount(entry, "parameters")
    for unknown in entry:
        raise UsageError(f"{name}: nothing is called {unknown!r}", HINT)
    if prices is None:
        return ModelFacts(released, parameters, role == "cloud")
    if not (isinstance(prices, list) and len(prices) == 2 and all((number(x) or 0) >= 0 for x in prices)):
        raise UsageError(f"{name}: price_per_million_tokens takes two numbers", "[0.035, 0.138] for in and out")
    return ModelFacts(released, parameters, role == "cloud", (float(prices[0]), float(prices[1])))


def _amount(entry: dict[str, Any], key: str) -> float | None:
    if key not in entry:
        return None
    value = number(given := entry.pop(key))
    if value is None or value < 0:
        raise UsageError(f"{key} is {given!r}, not a number from 0 on", None)
    return value


def _rate(entry: dict[str, Any], key: str) -> float:
    value = _amount(entry, key) or 0.0
    if value > 1:
        raise UsageError(f"{key} is {value:g}, not between 0 and 1", None)
    return value
