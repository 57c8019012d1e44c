from __future__ import annotations

import pytest

from rayl2o.evaluate.statistics import paired_difference
from rayl2o.study.results import rows
from tests.study.examples import ADAM, DM, DM_EXACT, TASK, document, example, score, trained


def test_rows_are_means_over_meta_seeds_with_paired_differences() -> None:
    first, exact, adam = rows(example())[:3]
    assert (first.label, exact.label, adam.label) == ("dm-first", "dm-exact", "adam:lr=0.1")
    assert first.points == (1.5, 2.0, 4.0)
    assert exact.mean == pytest.approx((1.0 + 1.0 + 3.4) / 3)
    assert (first.verdict, first.difference, first.against) == ("reference", None, "")
    expected = paired_difference([1.0, 1.0, 3.4], [1.5, 2.0, 4.0])
    assert exact.difference == expected
    assert expected.mean == pytest.approx(-0.7)
    assert (exact.against, exact.paired_by, exact.verdict) == ("dm-first", "meta-seed", "too few pairs")
    assert (first.alive, exact.alive, adam.alive) == (2, 2, None)
    assert (exact.updates, exact.cpu_s, exact.mark, exact.credit) == (3, 1.5, 3, "exact")
    assert (exact.cosines, first.cosines) == ({"first_order": 0.5}, {"first_order": 0.25})
    assert (exact.own_cosine, first.own_cosine, adam.own_cosine) == (1.0, 0.25, None)
    assert exact.final == -1.0


def test_both_clocks_have_rows() -> None:
    found = rows(example())
    assert [row.clock for row in found] == ["updates"] * 3 + ["cpu_s"] * 3
    assert (found[3].mark, found[3].updates, found[3].cpu_s) == (2.0, 4, 2.1)


def test_a_baseline_is_paired_with_the_reference_by_evaluation_seed() -> None:
    adam = rows(example())[2]
    assert adam.points == (4.0,)
    assert (adam.against, adam.paired_by) == ("dm-first", "evaluation seed")
    assert adam.difference is not None
    assert adam.difference.mean == pytest.approx(4.0 - (1.5 + 2.0 + 4.0) / 3)
    assert (adam.diverged, adam.runs) == (1, 2)


def test_seeds_that_one_of_two_lacks_are_left_out_of_their_difference() -> None:
    jobs = [trained(DM, seed, [level, level]) for seed, level in ((0, 1.0), (1, 2.0), (2, 50.0))]
    jobs += [trained(DM_EXACT, seed, [level, level]) for seed, level in ((0, 0.5), (1, 1.0))]
    failed = {"job": "dm-exact-2", "kind": "training", "arm": "dm-exact", "levels": DM_EXACT, "status": "failed"}
    exact = rows(document([*jobs, failed]))[1]
    assert exact.difference is not None
    assert exact.difference.mean == pytest.approx(-0.75)
    assert exact.points == (0.5, 1.0)


def test_five_pairs_are_judged() -> None:
    jobs = [trained(DM, seed, [2.0 + 0.1 * seed, 3.0]) for seed in range(5)]
    jobs += [trained(DM_EXACT, seed, [1.0, 3.0 + 0.1 * seed]) for seed in range(5)]
    exact = rows(document(jobs, seeds=[0, 1, 2, 3, 4]))[1]
    assert (exact.verdict, exact.paired_by) == ("better", "meta-seed")
    assert [row.verdict for row in rows(document(jobs, reference={"credit": "exact"}))] == ["worse", "reference"]


def test_one_meta_seed_is_told_by_evaluation_seeds() -> None:
    jobs = [trained(DM, 0, [1.0, 3.0, 4.0]), trained(DM_EXACT, 0, [2.0, 5.0, 4.5])]
    first, exact = rows(document(jobs))
    assert first.low is not None
    assert first.low < first.mean < float(first.high or 0)
    assert exact.difference == paired_difference([2.0, 5.0, 4.5], [1.0, 3.0, 4.0])
    assert exact.paired_by == "evaluation seed"


def test_one_of_everything_has_no_interval() -> None:
    first, exact = rows(document([trained(DM, 0, [1.0]), trained(DM_EXACT, 0, [2.0])]))
    assert (first.low, exact.difference, exact.verdict, exact.against) == (None, None, "", "dm-first")


def test_a_lone_arm_is_what_baselines_are_measured_against() -> None:
    evaluations = [{"task": TASK, "where": {"credit": "exact", "rule": "dm"}}]
    jobs = [trained(DM, 0, [9.0] * 5), trained(DM_EXACT, 0, [1.0, 2.0, 1.0, 2.0, 1.0])]
    adam = {**ADAM, "label": "adam:lr=0.1", "on_edge": ["lr"], "scores": score([2.0, 4.0, 2.0, 3.5, 3.0])}
    exact, baseline = rows(document([*jobs, adam], evaluations=evaluations, reference={}))
    assert (exact.label, exact.verdict) == ("dm-exact", "")
    assert (baseline.against, baseline.verdict) == ("dm-exact", "worse")
    assert baseline.label == "adam:lr=0.1 (optimum at the edge of the search: lr)"


def test_a_row_is_plain_data() -> None:
    data = rows(example())[1].to_json()
    assert data["difference"]["mean"] == pytest.approx(-0.7)
    assert data["levels"] == DM_EXACT
