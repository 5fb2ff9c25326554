from __future__ import annotations

import json
import math
import multiprocessing
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="training needs the extra 'torch'")

import torch
from workloads.training.tiny import losses, same, tiny_images, tiny_text, weights_of

from ipw.errors import IpwError
from ipw.workloads.training import peers as peers_module
from ipw.workloads.training.edges import Edges
from ipw.workloads.training.methods import make_method
from ipw.workloads.training.methods.byte_code import (
    DIVERGED,
    LARGEST,
    RELATIVE_ERROR,
    SMALLEST,
    clipped,
    decode,
    encode,
)
from ipw.workloads.training.methods.noise import Perturbation, Seed, direction
from ipw.workloads.training.methods.zeroth_order import ZerothOrder
from ipw.workloads.training.parameters import Parameters
from ipw.workloads.training.peers import Peers
from ipw.workloads.training.task import Task

CPU = torch.device("cpu")
STEPS, JOINED = 1000, 300


# --- the byte -------------------------------------------------------------------------------------------------------


@given(st.floats(SMALLEST, LARGEST), st.sampled_from([1, -1]))
def test_a_byte_is_within_its_bound_of_the_gradient(size: float, sign: int) -> None:
    decoded = decode(encode(sign * size))
    assert abs(decoded - sign * size) <= size * RELATIVE_ERROR * (1 + 1e-12)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_has_a_byte_that_keeps_its_sign_and_the_range(gradient: float) -> None:
    byte = encode(gradient)
    assert 0 <= byte <= 255
    assert byte != DIVERGED
    decoded = decode(byte)
    assert decoded * gradient >= 0
    assert abs(decoded) <= LARGEST * (1 + 1e-12)


@given(st.integers(0, 255).filter(lambda byte: byte != DIVERGED))
def test_what_a_byte_stands_for_has_that_byte(byte: int) -> None:
    assert encode(decode(byte)) == byte


def test_the_range_is_nearly_that_of_the_papers_code_at_half_its_resolution() -> None:
    assert pytest.approx(math.exp(1 / 16) - 1) == RELATIVE_ERROR
    assert pytest.approx(3.80e-4, rel=1e-3) == SMALLEST
    assert pytest.approx(2631, rel=1e-3) == LARGEST


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_slope_is_clipped_just_where_its_byte_is_not_within_the_bound(slope: float) -> None:
    inside = slope == 0 or SMALLEST <= abs(slope) <= LARGEST
    if inside:
        assert not clipped(slope)
    elif abs(slope) > LARGEST * 1.07 or abs(slope) < SMALLEST / 1.07:
        assert clipped(slope)


# --- one process ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [tiny_text, tiny_images])
def test_perturbed_weights_are_restored_bit_for_bit(make: Any) -> None:
    task = make()
    before, batch = weights_of(task), next(task.batches)
    perturbation = Perturbation(task.model, list(task.model.parameters()))
    with torch.no_grad():
        with perturbation.find_users():
            plain = task.loss(task.model, batch)
        for scale in (1e-3, -1e-3, 1.0):
            with perturbation.applied(Seed(0, 0, 0), scale):
                assert task.loss(task.model, batch) != plain
            assert same(weights_of(task), before)


def test_weights_are_restored_when_the_model_fails() -> None:
    task = tiny_text()
    before = weights_of(task)
    perturbation = Perturbation(task.model, list(task.model.parameters()))
    with torch.no_grad(), perturbation.find_users():
        task.loss(task.model, next(task.batches))
    task.layers[2].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), perturbation.applied(Seed(0, 0, 0), 1e-3):
        task.model(torch.zeros(1, 3, dtype=torch.long))
    assert same(weights_of(task), before)


class Tied(torch.nn.Module):
    """Uses one weight twice, and a weight of a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out, self.uncalled = (
            torch.nn.Embedding(5, 3),
            torch.nn.Linear(3, 5, bias=False),
            (torch.nn.Linear(3, 3)),
        )
        self.out.weight = self.embedding.weight

    def forward(self, tokens: Any) -> Any:
        return self.out(torch.nn.functional.linear(self.embedding(tokens), self.uncalled.weight, self.uncalled.bias))


def test_tied_weights_and_those_of_modules_that_are_not_called_are_perturbed_once() -> None:
    torch.manual_seed(0)
    model, tokens, seed, scale = Tied(), torch.arange(5), Seed(3, 1, 4), 0.1
    weights = list(model.parameters())
    perturbation = Perturbation(model, weights)
    with torch.no_grad():
        with perturbation.find_users():
            model(tokens)
        with perturbation.applied(seed, scale):
            perturbed = model(tokens)
        for number, weight in enumerate(weights):
            weight.add_(scale * direction(seed, number, weight))
        assert torch.allclose(perturbed, model(tokens), atol=1e-6)


def test_the_slope_is_that_of_the_gradient_along_the_direction() -> None:
    task = tiny_text()
    task.model.double()
    batch = next(task.batches)
    weights = list(task.model.parameters())
    task.loss(task.model, batch).backward()
    seed = Seed(0, 0, 0)
    slope = sum(float((w.grad * direction(seed, k, w)).sum()) for k, w in enumerate(weights))
    method = make_method("zeroth-order", task, Parameters())
    method.step(batch, Edges(CPU))
    assert isinstance(method, ZerothOrder)
    assert decode(method.log[0][0]) == pytest.approx(slope, rel=RELATIVE_ERROR + 1e-3)


@pytest.mark.parametrize("make", [tiny_text, tiny_images])
def test_the_bytes_alone_replay_the_weights_bit_for_bit(make: Any) -> None:
    task, again = make(), make()
    method = make_method("zeroth-order", task, Parameters(seed=5))
    for _ in range(20):
        method.step(next(task.batches), Edges(CPU))
    replayed = make_method("zeroth-order", again, Parameters(seed=5))
    assert isinstance(method, ZerothOrder)
    assert isinstance(replayed, ZerothOrder)
    replayed.catch_up(method.log)
    assert same(weights_of(task), weights_of(again))
    assert not same(weights_of(task), weights_of(make()))


def test_a_loss_that_is_no_number_moves_nothing() -> None:
    task = tiny_text()
    batch, before = next(task.batches), weights_of(task)
    task.loss = lambda net, b: net(b[:, :-1]).sum() * math.nan
    method = make_method("zeroth-order", task, Parameters())
    assert math.isnan(float(method.step(batch, Edges(CPU))))
    assert same(weights_of(task), before)


def test_both_losses_are_without_dropout_and_leave_running_statistics_alone() -> None:
    task, seen = tiny_images(), []
    buffers = [buffer.clone() for buffer in task.model.buffers()]
    dropout = torch.nn.Dropout(0.9)
    task.model.add_module("dropout", dropout)
    task.layers[0].register_forward_hook(lambda _m, _a, output: dropout(output))
    dropout.register_forward_hook(lambda _m, args, output: seen.append(torch.equal(args[0], output)))
    task.model.train()
    losses("zeroth-order", task, 3)
    assert seen
    assert all(seen)
    assert all(torch.equal(a, b) for a, b in zip(buffers, task.model.buffers(), strict=True))


def test_what_a_model_draws_all_the_same_is_the_same_on_both_sides() -> None:
    task = tiny_text()
    told: list[float] = []
    task.layers[0].register_forward_hook(lambda _m, _a, _o: told.append(float(torch.rand(()))))
    losses("zeroth-order", task, 1)
    assert told[-1] == told[-2]


@pytest.mark.parametrize("directions", [3, 7])
def test_each_of_several_directions_has_two_losses_on_its_part_of_the_batch(directions: int) -> None:
    task, again = tiny_text(), tiny_text()
    sizes: list[int] = []
    loss = task.loss

    def counted(net: Any, batch: Any) -> Any:
        sizes.append(len(batch))
        return loss(net, batch)

    task.loss = counted
    parameters = Parameters(seed=5, directions=directions)
    method: Any = make_method("zeroth-order", task, parameters)
    batch = next(task.batches)
    method.step(batch, Edges(CPU))
    assert len(method.log[0]) == directions
    assert len(sizes) == 2 * directions + 1, "and one pass before the first step, to see who uses which weight"
    assert sum(sizes[1::2]) == len(batch) if directions <= len(batch) else directions
    method.step(next(task.batches), Edges(CPU))
    assert method.notes == {"machines": 1, "clipped_slopes": 0}
    replayed: Any = make_method("zeroth-order", again, parameters)
    replayed.catch_up(method.log)
    assert same(weights_of(task), weights_of(again))


def test_slopes_that_no_byte_can_hold_are_counted() -> None:
    task = tiny_text()
    loss = task.loss
    task.loss = lambda net, batch: loss(net, batch) * 1e6
    method: Any = make_method("zeroth-order", task, Parameters(directions=3))
    method.step(next(task.batches), Edges(CPU))
    assert method.notes["clipped_slopes"] == 3
    assert {code & 127 for code in method.log[0]} == {127}


def processes() -> Any:
    """Processes that need not import torch again, each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.distributed", "workloads.training.tiny"])
    return context


# --- peers ----------------------------------------------------------------------------------------------------------


def lonely(task: Task, *, steps: int, peers: Any, log: list[bytes]) -> ZerothOrder:
    """Train with peers from where the log ends."""
    torch.set_num_threads(1)
    method = ZerothOrder(task, Parameters(seed=1), 3e-3, peers)
    method.catch_up(log)
    edges = Edges(CPU)
    while len(method.log) < steps:
        edges.begin()
        method.step(next(task.batches), edges)
        edges.end()
    return method


def small(data_seed: int) -> Task:
    """A linear model, so that a thousand steps take a moment."""
    torch.manual_seed(0)
    made = torch.Generator().manual_seed(data_seed)

    def batches() -> Iterator[Any]:
        while True:
            yield torch.randn(8, 6, generator=made)

    return Task(
        model=torch.nn.Linear(6, 1),
        batches=batches(),
        loss=lambda net, x: ((net(x)[:, 0] - x.sum(1)) ** 2).mean(),
    )


def member(store: Path, rank: int, go: Any, results: Any) -> None:
    peers = Peers(store)
    if rank < 2:
        peers.found(rank, 2)
        log: list[bytes] = []
    else:
        go.wait()
        log = peers.join()
    task = small(rank)
    caught_up = len(log)
    method = lonely(task, steps=STEPS, peers=Signalling(peers, go), log=log)
    peers.close()
    results.put((rank, caught_up, b"|".join(method.log), [w.numpy() for w in weights_of(task)]))


class Signalling:
    """Lets the late one start when the others are some steps ahead, and these not end without it."""

    def __init__(self, peers: Any, go: Any) -> None:
        self._peers, self._go = peers, go
        self._joined: list[Any] = []
        peers._on_replay = self._joined.append

    @property
    def rank(self) -> int:
        return int(self._peers.rank)

    def exchange(self, codes: bytes) -> bytes:
        every: bytes = self._peers.exchange(codes)
        return every

    def open_door(self, log: list[bytes]) -> None:
        if len(log) == JOINED:
            self._go.set()
        if len(log) > 2 * JOINED and self.rank == 0 and not self._joined:
            time.sleep(0.2)
        self._peers.open_door(log)


@pytest.mark.timeout(120)
def test_peers_stay_the_same_through_a_thousand_steps_with_one_that_joins_late(tmp_path: Path) -> None:
    context = processes()
    go, results = context.Event(), context.Queue()
    members = [context.Process(target=member, args=(tmp_path / "store", rank, go, results)) for rank in range(3)]
    for each in members:
        each.start()
    told = sorted((results.get(timeout=100) for _ in members), key=lambda each: each[0])
    for each in members:
        each.join()
    (_, none, log, weights), (_, _, second_log, second), (_, caught_up, third_log, third) = told
    assert none == 0
    assert JOINED < caught_up < STEPS, "the third came late"
    assert log == second_log == third_log
    for a, b, c in zip(weights, second, third, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()
    assert abs(weights[0] - 1).max() < 0.1, "they learnt"


def mortal(store: Path, rank: int, results: Any) -> None:
    """Train with two others for 60 steps; the second dies in the twentieth."""
    peers = Peers(store)
    peers.found(rank, 3)
    task = small(rank)
    method = ZerothOrder(task, Parameters(seed=1, directions=2), 3e-3, peers)
    while len(method.log) < 60:
        if rank == 1 and len(method.log) == 19:
            os._exit(9)
        method.step(next(task.batches), Edges(CPU))
    results.put((rank, method.log, method.notes, peers.lost, [w.numpy() for w in weights_of(task)]))
    peers.close()


@pytest.mark.timeout(120)
def test_the_others_go_on_without_a_peer_that_is_lost(tmp_path: Path) -> None:
    context = processes()
    results = context.Queue()
    members = [context.Process(target=mortal, args=(tmp_path / "store", rank, results)) for rank in range(3)]
    for each in members:
        each.start()
    told = sorted((results.get(timeout=100) for _ in range(2)), key=lambda each: each[0])
    for each in members:
        each.join(60)
    assert [each.exitcode for each in members] == [0, 9, 0]
    (_, log, notes, lost, weights), (_, second_log, _, _, second) = told
    assert lost == [(1, 19)]
    assert [len(codes) for codes in log] == [6] * 20 + [4] * 40
    assert log[19][2:4] == bytes(2), "in the step in which it was lost it counts as a slope of nothing"
    assert log == second_log
    assert notes["machines"] == 2
    for a, b in zip(weights, second, strict=True):
        assert a.tobytes() == b.tobytes()
    task = small(0)
    ZerothOrder(task, Parameters(seed=1, directions=2), 3e-3).catch_up(log)
    assert all(a.tobytes() == b.numpy().tobytes() for a, b in zip(weights, weights_of(task), strict=True)), "replayed"


def test_who_does_not_know_the_key_is_not_let_in(tmp_path: Path) -> None:
    hub = Peers(tmp_path / "store")
    hub.found(0, 1)
    port = json.loads((tmp_path / "store").read_text())["port"]
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(struct.pack(">i", 34) + bytes(34))
        hub.open_door([])
        stranger.settimeout(10)
        assert stranger.recv(100) == b"", "turned away"
    assert hub.exchange(b"\1") == b"\1"
    hub.close()


def test_peers_that_do_not_come_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "TIMEOUT_S", 0.05)
    alone = Peers(tmp_path / "store")
    with pytest.raises(IpwError, match="the 3 peers did not meet: 1 of them came"):
        alone.found(0, 3)
    alone.close()
    with pytest.raises(IpwError, match="the first of them did not come"):
        Peers(tmp_path / "elsewhere").found(1, 3)


def test_without_the_first_peer_there_is_no_training(tmp_path: Path) -> None:
    hub, late = Peers(tmp_path / "store"), Peers(tmp_path / "store")
    hub.found(0, 1)
    told: list[Any] = []
    hub._on_replay = told.append
    log = [b"\1\2", b"\3"] * 8

    def join() -> None:
        told.append(late.join())
        late.ready()

    joiner = threading.Thread(target=join)
    joiner.start()
    while len(told) < 2:
        hub.open_door(log)
    joiner.join()
    assert told[0] == log
    assert (told[1].name, told[1].steps) == (1, 16)
    assert late.rank == 1
    hub.close()
    with pytest.raises(IpwError, match="the first peer is gone"):
        late.exchange(b"\1")
