"""What other processes had of the CPUs, and by how much that widens joules."""

from __future__ import annotations

from typing import NamedTuple

from ipw.metrics.metric import EnergyFacts, Estimate
from ipw.runs.readings import is_estimate


class OtherLoad(NamedTuple):
    """CPUs that were busy on average; `None` where that was not to be told."""

    cpus: int
    idle: float | None
    """By others, in the stretches in which the run sat still."""
    window: float | None
    """By others, in the measured window."""
    own: float | None
    """By the run, in the measured window."""
    share: float
    """The share of the window's joules that others likely hold; 0 where CPUs are not in the basis."""
    most_share: float
    """The share that they hold at most."""
    idle_share: float
    """What others drew while idle at most, as a share of the window's power."""
    each_w: float
    """Watts of a busy CPU, at most."""
    crowded: bool
    """Whether others filled the CPUs, so that the run was slower than it is."""

    def widened_facts(self, energy: EnergyFacts) -> EnergyFacts:
        """Widen an estimate by the share of it that others may hold. What was measured is what the devices drew."""
        if not is_estimate(energy.method) or energy.gain_rel is None:
            return energy
        return energy._replace(gain_rel=energy.gain_rel + self.most_share)

    def widened_floor(self, idle: Estimate | None) -> Estimate | None:
        """Widen the idle floor downwards by what others may have drawn meanwhile."""
        if idle is None or idle.below is None or self.idle is None:
            return idle
        return idle._replace(below=idle.below + min(self.each_w * self.idle, idle.value))

    def widened_net(self, net: Estimate | None, seconds: float) -> Estimate | None:
        """Widen the joules above idle by what others used more, or less, in the window than while idle."""
        if net is None or net.below is None or net.above is None or self.window is None or self.idle is None:
            return net
        more_j = self.each_w * (self.window - self.idle) * seconds
        return net._replace(below=net.below + max(more_j, 0.0), above=net.above + max(-more_j, 0.0))
