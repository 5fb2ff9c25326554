"""How far power departs from the levels: the parts of the estimate, each against what it is by its definition."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy import departures
from ipw.energy.segments import Segments

THREE = np.array([0.01, 0.0003, 0.0001])


def cut(seconds: list[float], *, lost: int | None = None) -> Segments:
    """One phase in flight throughout, with a knot at every event; one segment may be a gap."""
    size = len(seconds)
    gap = np.arange(size) == (-1 if lost is None else lost)
    t = np.concatenate([[0], np.cumsum(np.array(seconds) * 1e9)]).astype(np.int64)
    present = np.vstack([np.ones(size), np.zeros(size)])
    none = np.zeros((2, size))
    kind = np.zeros(size, np.int64)
    return Segments(
        0, t, np.array(seconds), present, none, none[:1], none[:1], kind, np.arange(size + 1), gap, np.ones(size), ~gap
    )


def test_a_jump_is_what_power_rises_by_where_a_segment_starts() -> None:
    np.testing.assert_array_equal(departures.jumps(np.array([5.0, 7.0, 4.0])), [0, 2, -3])


def test_a_scene_tells_drift_by_power_and_time_and_edges_by_the_jumps_on_both_sides() -> None:
    power = np.array([10.0, 30.0, 20.0])
    made = departures.scene(cut([1.0, 2.0, 4.0], lost=2), power, np.array([1.0, 2.0, 3.0, 4.0]), THREE)
    np.testing.assert_allclose(made.drift_unit, [100, 1800, 1600])
    np.testing.assert_allclose(made.edge_unit, [(0 + 400) / 2, (400 + 100) / 2, (100 + 0) / 2])
    np.testing.assert_allclose(made.extra_var, [4e-9, 4e-9, 16])  # a gap may hide anything, the rest hides nothing
    np.testing.assert_allclose(made.knot_var, [1, 2, 3, 4])


def test_a_part_of_a_scene_has_one_knot_more_than_it_has_segments() -> None:
    made = departures.scene(cut([1.0, 2.0, 4.0, 8.0]), np.ones(4), np.arange(1.0, 6.0), THREE)
    part = made.part(1, 3)
    np.testing.assert_array_equal(part.seconds, [2, 4])
    np.testing.assert_array_equal(part.knot_var, [2, 3, 4])
    assert part.present.shape == part.leaving.shape == (2, 2)


def test_departures_multiply_what_all_phases_have_by_each_ones_own_and_are_bounded() -> None:
    log = np.log([[0.01, 0.002, 0.003, 2.0, 0.5], [0.5, 1e-9, 3.0, 1.0, 4.0]])
    found = departures._departures(log)
    np.testing.assert_allclose(found[0], [0.02, 0.005, 0.01, 0.002, 0.003])  # two phases, idle, within, edges
    np.testing.assert_allclose(found[1], [0.5, 0.7, 0.5, 1e-9, 0.7])


def test_the_density_of_proposals_is_the_normals() -> None:
    root = np.array([[2.0, 0.0], [1.0, 0.5]])
    mean = np.array([1.0, -1.0])
    at = np.array([[1.0, -1.0], [3.0, 0.0], [0.0, 4.0]])
    away = at - mean
    exact = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(root @ root.T), away)
    exact -= 0.5 * np.log(np.linalg.det(root @ root.T))
    np.testing.assert_allclose(departures._log_density(at, mean, root), exact)


def test_weights_add_up_to_one_and_keep_their_ratios_however_small_they_are() -> None:
    weight = departures._weights(np.log([1.0, 3.0, 4.0]) - 5000)
    np.testing.assert_allclose(weight, [1 / 8, 3 / 8, 1 / 2])


def test_a_short_run_is_looked_at_whole_and_a_long_one_in_pieces_from_end_to_end() -> None:
    most = departures.PIECES * departures.PIECE
    short = np.arange(0, most + 1, 10)
    (whole,) = departures._pieces(short)
    np.testing.assert_array_equal(whole, short)
    long = np.arange(0, 3 * most + 1, 10)
    pieces = departures._pieces(long)
    assert len(pieces) == departures.PIECES
    assert pieces[0][0] == 0
    assert pieces[-1][-1] == long[-1]
    assert [int(piece[-1] - piece[0]) for piece in pieces] == pytest.approx([departures.PIECE] * 4, abs=10)
    assert all(np.all(np.diff(piece) == 10) for piece in pieces)


def test_where_knots_are_so_rare_that_no_piece_holds_three_the_first_ones_are_taken() -> None:
    rare = np.array([0, 3000, 6000, 9000])
    (piece,) = departures._pieces(rare)
    np.testing.assert_array_equal(piece, rare)
