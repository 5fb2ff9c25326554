"""What a sensor is: a set of channels, each a physical quantity that can be read, or the reason why it cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, Protocol

from ipw.clock import now_ns
from ipw.energy.belief.limits import most_power_w
from ipw.runs.readings import Kind, Status
from ipw.secrets_out import without_secrets

Scope = Literal["gpu", "module", "memory", "package", "core", "uncore", "dram", "ane", "soc", "system", "wall"]
Method = Literal["counter", "integrated_power", "model_estimate", "external_meter"]


LONGEST_PERIOD_S = 3600.0
"""What says that it is renewed more seldom, says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One physical quantity of one device."""

    name: str
    """`sensor/part`, unique on the host: `nvml/gpu0`, `rapl/package-0`, `powermetrics/cpu`."""
    kind: Kind
    scope: Scope
    method: Method
    device: str = ""
    """Name and UUID, or path."""
    driver: str = ""
    """Version of what answers, where it is not the kernel: what a reading means changes from one to the next."""
    unit: str = "J"
    """Of the values as recorded: `J` for counters, `W` for power, `C`, `MHz`, `bits`, … for gauges."""
    included_in: str | None = None
    """The channel that already contains this one, so that no total counts twice."""
    shape: str | None = None
    """The channel that tells how this one's joules lie between two of its readings: it is costly, and seldom read."""
    range_j: float | None = None
    """A counter that starts again at 0 does so after this many joules; `None`: it never does."""
    max_power_w: float | None = None
    """The most that the device can draw by its own limit; without one, or with nonsense, that of its class. Of what is
    neither a counter nor a power it is not asked."""
    resolution_j: float | None = None
    update_period_s: float | None = None
    """How often the hardware renews the value, where known before it is measured."""
    ticks: bool = False
    """Whether the value visibly holds still between updates, so that the sampler should look for the edges."""
    poll_s: float = 0.1
    """How often to read it, where it has no ticks to follow."""
    gain_rel: float = 0.05
    """Half-width of the 95 % interval of the sensor's gain, as a fraction."""
    status: Status = "ok"
    reason: str | None = None
    hint: str | None = None
    """The command that mends it."""
    asked: bool = False
    """Whether the user named this device, as CUDA_VISIBLE_DEVICES does: without it a run is not what was asked for."""
    note: str | None = None
    """What a reader must know: a MIG instance measured as its parent, a vendor's model behind the number."""
    host: str | None = None
    """The machine that it is read from over the network, with which its name begins."""
    here: bool = True
    """Whether it is a quantity of this machine."""
    age_periods: float = 0.0
    """So many of its updates a value may be old when it comes: others read it before us, at times of their own."""
    clock: str | None = None
    """The channel that tells how far the clock is ahead that its readings are told on, where that is not ours."""

    def __post_init__(self) -> None:
        """See to it that there is no counter and no power of which anything is believed, and no period that is none."""
        if self.kind != "gauge":
            object.__setattr__(self, "max_power_w", most_power_w(self.scope, self.max_power_w))
        if self.update_period_s is not None and not 0 < self.update_period_s <= LONGEST_PERIOD_S:
            object.__setattr__(self, "update_period_s", None)

    @property
    def sensor(self) -> str:
        """The family that it is of: `nvml` of `nvml/gpu0`, and `HOST/nvml` of `HOST/nvml/gpu0`."""
        return "/".join(self.name.split("/")[: 1 if self.host is None else 2])

    @property
    def part(self) -> str:
        """The device that it is of, as its name has it: `nvml/gpu0` of `nvml/gpu0/power`."""
        return "/".join(self.name.split("/")[: 2 if self.host is None else 3])

    def as_dict(self) -> dict[str, Any]:
        """For the manifest and the sampler's greeting."""
        return {name: getattr(self, name) for name in FIELDS}


FIELDS = tuple(each.name for each in fields(Channel))


class Reading(NamedTuple):
    """A value and when it was true. `made(Reading, (…))` makes one without the way through Python."""

    t_ns: int
    value: float
    uncertainty_ns: int
    """Half-width of the interval in which the hardware was asked."""


made = tuple.__new__


class SensorError(Exception):
    """A channel could not be read just now. The sampler records the status and goes on."""

    def __init__(self, status: Status, reason: str) -> None:
        self.status: Status = status
        self.reason = without_secrets(reason)
        super().__init__(self.reason)


class Sensor(Protocol):
    """A family of channels behind one library, file tree or program.

    Opening one never raises for what the machine lacks: the channel says so in `status`, `reason` and `hint`.
    """

    channels: Sequence[Channel]

    def read(self, index: int) -> Reading | None:
        """Read `channels[index]`; `None` when a stream has nothing new. Raises SensorError."""

    def close(self) -> None:
        """Let go of the device; harmless to call twice."""


def timed(read: Callable[[], float]) -> Reading:
    """Take a reading stamped with the middle of the call, and half of its length as the uncertainty."""
    before = now_ns()
    value = read()
    half = (now_ns() - before) // 2
    return Reading(before + half, value, half)


def absent(sensor: str, scope: Scope, status: Status, reason: str, hint: str | None = None) -> Channel:
    """Make the one channel of a sensor that is not there, or may not be read."""
    return Channel(name=sensor, kind="counter", scope=scope, method="counter", status=status, reason=reason, hint=hint)
