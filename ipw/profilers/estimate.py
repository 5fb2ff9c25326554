"""The last resort: a CPU's energy guessed from its load, for machines on which nothing can be measured."""

from __future__ import annotations

from ipw.clock import now_ns
from ipw.energy.load_model import BASE_W, WATTS_PER_CPU
from ipw.profilers.base import Channel, SensorError, timed
from ipw.profilers.sources import Sources, missing
from ipw.system import busy_cpu_s, cpu_count

NOTE = (
    "estimated from CPU load, not measured: {base:.0f} W and {each:.0f} W for each of {cpus} busy logical CPUs; "
    "such models were wrong by 20 to 60 % against measured packages"
)


def open_sensor() -> Sources:
    """Open the load model: joules since now, from the CPU time that the system has spent."""
    cpus, busy_s = cpu_count(), busy_cpu_s()
    if busy_s is None:
        return missing("estimate", "package", "unsupported", "the system does not tell how busy its CPUs are")
    channel = Channel(
        name="estimate/cpu",
        kind="counter",
        scope="package",
        method="model_estimate",
        device=f"{cpus or 'some'} logical CPUs",
        resolution_j=WATTS_PER_CPU * 0.01,  # CPU time is told in hundredths of a second
        max_power_w=2 * (BASE_W + WATTS_PER_CPU * cpus) if cpus else None,
        gain_rel=0.5,
        note=NOTE.format(base=BASE_W, each=WATTS_PER_CPU, cpus=cpus or "the"),
    )
    started_ns, last_j = now_ns(), 0.0

    def energy() -> float:
        nonlocal last_j
        elapsed_s, now_busy_s = (now_ns() - started_ns) / 1e9, busy_cpu_s()
        if now_busy_s is None:
            raise SensorError("lost", "the system does not tell how busy its CPUs are")
        last_j = max(last_j, BASE_W * elapsed_s + WATTS_PER_CPU * (now_busy_s - busy_s))
        return last_j

    return Sources([(channel, lambda: timed(energy))])
