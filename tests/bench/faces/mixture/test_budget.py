"""Sizes of parts from shares: exact totals, real faces kept whole, and shares that do not fit."""

import pytest

from bench.errors import InputError
from bench.faces.mixture.budget import Budget, PartSize, images_of_parts


def parts(*shares, num_images=1000):
    return [PartSize(name, num_images, share) for name, share in zip("abcdef", shares, strict=False)]


def test_without_a_budget_parts_are_whole():
    assert images_of_parts([PartSize("a", 7), PartSize("b", 9)], Budget()) == [7, 9]


@pytest.mark.parametrize(
    ("total", "shares", "wanted"),
    [
        (10, (0.5, 0.5), [5, 5]),
        (100, (1 / 3, 1 / 3, 1 / 3), [34, 33, 33]),
        (7, (0.5, 0.3, 0.2), [4, 2, 1]),
        (999, (0.1, 0.9), [100, 899]),
        (50, (1, 0), [50, 0]),
        (1000, (0.7, 0.3), [700, 300]),
    ],
)
def test_shares_of_a_total_add_up_to_it(total, shares, wanted):
    assert images_of_parts(parts(*shares), Budget(total_images=total)) == wanted


@pytest.mark.parametrize(("share", "wanted"), [(0, 0), (0.5, 100), (2, 400)])
def test_real_faces_are_kept_and_others_are_a_share_of_them(share, wanted):
    real = [PartSize("photos", 150, is_real=True), PartSize("more photos", 50, is_real=True)]
    assert images_of_parts([*real, PartSize("made", 500, share)], Budget(keep_real=True)) == [150, 50, wanted]


@pytest.mark.parametrize(
    ("sizes", "budget", "message"),
    [
        (parts(0.5, 0.6), Budget(total_images=10), r"the shares add up to 1\.1; .*must add up to 1"),
        (parts(0.5, 0.4), Budget(total_images=10), r"the shares add up to 0\.9"),
        (parts(0.5, None), Budget(total_images=10), r"b without a share; give one to every part"),
        (parts(0.5, None), Budget(), r"share of a is a share of nothing; give total_images or keep_real"),
        (parts(0.5, 0.5), Budget(total_images=9, keep_real=True), r"total_images=9 and keep_real are two budgets"),
        (parts(0.5, 0.5), Budget(keep_real=True), r"no part is real"),
        (
            [PartSize("a", 9, 0.5, is_real=True), PartSize("b", 9, 1)],
            Budget(keep_real=True),
            r"a is real and kept whole, so it has no share",
        ),
        (
            parts(0.5, 0.5, num_images=40),
            Budget(total_images=100),
            r"part a has 40 images, but its share of 0\.5 is 50; lower the share or the budget",
        ),
    ],
)
def test_shares_that_do_not_fit_are_refused(sizes, budget, message):
    with pytest.raises(InputError, match=message):
        images_of_parts(sizes, budget)
