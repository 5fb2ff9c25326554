"""Which nodes have what a cell needs. A cell takes a whole node, so that no two ever share a sensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ipw.studies.suite import Placement

GB = 1e9
ACCELERATOR, LABEL = "accelerator_type:", "ray.io/accelerator-type"


class Node(NamedTuple):
    """A living node of the cluster."""

    id: str
    name: str
    resources: Mapping[str, float]
    accelerators: frozenset[str]

    @property
    def kind(self) -> tuple[float, float, frozenset[str]]:
        """What makes two nodes alike: cores, GPUs and accelerators."""
        return self.resources.get("CPU", 0.0), self.resources.get("GPU", 0.0), self.accelerators


def living(described: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Read what `ray.nodes()` says; a node without cores only steers the cluster."""
    found = []
    for each in described:
        resources = {str(name): float(amount) for name, amount in each.get("Resources", {}).items()}
        if not each.get("Alive") or resources.get("CPU", 0) <= 0:
            continue
        named = {name.removeprefix(ACCELERATOR) for name in resources if name.startswith(ACCELERATOR)}
        named |= {str(each.get("Labels", {}).get(LABEL))} - {"None"}
        found.append(Node(each["NodeID"], str(each.get("NodeName") or each["NodeID"]), resources, frozenset(named)))
    return found


def lacks(node: Node, placement: Placement) -> str | None:
    """Say what a node lacks for a cell; `None` where it has all."""
    if placement.accelerator and placement.accelerator not in node.accelerators | set(node.resources):
        return f"no {placement.accelerator}"
    wanted = {"GPU": placement.gpus, "memory": placement.memory_gb * GB, **placement.resources}
    for name, amount in wanted.items():
        if node.resources.get(name, 0.0) < amount:
            return f"{name} {node.resources.get(name, 0.0):g} of {amount:g}"
    return None


def fitting(nodes: Sequence[Node], placement: Placement) -> list[Node]:
    """Keep the nodes on which a cell may run."""
    return [node for node in nodes if lacks(node, placement) is None]


def why_none(nodes: Sequence[Node], placement: Placement) -> str:
    """Say what every node lacks."""
    told = "; ".join(f"{node.name}: {lacks(node, placement)}" for node in nodes) or "the cluster has no node with cores"
    return f"no node has what the cell needs ({told})"
