"""What is claimed, against worlds whose answer is known."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from pathlib import Path

import pytest
from oracle import Oracle, Story, search, spec, target_gets_there, weak_clears

from gtsearch import certificate, narrative
from gtsearch.analysis import cost
from gtsearch.identity import derive_seed
from gtsearch.plans import ablation_for
from gtsearch.results import Results, trials_frame
from gtsearch.search.board import Member

BIG = {"target__model": {"name": "mlp", "depth": 3, "d_embed": 64, "width": 256}}


def told(story: Story) -> dict:
    """The summary, through JSON as it would be written."""
    trials = trials_frame(certificate.settle(story.ablation, list(story.rows.values())))
    return json.loads(json.dumps(certificate.summarise(story.ablation, trials), allow_nan=False))


def world(clears_from: int, pays_from: int, **kwargs: int) -> Oracle:
    return Oracle(
        weak_clears(lambda architecture: architecture.params >= clears_from),
        target_gets_there(lambda member: member.architecture.params >= pays_from, **kwargs),
    )


def test_the_bracket_of_a_clear_case() -> None:
    summary = told(search(spec(**BIG), world(262, 340)))
    weak = summary["weak"]
    assert summary["exit_code"] == 0 and summary["complete"]
    assert weak["pays"]["architecture"] == "mlp-d4-w8-L2" and weak["pays"]["params"] == 340
    assert (weak["pays"]["transferred"], weak["pays"]["pipelines"]) == (10, 10)
    assert weak["clears"]["architecture"] == "mlp-d2-w8-L2"
    assert [entry["architecture"] for entry in weak["excluded"]] == ["mlp-d2-w4-L2", "mlp-d4-w4-L2"]
    said = "0 of 8 configs clear the search seed: under 31% of such configs would, at 95 %"
    assert weak["excluded"][0]["verdict"] == said
    assert [entry["architecture"] for entry in weak["undecided"]] == ["mlp-d2-w8-L2"]
    assert not weak["pays"]["minimal"], "a cheaper one clears, and only some of its configs were tried"
    assert [entry["verdict"] for entry in weak["ladder"]] == [
        "excluded",
        "excluded",
        "clears",
        "pays",
        "not tried",
        "not tried",
    ]


def test_minimal_is_said_when_all_below_is_excluded() -> None:
    assert told(search(spec(**BIG), world(262, 262)))["weak"]["pays"]["minimal"]


@pytest.mark.parametrize(("k", "verdict"), [(1, "excluded"), (3, "undecided")])
def test_a_config_that_clears_too_seldom(k: int, verdict: str) -> None:
    """1 of 5 gate seeds: at most 0.72 at 95 %, below the 0.8 asked for. 3 of 5 leaves it open."""
    lucky = {derive_seed(0, "gate", "weak", i) for i in range(k)}

    def weak(member: Member) -> int | None:
        if member.architecture.label == "mlp-d2-w8-L2":
            return 300 if member.role == "search" or member.seed in lucky else None
        return 300 if member.architecture.params >= 340 else None

    summary = told(search(spec(**BIG), Oracle(weak, world(0, 340).target)))
    entry = next(e for e in summary["weak"]["ladder"] if e["architecture"] == "mlp-d2-w8-L2")
    assert (entry["best_cleared"], entry["gate_seeds"], entry["verdict"]) == (k, 5, verdict)
    assert entry["architecture"] in [e["architecture"] for e in summary["weak"][verdict]]


def test_the_speedups_by_hand() -> None:
    """Scratch takes 200 epochs and transfer 40, each of so many FLOPs; the weak model 300 of its own."""
    story = search(spec(**BIG), world(262, 262))
    summary = told(story)
    target, weak = story.policy.target.architecture, story.policy.findings.pays.candidate.architecture
    assert summary["speedup"]["target"] == {
        "value": pytest.approx(5.0, rel=1e-3),
        "lower_bound": False,
        "interval": pytest.approx([5.0, 5.0], rel=1e-3),
    }
    with_weak = 200 * target.flops_per_epoch / (40 * target.flops_per_epoch + 300 * weak.flops_per_epoch)
    assert summary["speedup"]["with_weak"]["value"] == pytest.approx(with_weak, rel=1e-3)
    assert summary["speedup"]["with_search"]["value"] < with_weak
    assert summary["weak"]["pays"]["saving"] == pytest.approx(1 - 1 / with_weak, rel=1e-3)


def test_the_speedups_in_other_units_by_hand() -> None:
    story = search(spec(**BIG), world(262, 262))
    trials = trials_frame(certificate.settle(story.ablation, list(story.rows.values())))
    summary = told(story)
    units, confirmation = summary["speedup_units"], story.policy.findings.chosen
    assert set(units) == {"seconds", "epochs"}
    assert units["epochs"]["target"] == {"value": 200 / 40, "lower_bound": False, "interval": [5.0, 5.0]}
    assert units["epochs"]["with_weak"]["value"] == pytest.approx(200 / (40 + 300))
    seconds = {
        method: trials.loc[trials["run_id"].isin(record["run_ids"]), "seconds_to_goal"].median()
        for method, record in summary["methods"].items()
    }
    target = seconds["scratch"] / seconds["transfer"]
    assert units["seconds"]["target"]["value"] == pytest.approx(target)
    weak = statistics.median(
        pipeline.weak_seconds + row["seconds_to_goal"]
        for pipeline, row in zip(confirmation.pipelines, confirmation.rows, strict=True)
    )
    assert units["seconds"]["with_weak"]["value"] == pytest.approx(seconds["scratch"] / weak)
    assert units["seconds"]["with_search"]["value"] < units["seconds"]["with_weak"]["value"]


def test_the_break_even_is_the_search_over_what_a_run_saves_and_the_figure_says_the_same() -> None:
    dear = {"target__model": {"name": "mlp", "depth": 3, "d_embed": 32, "width": 64}}
    story = search(spec(**dear), world(340, 340, scratch=60, transfer=20))
    trials = trials_frame(certificate.settle(story.ablation, list(story.rows.values())))
    summary = told(story)
    speedup = summary["speedup"]
    scratch = summary["methods"]["scratch"]["flops_to_goal"]["median"]
    once = scratch / speedup["with_weak"]["value"]
    own = summary["methods"]["scratch"]["tuning_flops"]
    searched = (scratch + own) / speedup["with_search"]["value"] - once
    runs = (searched - own) / (scratch - once)
    assert summary["break_even_runs"]["flops"] == pytest.approx(runs) and runs > 0
    told_of = Results(Path(), trials, *[trials.iloc[:0]] * 5, summary=summary, environment={}, spec_text="")
    drawn = cost.table(cost.gather(told_of)).drop_duplicates("unit").set_index("unit")["break_even_runs"]
    assert drawn.to_dict() == pytest.approx(summary["break_even_runs"], rel=1e-6)


def test_what_was_cancelled_is_no_cost_of_the_transfer() -> None:
    """A control's or a study's is not needed to find the weak model or to train its target; what the search itself ran
    ahead in vain depends on how many workers there were."""
    story = search(spec(**BIG), world(262, 262))
    settled = certificate.settle(story.ablation, list(story.rows.values()))
    before = certificate.summarise(story.ablation, trials_frame(settled))
    some = next(row for row in settled if row["method"] == "lowrank_random" and row["role"] == "search")
    weak = next(row for row in settled if row["method"] == "weak" and row["role"] == "search")
    cancelled = {"status": "cancelled", "purpose": "cancelled"}
    others = [some | cancelled | {"run_id": "control"}, weak | cancelled | {"run_id": "study", "role": "tradeoff"}]
    others.append(weak | cancelled | {"run_id": "ahead of the search"})
    after = certificate.summarise(story.ablation, trials_frame([*settled, *others]))
    assert [after[key] for key in ("speedup", "break_even_runs")] == [
        before[key] for key in ("speedup", "break_even_runs")
    ]
    own = trials_frame([*settled, weak | {"run_id": "one more of the search"}])
    dearer = certificate.summarise(story.ablation, own)
    assert dearer["speedup"]["with_search"]["value"] < before["speedup"]["with_search"]["value"]


def test_where_nothing_is_saved_it_never_breaks_even() -> None:
    assert told(search(spec(**BIG), world(262, 10**9)))["break_even_runs"] == {"flops": None, "seconds": None}
    assert told(search(spec(**BIG), world(10**9, 0)))["break_even_runs"] == {"flops": None, "seconds": None}


def test_by_flops_what_clears_for_more_is_no_rival() -> None:
    """All clear after as many epochs: the smallest costs least, the others are known to cost more."""
    summary = told(search(spec(weak__cost="flops", **BIG), world(262, 262)))
    assert summary["weak"]["pays"]["architecture"] == "mlp-d2-w8-L2" and summary["weak"]["pays"]["minimal"]
    others = [e for e in summary["weak"]["ladder"] if e["params"] > 262 and e["verdict"] == "clears"]
    assert others and all("for more than the winner costs" in e["detail"] for e in others)
    assert summary["weak"]["undecided"] == []


def test_a_censored_scratch_gives_lower_bounds() -> None:
    summary = told(search(spec(**BIG), world(262, 262, scratch=10**6)))
    assert summary["methods"]["scratch"]["epochs_to_goal"] == {"median": None, "interval": [None, None]}
    for units in (summary["speedup"], summary["speedup_units"]["seconds"], summary["speedup_units"]["epochs"]):
        assert units["target"] == {
            "value": pytest.approx(10.0, rel=1e-3),
            "lower_bound": True,
            "interval": [pytest.approx(10.0, rel=1e-3), None],
        }
    assert any("lower bound" in warning for warning in summary["warnings"])


def test_a_goal_out_of_reach_is_said_at_once_and_what_to_do() -> None:
    story = search(spec(**BIG), Oracle(world(262, 0).weak, lambda member, source: None))
    summary = told(story)
    short = "0 of 10 seeds in 400 epochs; the best came to .20; "
    mend = "lower target.goal.val_accuracy to below .20 (--set), or raise target.budget.max_epochs"
    assert f"scratch does not reach 0.99: {short}{mend}" in summary["warnings"]
    first = narrative.news(story.ablation)[0]
    assert (
        first == f"scratch confirmed: it does not reach 0.99: {short}the search goes on; for a goal within reach {mend}"
    )
    assert {method: record["best_val_accuracy"] for method, record in summary["methods"].items()} == {
        "transfer": 0.2,
        "scratch": 0.2,
        "lowrank_random": 0.2,
    }
    assert summary["methods"]["transfer"]["seeds"] == 7 < summary["methods"]["scratch"]["seeds"], "the rest did not run"


def test_what_did_not_run_is_named() -> None:
    nothing = told(search(spec(weak__goal="above_chance"), world(10**9, 0)))
    assert nothing["above_chance"] and nothing["not_run"] == ["transfer", "lowrank_random", "tradeoff"]
    all_of_it = told(search(spec(**BIG), world(262, 340)))
    assert not all_of_it["above_chance"] and all_of_it["not_run"] == []


def test_clears_and_does_not_pay() -> None:
    summary = told(search(spec(**BIG), world(262, 10**9)))
    assert summary["exit_code"] == 1
    assert summary["weak"]["pays"] is None and summary["weak"]["clears"]["architecture"] == "mlp-d2-w8-L2"
    assert set(summary["methods"]) == {"scratch", "transfer", "lowrank_random"}


def test_nothing_clears() -> None:
    summary = told(search(spec(**BIG), world(10**9, 0)))
    assert summary["exit_code"] == 1 and summary["weak"]["clears"] is None and summary["weak"]["pays"] is None
    assert set(summary["methods"]) == {"scratch"} and summary["tradeoff"] is None
    assert len(summary["weak"]["excluded"]) == 6


def test_without_a_judge_clearing_is_the_claim() -> None:
    summary = told(search(spec(weak__judge={"by": "none"}, **BIG), world(262, 10**9)))
    assert summary["exit_code"] == 0 and summary["weak"]["pays"] is None
    assert summary["weak"]["clears"]["architecture"] == "mlp-d2-w8-L2"


def test_a_withdrawn_winner_is_counted() -> None:
    def target(member: Member, source: Member | None) -> int | None:
        flattered = source is not None and source.architecture.params == 262 and member.role == "report"
        return None if flattered else world(262, 262).target(member, source)

    summary = told(search(spec(**BIG), Oracle(world(262, 262).weak, target)))
    assert summary["weak"]["withdrawn"] >= 1
    entry = next(e for e in summary["weak"]["ladder"] if e["architecture"] == "mlp-d2-w8-L2")
    assert "withdrawn by its report seeds" in entry["detail"]


def test_levels_that_were_never_reached_are_rows() -> None:
    oracle = world(262, 262)
    oracle.comes_to = lambda member: 0.4
    methods = ["transfer", "scratch", "transfer_shuffled"]
    asked = {"weak_accuracy": [0.1, 0.3, 0.5], "seeds": 3, "target_seeds": 2, "refine": None}
    story = search(spec(**BIG, target__methods=methods, tradeoff=asked), oracle)
    study = story.policy.findings.study
    assert study is not None
    trials = trials_frame(certificate.settle(story.ablation, list(story.rows.values())))
    unreached = trials[trials["status"] == "unreached"]
    assert unreached["run_id"].is_unique and not unreached["run_id"].isin(story.rows).any()
    weak = {p.start.weak_row["run_id"]: p.start.weak_row for p in study.points}
    assert len(weak) == 3
    for method in ("transfer", "transfer_shuffled"):
        own = unreached[unreached["method"] == method]
        assert set(own["weak_run_id"]) == set(weak) and len(own) == 3, "one a weak model, whatever its target seeds"
    assert set(unreached["level"]) == {0.5} and set(unreached["design"]) == {"snapshots"}
    assert not unreached["refined"].any() and set(unreached["role"]) == {"tradeoff"}
    for row in unreached.to_dict("records"):
        assert row["weak_flops"] == weak[row["weak_run_id"]]["train_flops"], "all it spent is charged"
        assert row["split_seed"] == weak[row["weak_run_id"]]["split_seed"]


def test_the_trade_off_is_told_with_its_pipelines() -> None:
    story = search(spec(**BIG), world(262, 262))
    study = told(story)["tradeoff"]
    assert study["horizon_epochs"] == 205
    # Three replicates of scratch and three levels; transfer costs 40 epochs and hardly any weak ones.
    assert Counter(record["arm"] for record in study["pipelines"]) == {"scratch": 3, "transfer": 9}
    assert [(level["level"], level["reached_goal"], level["pays"]) for level in study["levels"]] == [
        (0.1, 3, False),
        (0.3, 3, False),
        (0.5, 3, False),
    ], "of three replicates nothing is sure"
    assert (study["threshold"], study["interval"], study["crossing"]) == (None, [None, None], 0.1)
    assert study["least_total"] == 0.1
    assert study["scratch"] | {"expected_flops": 0, "expected_seconds": 0} == {
        "reached": 3,
        "pipelines": 3,
        "censored": False,
        "expected_epochs": 200,
        "expected_flops": 0,
        "expected_seconds": 0,
    }
    ratio = study["levels"][0]["expected_total_flops"] / study["scratch"]["expected_flops"]
    assert study["levels"][0]["ratio_flops"] == pytest.approx(ratio) and 40 / 200 < ratio < 1
    assert told(search(spec(**BIG, tradeoff=None), world(262, 262)))["tradeoff"] is None


def test_rows_that_counted_for_nothing_are_booked_as_cancelled() -> None:
    story = search(spec(**BIG), world(262, 262))
    spare = {**next(iter(story.rows.values())), "run_id": "nobody asked for this"}
    story.policy.tell([spare])
    settled = certificate.settle(story.ablation, [*story.rows.values(), spare])
    cancelled = [row for row in settled if row["status"] == "cancelled"]
    assert [row["run_id"] for row in cancelled] == ["nobody asked for this"]
    assert cancelled[0]["purpose"] == "cancelled"


def test_an_optimum_on_the_edge_is_warned_of() -> None:
    changes = {**BIG, "target__start_from": {"scratch": [{"lr": 1.0, "weight_decay": 1, "init_scale": 1}]}}

    def target(member: Member, source: Member | None) -> int | None:
        return 100 if member.method == "scratch" and member.hyperparameters["lr"] == 1.0 else None

    summary = told(search(spec(**changes), Oracle(world(262, 0).weak, target)))
    assert any("scratch" in warning and "lr 1 at the high end" in warning for warning in summary["warnings"])


def test_the_news_tell_the_story_in_order() -> None:
    story = search(spec(**BIG), world(262, 340))
    news = narrative.news(story.ablation)
    assert news[0].startswith("scratch confirmed: 10 of 10")
    assert any("mlp-d2-w8-L2" in line and "not seen to reach" in line for line in news)
    assert any(line.startswith("mlp-d4-w8-L2 confirmed") for line in news)


def test_the_state_says_what_is_tried_and_why() -> None:
    ablation = ablation_for(spec(**BIG))
    state = narrative.state(ablation, [ablation.ask()])
    assert state["phase"] == "scratch reference" and "configs of scratch" in state["why"]
    assert state["remaining_seconds"] is None, "nobody knows how far the ladder has to be climbed"


def test_of_a_run_that_was_stopped_nothing_is_excluded_whose_gate_seeds_are_out() -> None:
    """Configs that cleared wait for theirs, so it is not known yet how often they do."""
    experiment = spec()
    oracle = Oracle(weak_clears(lambda architecture: True), target_gets_there(lambda member: False))
    waiting = 0
    for stop in (8, 9, 10):
        story = search(experiment, oracle, stop=stop)
        ablation = ablation_for(experiment)
        ablation.tell(story.rows.values())
        ablation.policies["base"].remaining_seconds()  # makes the plan
        rows = list(story.rows.values())
        told = certificate.summarise(ablation, trials_frame(certificate.settle(ablation, rows)))
        assert told["weak"] is not None and not told["weak"]["excluded"], stop
        waiting += any("gate seeds are not all in" in rung["detail"] for rung in told["weak"]["ladder"])
    assert waiting
