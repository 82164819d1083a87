"""Correction surfaces: interpolation, edges, storage."""

import numpy as np
import pytest

from suanli.surface import Surface, decode, encode

KNOTS = (np.array([0.0, 2.0, 5.0]), np.array([1.0, 4.0]))


def plane(x, y):
    return 0.3 * np.asarray(x) - 0.7 * np.asarray(y) + 1.0


@pytest.fixture
def surface():
    grid = np.meshgrid(*KNOTS, indexing="ij")
    return Surface(KNOTS, plane(*grid))


def test_a_plane_is_reproduced_between_knots(surface):
    x, y = np.array([0.0, 1.0, 3.3, 5.0]), np.array([1.0, 2.2, 3.9, 4.0])
    assert surface((x, y)) == pytest.approx(plane(x, y))


def test_values_stay_constant_outside_the_edges(surface):
    assert surface((np.array([-3.0, 9.0]), np.array([1.0, 4.0]))) == pytest.approx(plane([0.0, 5.0], [1.0, 4.0]))


def test_shared_coordinates_give_the_same_as_full_arrays(surface):
    x = np.linspace(0.0, 5.0, 11)
    shared = surface((x, np.array(2.5)))
    assert shared == pytest.approx(surface((x, np.full(11, 2.5))))
    assert float(surface((np.array(1.0), np.array(2.5)))) == pytest.approx(plane(1.0, 2.5))


def test_coordinates_broadcast(surface):
    table = surface((np.array([[0.5], [4.0]]), np.array([1.5, 2.5, 3.5])))
    assert table.shape == (2, 3)
    assert table[1, 2] == pytest.approx(plane(4.0, 3.5))


def test_an_axis_of_one_knot_does_not_count():
    flat = Surface((np.array([0.0]), KNOTS[1]), np.array([[1.0, 2.0]]))
    assert float(flat((np.array(99.0), np.array(2.5)))) == pytest.approx(1.5)


def test_storage_rounds_by_at_most_half_a_step(surface):
    step, text = encode(surface.values)
    stored = decode([axis.tolist() for axis in surface.knots], step, text)
    assert np.abs(stored.values - surface.values).max() <= step / 2 + 1e-12
    with pytest.raises(ValueError, match="reshape"):
        decode([[0.0, 1.0]], step, text)
