"""The lines at the end of a run, as text: when all went well and when nothing did."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from gtsearch import results
from gtsearch.closing import closing_lines, next_steps

WINNER: dict[str, Any] = {
    "run_id": "a1",
    "architecture": "mlp-d6-w8-L2",
    "params": 1678,
    "config": {"lr": 0.01},
    "cleared": 10,
    "seeds": 12,
    "interval": [0.552, 0.953],
    "transferred": 9,
    "pipelines": 10,
    "pipelines_interval": [0.596, 0.982],
}
SMALLER = WINNER | {"architecture": "mlp-d3-w4-L2", "params": 815, "cleared": 8, "seeds": 10, "interval": [0.49, 0.94]}


def rung(architecture: str, best: int | None, verdict: str, *candidates: str) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "params": 500,
        "configs": 8,
        "best_val_accuracy": 0.314,
        "best_cleared": best,
        "gate_seeds": None if best is None else 5,
        "verdict": verdict,
        "candidates": [{"verdict": candidate} for candidate in candidates],
    }


def method(reached: int, median: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    took = {"median": median, "interval": [low, high]}
    runs = [f"r{i}" for i in range(10)]
    return {
        "reached": reached,
        "seeds": 10,
        "run_ids": runs,
        **{f"{unit}_to_goal": took for unit in ("epochs", "seconds", "flops")},
    }


def ratios(*values: float | None, lower_bound: bool = False) -> dict[str, Any]:
    keys = ("target", "with_weak", "with_search")
    return {key: {"value": v, "lower_bound": lower_bound} for key, v in zip(keys, values, strict=True)}


def study(
    threshold: float | None,
    interval: list[float | None],
    least_total: float | None,
    censored: bool = False,
    crossing: float | None = None,
    lowest: float = 0.1,
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "replicates": 10,
        "threshold": threshold,
        "interval": interval,
        "least_total": least_total,
        "crossing": crossing,
    }
    levels = [{"design": "snapshots", "weak_accuracy": accuracy} for accuracy in (lowest, 0.5)]
    return told | {"scratch": {"censored": censored}, "levels": levels}


GOOD: dict[str, Any] = {
    "name": "modadd",
    "title": "a + b mod 113",
    "train_words": "25 % train",
    "chance": 1 / 113,
    "cost": "params",
    "judge": "target",
    "threshold": 0.4,
    "target_goal": 0.99,
    "scratch_reference": {"flops": 1e12, "seconds": 12.0, "epochs": 140},
    "weak": {
        "clears": SMALLER,
        "pays": WINNER,
        "excluded": [rung("mlp-d2-w4-L2", None, "none"), rung("mlp-d2-w6-L2", 1, "at best 1 of 5")],
        "undecided": [rung("mlp-d4-w6-L2", 3, "at best 3 of 5")],
        "ladder": [rung("mlp-d3-w4-L2", 5, "clears", "not seen to reach by 400 epochs", "reaches, does not pay")],
        "withdrawn": 0,
    },
    "methods": {
        "scratch": method(10, 12.34, 10.0, 15.0),
        "lowrank_random": method(0, None, None, None),
        "transfer": method(10, 4.04, 3.5, 5.0),
    },
    "speedup": ratios(3.05, 1.22, 0.4),
    "tradeoff": study(0.3, [0.2, 0.3], 0.4),
    "variations": None,
    "warnings": [],
    "error": None,
}
ENVIRONMENT = {"workers": 2, "device": "cpu", "device_names": ["a fast one"]}


def lines(summary: dict[str, Any], environment: dict[str, Any] = ENVIRONMENT) -> list[str]:
    ledger = results.ledger_frame(results.trials_frame([]), wall_seconds=2534.0)
    return closing_lines(summary, ledger, environment, Path("runs/modadd/report.html"))


def changed(**changes: Any) -> dict[str, Any]:
    """The good summary with changes; those of `weak` are merged in."""
    summary = copy.deepcopy(GOOD)
    weak = summary["weak"] | changes.pop("weak", {})
    return summary | changes | {"weak": weak}


def test_a_run_that_went_well() -> None:
    assert lines(GOOD) == [
        "modadd    a + b mod 113, 25 % train, chance .009 · 2 workers · cpu · 42 min 14 s",
        "weak      mlp-d6-w8-L2 · 1,678 parameters · pays on 9 of 10 fresh pipelines (95 %: .60 to .98), "
        "10 of 12 weak seeds clear",
        "          smallest that only clears 0.40: mlp-d3-w4-L2 (8 of 10 clear, the target gains nothing over scratch)",
        "          undecided: mlp-d4-w6-L2 (3 of 5) · excluded: mlp-d2-w6-L2 (8 configs, at best 1 of 5), 1 more",
        "target    transfer        10 of 10  0.99 in 4.0 s [3.5, 5.0]",
        "          scratch         10 of 10  0.99 in 12.3 s [10.0, 15.0]",
        "          lowrank_random  0 of 10   0.99 not reached by any seed",
        "          transfer is 3.0 times faster than scratch · 1.2 times faster with the weak model · "
        "2.5 times slower with every search, in FLOPs",
        "accuracy  costs less than scratch from weak accuracy .30 on, in FLOPs "
        "(95 %: cost and scratch's meet between .20 and .30); "
        "least total at .40",
        "report    runs/modadd/report.html",
    ]


def test_nothing_clears() -> None:
    told = lines(
        changed(
            weak={"clears": None, "pays": None, "undecided": [], "excluded": [], "ladder": GOOD["weak"]["excluded"]},
            methods={"scratch": GOOD["methods"]["scratch"]},
            speedup=ratios(None, None, None),
            tradeoff=None,
        )
    )
    assert told == [
        "modadd    a + b mod 113, 25 % train, chance .009 · 2 workers · cpu · 42 min 14 s",
        "weak      nothing clears 0.40: 2 architectures tried, the best accuracy is .31 of mlp-d2-w4-L2",
        "          to clear on one seed is not enough: at the gate mlp-d2-w6-L2 clears on 1 of 5 seeds",
        "target    scratch  10 of 10  0.99 in 12.3 s [10.0, 15.0]",
        "report    runs/modadd/report.html",
    ]


def test_nothing_was_even_tried() -> None:
    weak = {"clears": None, "pays": None, "undecided": [], "excluded": [], "ladder": []}
    told = lines(changed(weak=weak, methods={}, speedup=ratios(None, None, None), tradeoff=None))
    assert told[1:3] == [
        "weak      nothing clears 0.40: no architecture was tried",
        "target    not run: no weak model to start from",
    ]


def test_something_clears_and_nothing_pays() -> None:
    told = lines(changed(weak={"pays": None, "withdrawn": 1}, tradeoff=None))
    assert told[1:4] == [
        "weak      mlp-d3-w4-L2 · 815 parameters · the smallest that clears 0.40: 8 of 10 fresh seeds "
        "(95 %: .49 to .94)",
        "          nothing that clears pays for the target: the target gains nothing over scratch",
        "          withdrawn: 1 that had passed and then failed on fresh seeds",
    ]
    never = rung("mlp-d3-w4-L2", 5, "clears", "not seen to reach by 400 epochs")
    told = lines(changed(weak={"pays": None, "ladder": [never]}))
    assert told[2] == (
        "          nothing that clears pays for the target: the target is not seen to reach by 400 epochs"
    )


def test_without_a_judge_nothing_is_said_of_paying() -> None:
    told = lines(changed(judge="none", weak={"pays": None}))
    assert told[1].startswith("weak      mlp-d3-w4-L2 · 815 parameters · clears 0.40: 8 of 10 fresh seeds")
    assert not any("nothing" in line for line in told)


def test_the_one_that_pays_is_the_smallest_that_clears() -> None:
    told = lines(changed(weak={"clears": WINNER}))
    assert not any("only clears" in line for line in told)


def test_by_totals_what_pays_for_more_is_not_said_to_clear_only() -> None:
    ladder = [rung("mlp-d3-w4-L2", 5, "clears", "pays", "not seen to reach by 400 epochs")]
    told = lines(changed(cost="total_flops", weak={"ladder": ladder}, tradeoff=None))
    assert told[2][10:] == "cheapest that clears 0.40: mlp-d3-w4-L2 (8 of 10 clear, it pays, for more in total)"


def test_scratch_is_censored() -> None:
    told = lines(
        changed(
            methods={"transfer": method(7, 130.0, 120.0, None), "scratch": method(3, None, 300.0, None)},
            scratch_reference={"flops": None, "seconds": None, "epochs": None},
            speedup=ratios(3.0, None, 0.4, lower_bound=True),
            tradeoff=study(0.3, [0.2, 0.3], 0.4, censored=True),
            warnings=["scratch is censored", "lr lies on the edge"],
        )
    )
    assert told[4:] == [
        "target    transfer  7 of 10  0.99 in 2.2 min [from 2.0]",
        "          scratch   3 of 10  0.99 reached by half the seeds or fewer",
        "          transfer is at least 3.0 times faster than scratch · at most 2.5 times slower with every search, "
        "in FLOPs",
        "accuracy  costs less than scratch from weak accuracy .30 on, in FLOPs "
        "(95 %: cost and scratch's meet between .20 and .30), "
        "where scratch never reaches the goal; least total at .40",
        "warning   scratch is censored",
        "warning   lr lies on the edge",
        "report    runs/modadd/report.html",
    ]


@pytest.mark.parametrize(
    ("tradeoff", "text"),
    [
        (
            study(None, [None, None], None),
            "accuracy  no threshold: at no weak accuracy that was tried is the expected cost surely below "
            "scratch's, in FLOPs",
        ),
        (
            study(None, [0.4, None], 0.4, crossing=0.35),
            "accuracy  no threshold: at no weak accuracy that was tried is the expected cost surely below "
            "scratch's, in FLOPs "
            "(by point estimates alone from .35 on); least total at .40",
        ),
        (
            study(0.3, [None, 0.3], 0.4),
            "accuracy  costs less than scratch from weak accuracy .30 on, in FLOPs; least total at .40",
        ),
        (
            study(0.3, [None, 0.3], None, lowest=0.3),
            "accuracy  costs less than scratch from weak accuracy at most .30 on, in FLOPs",
        ),
        (
            study(0.3, [0.25, 0.3], None),
            "accuracy  costs less than scratch from weak accuracy .30 on, in FLOPs "
            "(95 %: cost and scratch's meet between .25 and .30)",
        ),
        (
            study(0.3, [None, 0.3], 0.4, censored=True),
            "accuracy  costs less than scratch from weak accuracy .30 on, in FLOPs, "
            "where scratch never reaches the goal; least total at .40",
        ),
    ],
)
def test_the_trade_off_in_words(tradeoff: dict[str, Any], text: str) -> None:
    assert text in lines(changed(tradeoff=tradeoff))


@pytest.mark.parametrize(("replicates", "tail"), [(10, "scratch's"), (4, "6 replicates or more (here 4)")])
def test_that_a_model_pays_and_no_accuracy_does_is_said_to_be_no_contradiction(replicates: int, tail: str) -> None:
    tradeoff = study(None, [None, None], None) | {"replicates": replicates}
    told = lines(changed(tradeoff=tradeoff))[-2]
    assert told.startswith("          no contradiction to `pays`, which compares the medians of 10 pipelines")
    assert told.endswith(tail)
    beside_nothing = lines(changed(tradeoff=tradeoff, weak={"pays": None}))
    assert not any("no contradiction" in line for line in beside_nothing)


def test_many_undecided_are_counted_and_what_never_came_to_the_gate_is_said() -> None:
    entries = [rung(f"mlp-d{d}-w4-L2", None, "") for d in range(2, 8)]
    told = lines(changed(weak={"undecided": entries, "excluded": entries[:1]}))
    assert told[3] == (
        "          undecided: mlp-d2-w4-L2 (up to .31), mlp-d3-w4-L2 (up to .31), mlp-d4-w4-L2 (up to .31), 3 more · "
        "excluded: mlp-d2-w4-L2 (8 configs, up to .31)"
    )


def test_a_gpu_is_named_and_one_worker_is_one() -> None:
    told = lines(GOOD, {"workers": 1, "device": "cuda", "device_names": ["NVIDIA H200"]})
    assert told[0] == "modadd    a + b mod 113, 25 % train, chance .009 · 1 worker · NVIDIA H200 · 42 min 14 s"


def without_a_weak_stage(**methods: dict[str, Any]) -> dict[str, Any]:
    nothing = {"weak": None, "threshold": None, "cost": None, "judge": None, "tradeoff": None}
    return copy.deepcopy(GOOD) | nothing | {"methods": methods, "speedup": ratios(None, None, None)}


def test_less_than_a_second_has_two_digits_that_count() -> None:
    told = lines(without_a_weak_stage(fourier=method(10, 0.0431, 0.0402, 0.05), scratch=method(10, 0.25, 0.2, 1.3)))
    assert "0.99 in 0.25 s [0.20, 1.30]" in told[1] and "0.99 in 0.043 s [0.040, 0.050]" in told[2]


def test_without_a_weak_stage_the_fastest_method_is_named() -> None:
    told = lines(without_a_weak_stage(fourier=method(10, 5.0, 4.0, 6.0), scratch=method(10, 12.5, 10.0, 15.0)))
    assert told[1:] == [
        "target    scratch  10 of 10  0.99 in 12.5 s [10.0, 15.0]",
        "          fourier  10 of 10  0.99 in 5.0 s [4.0, 6.0]",
        "          fourier is the fastest: 2.5 times faster than scratch, in FLOPs",
        "report    runs/modadd/report.html",
    ]


@pytest.mark.parametrize(
    ("methods", "text"),
    [
        (
            {"onehot": method(9, 5.0, 4.0, 11.0), "scratch": method(10, 12.5, 10.0, 15.0)},
            "onehot has the least median, 2.5 times below scratch, in FLOPs; their intervals meet",
        ),
        (
            {"onehot": method(9, 12.1, 4.0, 14.0), "scratch": method(10, 12.5, 10.0, 15.0)},
            "onehot and scratch are level, in FLOPs",
        ),
        (
            {"onehot": method(9, 5.0, 4.0, 11.0), "scratch": method(1, None, None, None)},
            "onehot is the only one that takes half its seeds there",
        ),
        (
            {"onehot": method(9, 0.0, 0.0, 0.0), "scratch": method(10, 12.5, 10.0, 15.0)},
            "onehot is at its goal before it is trained: nothing can be faster",
        ),
        ({"scratch": method(1, None, None, None)}, "scratch  1 of 10  0.99 reached by half the seeds or fewer"),
        ({}, "not run: the search ended before it"),
    ],
)
def test_the_fastest_method_in_words(methods: dict[str, Any], text: str) -> None:
    assert lines(without_a_weak_stage(**methods))[-2][10:] == text


@pytest.mark.parametrize(
    ("weak", "text"),
    [
        (
            {},
            "mlp-d6-w8-L2 · 1,678 parameters · pays on 9 of 10 fresh pipelines (95 %: .60 to .98); "
            "no accuracy was asked of it",
        ),
        (
            {"pays": None},
            "nothing that was tried pays for the target; the smallest: the target gains nothing over scratch",
        ),
        (
            {"pays": None, "clears": None},
            "nothing trained to its end: 1 architecture tried, the best accuracy is .31 of mlp-d3-w4-L2",
        ),
    ],
)
def test_without_a_screen_nothing_is_said_of_clearing(weak: dict[str, Any], text: str) -> None:
    told = lines(changed(threshold=None, weak=weak))
    assert told[1] == f"weak      {text}"
    assert told[2].startswith("          undecided: ")


def unjudged(**changes: Any) -> dict[str, Any]:
    """Neither an accuracy nor the target was asked to judge."""
    clears = SMALLER | {"train_flops": 400.0}
    ladder = [rung("mlp-d3-w4-L2", None, "undecided") | {"flops_per_epoch": 4}]
    weak = {"clears": clears, "pays": None, "undecided": [], "excluded": [], "ladder": ladder}
    return changed(**{"threshold": None, "judge": "none", "weak": weak} | changes)


def test_where_nothing_judged_nothing_is_said_of_paying() -> None:
    told = lines(unjudged())
    assert told[1] == (
        "weak      mlp-d3-w4-L2 · 815 parameters · trained 100 epochs without a threshold; "
        "its embedding takes the target to its goal on 10 of 10 fresh pipelines"
    )
    assert not any("nothing" in line for line in told)
    alone = lines(unjudged(methods={"scratch": GOOD["methods"]["scratch"]}, speedup=ratios(None, None, None)))
    assert alone[1] == "weak      mlp-d3-w4-L2 · 815 parameters · trained 100 epochs without a threshold"


def test_without_a_threshold_counts_are_of_what_the_judge_saw() -> None:
    entries = [
        rung("mlp-d2-w4-L2", 0, "") | {"gate_seeds": 2},
        rung("mlp-d3-w4-L2", None, ""),
        rung("mlp-d4-w4-L2", 1, "") | {"gate_seeds": 1},
    ]
    told = lines(changed(threshold=None, weak={"undecided": entries, "excluded": entries[:1]}))
    assert told[2] == (
        "          undecided: mlp-d2-w4-L2 (0 of 2 carry the target), mlp-d3-w4-L2 (the target was not asked), "
        "mlp-d4-w4-L2 (1 of 1 carries the target) · excluded: mlp-d2-w4-L2 (8 configs, 0 of 2 carry the target)"
    )


def test_a_ratio_that_would_read_one_is_called_as_fast() -> None:
    told = lines(changed(speedup=ratios(1.04, 0.97, 0.9)))
    line = "transfer is as fast as scratch · as fast with the weak model · 1.1 times slower with every search, in FLOPs"
    assert f"{'':10}{line}" in told
    bound = lines(changed(speedup=ratios(1.04, None, None, lower_bound=True)))
    assert "          transfer is at least 1.0 times faster than scratch, in FLOPs" in bound


def test_a_scratch_that_took_nothing_is_no_measure() -> None:
    untrained = lines(changed(speedup=ratios(0.0, 0.0, 0.5)))
    assert "          scratch is at its goal before it is trained: nothing can be faster" in untrained
    gave_out = lines(changed(speedup=ratios(0.0, 0.0, 0.5, lower_bound=True)))
    assert "          transfer is at most 2.0 times slower with every search, in FLOPs" in gave_out


def test_variations_are_told_and_many_are_counted() -> None:
    def varied(n: int) -> dict[str, Any]:
        own = {"methods": {"transfer": method(7, 4.0, 3.0, 5.0), "scratch": method(10, 12.0, 10.0, 15.0)}}
        names = ["base", *(f"merged at {i}" for i in range(1, n))]
        return changed(variations={name: {"changes": {}, "summary": own} for name in names})

    few = lines(varied(2))
    at = few.index("varied    base         transfer 7 of 10 · scratch 10 of 10")
    assert few[at + 1] == "          merged at 1  transfer 7 of 10 · scratch 10 of 10"
    assert few[at + 2].startswith("accuracy ")
    many = lines(varied(40))
    assert "          32 more in the report" in many and sum("merged at" in line for line in many) == 7


def test_chance_is_shown_with_as_many_digits_as_it_needs() -> None:
    assert "chance .50 " in lines(changed(chance=0.5))[0]
    assert "chance .10 " in lines(changed(chance=0.1))[0]


# -- dead ends ----------------------------------------------------------------------------------------------

NEVER = method(0, None, None, None)


def dead_end(**best: float | None) -> dict[str, Any]:
    """Weak models clear, and no method ever reaches the target's goal of 0.99."""
    told = {name: NEVER | {"best_val_accuracy": accuracy} for name, accuracy in best.items()}
    none = ratios(None, None, None)
    return changed(weak={"pays": None, "withdrawn": 0}, methods=told, speedup=none, tradeoff=None)


def test_what_never_reached_the_goal_says_how_near_it_came() -> None:
    told = lines(dead_end(transfer=0.914, scratch=0.9899, onehot=None, binary=0.995))
    assert "target    transfer  0 of 10  0.99 not reached by any seed, up to .91" in told
    assert "          scratch   0 of 10  0.99 not reached by any seed, up to .98" in told, "never rounded to the goal"
    assert "          onehot    0 of 10  0.99 not reached by any seed" in told
    assert "          binary    0 of 10  0.99 not reached by any seed, up to .99 and not held" in told


def test_pipelines_that_did_not_run_and_those_without_an_embedding_are_said() -> None:
    summary = dead_end(transfer=0.9, scratch=0.9)
    summary["methods"]["transfer"] |= {"seeds": 7, "run_ids": ["a", "b", "c", "d", "e"]}
    told = lines(summary)
    assert (
        "          7 of 10 pipelines ran: with 7 of transfer missed, the other 3 cannot make it pay (report.at_least)"
        in told
    )
    assert "          2 of 7 pipelines came to no embedding, and no target ran: counted as missed" in told
    assert not any("pipelines ran" in line or "no embedding" in line for line in lines(GOOD))


@pytest.mark.parametrize(
    ("best", "step"),
    [
        (0.914, "lower target.goal.val_accuracy to below .91 (--set), or raise target.budget.max_epochs"),
        (0.995, "lower target.goal.val_accuracy (--set), or raise target.budget.max_epochs"),
        (None, "lower target.goal.val_accuracy (--set), or raise target.budget.max_epochs"),
    ],
)
def test_where_scratch_never_gets_there_the_next_step_is_another_goal(best: float | None, step: str) -> None:
    assert next_steps(dead_end(scratch=best), "runs/x") == [f"next: {step}"]


def test_after_a_mistake_of_the_search_no_step_is_told() -> None:
    assert next_steps(GOOD | {"error": "KeyError: 'a'"}, "runs/x") == []


def test_an_embedding_that_pays_is_exported_though_scratch_never_gets_there() -> None:
    (step,) = next_steps(changed(methods={"scratch": NEVER}), "runs/x")
    assert step == "next: gtsearch export runs/x   the embedding, for a model of your own"


def test_above_chance_is_said_as_it_was_asked_and_why_it_was_not_cleared() -> None:
    ladder = [rung("mlp-d2-w4-L2", None, "none"), rung("mlp-d2-w6-L2", 1, "at best 1 of 5")]
    ladder[1]["best_val_accuracy"] = 0.0985
    ladder[0]["best_val_accuracy"] = 0.03
    summary = changed(
        weak={"clears": None, "pays": None, "undecided": [], "excluded": [], "ladder": ladder},
        methods={"scratch": GOOD["methods"]["scratch"]},
        speedup=ratios(None, None, None),
        tradeoff=None,
        threshold=0.0786353,
        above_chance=True,
        not_run=["transfer", "transfer_shuffled", "tradeoff"],
    )
    assert lines(summary)[1:5] == [
        "weak      nothing clears above chance (.08): 2 architectures tried, the best accuracy is .10 of mlp-d2-w6-L2",
        "          to clear on one seed is not enough: at the gate mlp-d2-w6-L2 clears on 1 of 5 seeds",
        "target    scratch  10 of 10  0.99 in 12.3 s [10.0, 15.0]",
        "          not run, for want of a weak model that clears: transfer, transfer_shuffled, the trade-off",
    ]
    (step,) = next_steps(summary, "runs/x")
    assert step.startswith("next: give the weak models more data (task.train_fraction), more epochs")
    assert step.endswith("or ask no accuracy of them: weak.goal: none") and "lower" not in step
    summary["weak"]["withdrawn"] = 1  # it passed the gate and failed later, which is another line
    assert not any("not enough" in line for line in lines(summary))


@pytest.mark.parametrize(("best", "below"), [(0.316, " to below .31"), (0.45, "")])
def test_where_nothing_clears_a_lower_threshold_is_named(best: float, below: str) -> None:
    weak = {"clears": None, "pays": None, "ladder": [rung("a", None, "") | {"best_val_accuracy": best}]}
    (step,) = next_steps(changed(weak=weak), "runs/x")
    assert step.startswith(f"next: lower weak.goal.val_accuracy{below} (--set), or give the weak models more data")


def test_without_a_weak_stage_a_method_that_gets_there_is_an_answer() -> None:
    summary = dead_end(scratch=0.9) | {"weak": None}
    assert "target.goal.val_accuracy" in next_steps(summary, "runs/x")[0]
    summary["methods"]["onehot"] = GOOD["methods"]["transfer"]
    (step,) = next_steps(summary, "runs/x")
    assert step.startswith("next: gtsearch price runs/x")


def test_where_both_stages_fail_both_next_steps_are_told() -> None:
    weak = {"clears": None, "pays": None, "ladder": []}
    first, second = next_steps(changed(weak=weak, methods={"scratch": NEVER}), "runs/x")
    assert "target.goal.val_accuracy" in first and "weak.goal.val_accuracy" in second
