"""The trade-off study against worlds in which it is known how good a weak model must be."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle, Story, chance, policy_for, search, spec, weak_clears

from gtsearch.analysis import pipelines
from gtsearch.identity import canonical
from gtsearch.search.board import Embedding, Member
from gtsearch.search.policy import Job
from gtsearch.search.tradeoff import Point, Start, Study, records
from gtsearch.spec import Spec

BIG = {"target__model": {"name": "mlp", "depth": 3, "d_embed": 64, "width": 256}}
DESIGNS = ["snapshots", "endpoints", "dose"]
WITH_CONTROL = ["transfer", "scratch", "transfer_shuffled"]


def asking(**tradeoff: Any) -> Spec:
    """An experiment with a study of four replicates and three levels."""
    methods = tradeoff.pop("methods", ["transfer", "scratch"])
    asked = {"weak_accuracy": [0.1, 0.3, 0.5], "seeds": 4, **tradeoff}
    return spec(**BIG, tradeoff=asked, target__methods=methods)


def world(
    reaches: Callable[[Member, Member], bool],
    *,
    scratch: Callable[[Member], int | None] = lambda member: 200,
    comes_to: Callable[[Member], float] | None = None,
) -> Oracle:
    """Transfer gets there after 40 epochs: always in the search, in the study where `reaches` (member, weak) holds."""

    def target(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return scratch(member)
        if member.method != "transfer" or source is None:
            return None
        return 40 if member.role != "tradeoff" or reaches(member, source) else None

    return Oracle(weak_clears(lambda architecture: architecture.params >= 262), target, comes_to=comes_to)


def from_accuracy(least: float) -> Callable[[Member, Member], bool]:
    def reaches(member: Member, source: Member) -> bool:
        return member.embedding is not None and member.embedding.accuracy >= least

    return reaches


def study_of(story: Story) -> Study:
    assert story.policy.findings.complete
    assert story.policy.findings.study is not None
    return story.policy.findings.study


def points(study: Study, design: str, method: str = "transfer") -> list[Point]:
    return [p for p in study.points if (p.start.design, p.start.method) == (design, method)]


def levels(study: Study) -> dict[float, bool]:
    """Level -> whether it was added to find the jump, in the order of asking."""
    return {p.start.level or 0.0: bool(p.start.refined) for p in points(study, "snapshots")}


def rows_of(study: Study) -> list[Any]:
    return [p.row for p in study.points if p.row is not None]


def in_study(story: Story) -> list[dict[str, Any]]:
    return [row for row in story.needed.values() if row["role"] == "tradeoff"]


# -- replicates -----------------------------------------------------------------------------------------------


def test_a_replicate_has_a_split_a_weak_seed_and_a_target_seed_of_its_own_that_the_claim_has_not() -> None:
    story = search(asking(), world(from_accuracy(0)))
    study = study_of(story)
    assert [len(own) for own in study.scratch] == [1] * 4
    before = [row for row in story.needed.values() if row["role"] != "tradeoff"]
    for name in ("seed", "split_seed"):
        assert len({own[0][name] for own in study.scratch}) == 4
        assert not {row[name] for row in before} & {row[name] for row in in_study(story)}, name
    weak = {p.start.replicate: p.start.weak_row for p in study.points}
    assert len({row["seed"] for row in weak.values()}) == 4
    for point in study.points:
        assert point.row is not None
        own = study.scratch[point.start.replicate][point.column]
        assert point.row["split_seed"] == point.start.weak_row["split_seed"] == own["split_seed"]
        assert point.row["seed"] == own["seed"], "paired with scratch"


def test_weak_models_of_the_study_are_of_the_chosen_config_and_have_no_goal() -> None:
    story = search(asking(), world(from_accuracy(0)))
    pays = story.policy.findings.pays
    assert pays is not None
    weak = [row for row in in_study(story) if row["stage"] == "weak"]
    assert len(weak) == 4
    for row in weak:
        assert row["goal"] is None and row["epochs"] == 1000
        assert row["hyperparameters"] == dict(pays.candidate.hyperparameters)
        assert row["architecture"] == pays.candidate.architecture.label


@pytest.mark.parametrize("target_seeds", [1, 3])
def test_a_single_target_seed_is_each_replicates_own_and_several_are_crossed(target_seeds: int) -> None:
    study = study_of(search(asking(target_seeds=target_seeds), world(from_accuracy(0))))
    seeds = [[row["seed"] for row in own] for own in study.scratch]
    if target_seeds == 1:
        assert len({seed for (seed,) in seeds}) == 4
    else:
        assert len(set(seeds[0])) == 3 and seeds == [seeds[0]] * 4
    counted = Counter((p.start.level, p.start.replicate) for p in study.points)
    assert set(counted.values()) == {target_seeds}
    for point in study.points:
        assert point.row is not None and point.row["seed"] == seeds[point.start.replicate][point.column]


# -- the horizon ----------------------------------------------------------------------------------------------


def by_chance(member: Member) -> int:
    """Scratch's epochs: the study's runs take longer than all before them."""
    return 150 + 5 * int((40 if member.role == "tradeoff" else 10) * chance(member.config_id, member.seed))


def test_every_target_may_run_as_long_as_scratch_was_seen_to_need() -> None:
    experiment = asking(designs=DESIGNS, refine=None, methods=WITH_CONTROL)
    story = search(experiment, world(lambda member, source: False, scratch=by_chance))
    study, reference = study_of(story), story.policy.findings.reference
    assert reference is not None
    longest = max(row["epochs_to_goal"] for row in (*reference.rows, *(own[0] for own in study.scratch)))
    assert study.horizon == longest + 5, "and holds the goal for two evaluations"
    assert {row["epochs"] for row in rows_of(study)} == {study.horizon}
    for row in rows_of(study):
        assert (row["status"], row["cap_epochs"], row["capped_by"]) == ("capped", study.horizon, "scratch's horizon")
    assert all(row["cap_epochs"] is None for own in study.scratch for row in own)


def test_one_that_takes_as_long_as_the_slowest_scratch_got_there() -> None:
    slowest = world(from_accuracy(0))
    answer = slowest.target
    slowest.target = lambda m, s: 200 if m.role == "tradeoff" and m.method == "transfer" else answer(m, s)
    study = study_of(search(asking(), slowest))
    assert study.horizon == 205
    assert {row["status"] for row in rows_of(study)} == {"cleared"}


def test_where_scratch_never_gets_there_the_budget_is_the_horizon() -> None:
    study = study_of(search(asking(refine=None), world(from_accuracy(0.3), scratch=lambda member: None)))
    assert study.horizon == 400
    ended = {(row["status"], row["cap_epochs"]) for row in rows_of(study)}
    assert ended == {("cleared", None), ("exhausted", None)}


# -- levels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [0.33, 0.12, 0.49])
def test_levels_are_added_until_the_jump_is_known_well_enough(jump: float) -> None:
    story = search(asking(refine=0.05, seeds=12), world(from_accuracy(jump)))
    study = study_of(story)
    asked = levels(study)
    assert [level for level, refined in asked.items() if not refined] == [0.1, 0.3, 0.5]
    assert any(asked.values())
    told = pipelines.told(pipelines.frame(records(study)))
    assert jump <= told["threshold"] == told["crossing"] <= jump + 0.05
    assert told["resolution"] <= 0.05 + 1e-9
    nearby = [level for level, refined in asked.items() if refined]
    assert all(abs(level - jump) <= 0.2 for level in nearby), "nothing is asked between levels that agree"
    for point in study.points:
        assert point.row is not None
        assert point.row["design"] == "snapshots" and point.row["level"] == point.start.level
        assert point.row["refined"] is (point.start.level not in (0.1, 0.3, 0.5))


def test_no_level_is_asked_for_twice_and_a_finer_jump_takes_more() -> None:
    counts = []
    for refine in (0.2, 0.05, 0.02):
        study = study_of(search(asking(refine=refine), world(from_accuracy(0.33))))
        asked = Counter((p.start.level, p.start.replicate) for p in study.points)
        assert set(asked.values()) == {1}
        counts.append(len(levels(study)))
    assert counts[0] == 3 < counts[1] < counts[2]


@pytest.mark.parametrize("jump", [0.0, 0.9])
def test_where_everything_pays_or_nothing_does_there_is_no_jump_to_look_for(jump: float) -> None:
    study = study_of(search(asking(seeds=12), world(from_accuracy(jump))))
    assert levels(study) == {0.1: False, 0.3: False, 0.5: False}
    assert pipelines.told(pipelines.frame(records(study)))["threshold"] == (0.1 if jump == 0 else None)


def test_without_refining_only_what_is_asked_for_is_measured_and_kept() -> None:
    experiment = asking(refine=None)
    study = study_of(search(experiment, world(from_accuracy(0.33))))
    assert levels(study) == {0.1: False, 0.3: False, 0.5: False}
    assert experiment.tradeoff is not None and experiment.tradeoff.kept_levels == (0.1, 0.3, 0.5)


def test_levels_that_cannot_be_told_apart_are_one() -> None:
    study = study_of(search(asking(weak_accuracy=[0.1, 0.1000001, 0.5], refine=None), world(from_accuracy(0))))
    assert levels(study) == {0.1: False, 0.5: False}


def test_where_it_surely_pays_is_looked_for_beside_where_it_was_seen_to_pay() -> None:
    """From 0.2 on nine replicates of twelve get there, which pays by the point estimate; from 0.42 on all do."""

    def reaches(member: Member, source: Member) -> bool:
        assert member.embedding is not None
        seeds = sorted(m.seed for m in known.members.values() if m.role == "tradeoff" and m.stage == "weak")
        lucky = source.seed not in seeds[-3:]
        return member.embedding.accuracy >= 0.42 or (member.embedding.accuracy >= 0.2 and lucky)

    known = world(reaches)
    study = study_of(search(asking(refine=0.05, seeds=12), known))
    told = pipelines.told(pipelines.frame(records(study)))
    assert told["crossing"] < 0.3 < told["threshold"]
    measured = sorted(levels(study))
    for edge, jump in ((told["crossing"], 0.2), (told["threshold"], 0.42)):
        assert jump <= edge <= jump + 0.05 + 1e-9
        assert edge - max(level for level in measured if level < edge) <= 0.05 + 1e-9


def test_a_gap_that_no_weak_model_was_seen_in_is_not_looked_into() -> None:
    """Weak models that jump from 0.1 to 0.5 at one evaluation have the same accuracy at all levels between."""
    leap = world(from_accuracy(0.33))
    kept = leap._kept

    def leaping(*arguments: Any) -> list[dict[str, Any]]:
        own: list[dict[str, Any]] = kept(*arguments)
        return [one | ({"val_accuracy": 0.6} if (one["level"] or 0) > 0.1 else {}) for one in own]

    leap._kept = leaping  # type: ignore[method-assign]
    assert levels(study_of(search(asking(), leap))) == {0.1: False, 0.3: False, 0.5: False}


# -- weak models that do not come there -----------------------------------------------------------------------


def test_a_level_that_was_never_reached_charges_the_whole_weak_run() -> None:
    def comes_to(member: Member) -> float:
        return 0.35 if chance("poor", member.split_seed) < 0.5 else 0.7

    story = search(asking(refine=None, methods=WITH_CONTROL), world(from_accuracy(0), comes_to=comes_to))
    study = study_of(story)
    poor = {i for i, own in enumerate(study.scratch) if chance("poor", own[0]["split_seed"]) < 0.5}
    assert 0 < len(poor) < 4, "the world must have both for this test to say anything"
    assert {p.start.replicate for p in points(study, "snapshots") if p.row is None} == poor
    assert {p.start.replicate for p in points(study, "snapshots", "transfer_shuffled") if p.row is None} == poor
    never = [record for record in records(study) if record["status"] == "unreached"]
    assert [(r["arm"], r["level"]) for r in never] == [("shuffled", 0.5)] * len(poor) + [("transfer", 0.5)] * len(poor)
    for record in never:
        weak = story.rows[record["weak_run_id"]]
        assert not record["reached"] and record["weak_accuracy"] is None and record["run_id"] is None
        assert record["target_flops"] is record["target_seconds"] is record["target_epochs"] is None
        assert record["total_flops"] == record["weak_flops"] == weak["train_flops"]
        assert record["total_epochs"] == weak["epochs"] == 1000
        assert record["total_seconds"] == weak["train_seconds"]


# -- the control, and other designs ---------------------------------------------------------------------------


def test_the_control_has_the_best_embedding_of_every_replicate_with_its_own_config() -> None:
    story = search(asking(refine=None, methods=WITH_CONTROL), world(from_accuracy(0)))
    study = study_of(story)
    control = points(study, "snapshots", "transfer_shuffled")
    top = [p for p in points(study, "snapshots") if p.start.level == 0.5]
    assert [p.start.replicate for p in control] == [0, 1, 2, 3] and {p.start.level for p in control} == {0.5}
    config = story.policy.findings.controls["transfer_shuffled"][0].config
    for ours, theirs in zip(control, top, strict=True):
        assert ours.row is not None and theirs.row is not None
        assert ours.start.embedding == theirs.start.embedding
        assert ours.row["method"] == "transfer_shuffled" and ours.row["hyperparameters"] == dict(config)
    assert not points(study_of(search(asking(refine=None), world(from_accuracy(0)))), "snapshots", "transfer_shuffled")


def test_doses_are_of_the_weak_runs_that_the_snapshots_are_of() -> None:
    experiment = asking(designs=["snapshots", "dose"], doses=[0.25, 0.75], refine=None)
    story = search(experiment, world(from_accuracy(0.3), comes_to=lambda member: 0.8))
    study = study_of(story)
    doses = points(study, "dose")
    assert [(p.start.dose, p.start.replicate) for p in doses] == [(d, i) for d in (0.25, 0.75) for i in range(4)]
    runs = {p.start.replicate: p.start.weak_row["run_id"] for p in points(study, "snapshots")}
    assert {p.start.replicate: p.start.weak_row["run_id"] for p in doses} == runs
    assert len([row for row in in_study(story) if row["stage"] == "weak"]) == 4
    for point in doses:
        assert point.row is not None and point.start.dose is not None
        assert point.row["weak_accuracy"] == pytest.approx(0.8 * (1 - point.start.dose))
        assert (point.row["design"], point.row["dose"], point.row["level"]) == ("dose", point.start.dose, None)
        assert point.row["weak_flops"] == point.start.weak_row["train_flops"], "noise is free, the training is not"
        assert (point.row["status"] == "cleared") == (point.start.dose == 0.25)


@pytest.mark.parametrize(
    ("asked", "ranks", "decays"),
    [
        ({"architectures": 3, "weight_decays": 2}, [0, 2, 5], [0.01, 3]),
        ({"architectures": 1, "weight_decays": 1}, [2], [0.01 * 300**0.5]),
        ({"architectures": 40, "weight_decays": 2}, [0, 1, 2, 3, 4, 5], [0.01, 3]),
    ],
)
def test_endpoints_spread_over_architectures_and_weight_decays(
    asked: dict[str, int], ranks: list[int], decays: list[float]
) -> None:
    story = search(asking(designs=["endpoints"], endpoints=asked), world(from_accuracy(0)))
    study, ladder = study_of(story), story.policy.ladder
    assert ladder is not None and story.policy.findings.pays is not None
    own = points(study, "endpoints")
    expected = [(ladder.architectures[rank].label, decay) for rank in ranks for decay in decays]
    seen = [(p.start.weak_row["architecture"], p.start.weak_row["hyperparameters"]["weight_decay"]) for p in own]
    assert [label for label, _ in seen] == [label for label, _ in expected]
    assert [decay for _, decay in seen] == pytest.approx([decay for _, decay in expected])
    splits = {
        decay: {p.start.replicate for p, (_, own_decay) in zip(own, seen, strict=True) if own_decay == decay}
        for _, decay in seen
    }
    assert all(len(on) == min(4, len(ranks)) for on in splits.values()), "no weight decay stays on a few splits"
    assert len({p.start.weak_row["seed"] for p in own}) == len(own)
    rest = dict(story.policy.findings.pays.candidate.hyperparameters)
    for point in own:
        weak = point.start.weak_row
        assert weak["hyperparameters"] == rest | {"weight_decay": weak["hyperparameters"]["weight_decay"]}
        assert weak["split_seed"] == study.scratch[point.start.replicate][0]["split_seed"]
        assert weak["epochs"] == 1000 and point.row is not None and point.row["weak_epoch"] == 1000
        assert (point.row["design"], point.row["level"], point.row["dose"]) == ("endpoints", None, None)
    assert len(study.points) == len(own), "no other design was asked for"
    weak_runs = [row for row in in_study(story) if row["stage"] == "weak"]
    assert len(weak_runs) == len(own), "and no weak model that no design needs"


def test_a_weight_decay_that_is_fixed_is_one() -> None:
    experiment = asking(designs=["endpoints"], endpoints={"architectures": 2, "weight_decays": 3})
    tune = {"lr": {"loguniform": [0.003, 0.1]}, "weight_decay": 1.0, "init_scale": {"loguniform": [0.1, 1.0]}}
    changed = experiment.model_dump() | {"weak": experiment.model_dump()["weak"] | {"tune": tune}}
    study = study_of(search(Spec.model_validate(changed), world(from_accuracy(0))))
    assert len(study.points) == 2


# -- retuning -------------------------------------------------------------------------------------------------


def test_each_level_can_have_a_config_of_its_own_chosen_on_a_seed_that_nothing_is_claimed_of() -> None:
    retuned = world(from_accuracy(0))
    answer = retuned.target

    def target(member: Member, source: Member | None) -> int | None:
        if member.role == "probe" and member.level is not None and member.embedding is not None:
            return 5 * (1 + int(30 * chance(member.config_id, member.embedding.accuracy)))
        return answer(member, source)

    retuned.target = target
    story = search(asking(retune=5, refine=None), retuned)
    study = study_of(story)
    tried = [row for row in story.needed.values() if row["role"] == "probe" and row["level"] is not None]
    assert len(tried) == 15 and {row["purpose"] for row in tried} == {"tradeoff"}, "booked with the study"
    chosen = {}
    for level in (0.1, 0.3, 0.5):
        own = [row for row in tried if row["level"] == level]
        best = min(own, key=lambda row: (row["epochs_to_goal"], row["run_id"]))
        assert len({row["config_id"] for row in own}) == 5
        configs = [p.row["hyperparameters"] for p in study.points if p.start.level == level and p.row]
        assert configs == [best["hyperparameters"]] * 4
        chosen[level] = best["config_id"]
    assert len(set(chosen.values())) > 1
    (tuner,) = {row["weak_run_id"] for row in tried}
    (seed,), (split,) = ({row[name] for row in tried} for name in ("seed", "split_seed"))
    assert tuner not in {p.start.weak_row["run_id"] for p in study.points}
    claimed = [row for row in story.needed.values() if row["role"] in ("report", "tradeoff") and row["run_id"] != tuner]
    assert seed not in {row["seed"] for row in claimed}
    assert split not in {row["split_seed"] for row in claimed}


@pytest.mark.parametrize("why", ["no config gets there", "the tuner never came to the level"])
def test_the_searchs_config_serves_where_retuning_chooses_none(why: str) -> None:
    experiment = asking(retune=3, refine=None)

    def comes_to(member: Member) -> float:
        poor = member.split_seed == experiment.task.seed and why.startswith("the tuner")
        return 0.2 if poor else 0.7

    story_world = world(from_accuracy(0), comes_to=comes_to)
    answer = story_world.target

    def target(member: Member, source: Member | None) -> int | None:
        tuning = member.role == "probe" and member.level is not None
        return None if tuning and why.startswith("no") else answer(member, source)

    story_world.target = target
    story = search(experiment, story_world)
    chosen = story.policy.findings.chosen
    assert chosen is not None
    tried = [row for row in story.needed.values() if row["role"] == "probe" and row["level"] is not None]
    assert {row["level"] for row in tried} == ({0.1, 0.3, 0.5} if why.startswith("no") else {0.1})
    configs = [p.row["hyperparameters"] for p in study_of(story).points if p.row and p.start.level != 0.1]
    assert configs == [dict(chosen.tuned.config)] * 8


# -- one worker or eight, in any order ------------------------------------------------------------------------


def busy_world() -> Oracle:
    """Weak models that come to different levels, targets that get there by chance, a control, scratch that misses."""

    def comes_to(member: Member) -> float:
        return 0.15 + 0.6 * chance("top", member.architecture.label, member.seed)

    def reaches(member: Member, source: Member) -> bool:
        assert member.embedding is not None
        return chance("there", member.run_id) < 3 * (member.embedding.accuracy - 0.2)

    def scratch(member: Member) -> int | None:
        missed = member.role == "tradeoff" and chance("missed", member.seed) < 0.2
        return None if missed else by_chance(member)

    return world(reaches, scratch=scratch, comes_to=comes_to)


@cache
def finished() -> Story:
    doses, ends = [0.3, 0.7], {"architectures": 3, "weight_decays": 2}
    return search(
        asking(designs=DESIGNS, doses=doses, endpoints=ends, retune=2, target_seeds=2, methods=WITH_CONTROL),
        busy_world(),
    )


def content(story: Story) -> dict[str, tuple[Any, ...]]:
    names = ("status", "epochs", "epochs_to_goal", "cap_epochs", "attempt", "design", "level", "refined", "dose")
    return {run_id: tuple(row[name] for name in names) for run_id, row in story.needed.items()}


@pytest.mark.parametrize(("workers", "order"), [(2, 1), (3, 2), (8, 3), (8, 4)])
def test_any_number_of_workers_gives_the_same_rows_and_the_same_study(workers: int, order: int) -> None:
    alone = finished()
    assert {p.start.design for p in study_of(alone).points} == set(DESIGNS) and any(levels(study_of(alone)).values())
    many = search(alone.policy.spec, busy_world(), workers=workers, order=order)
    assert content(many) == content(alone)
    assert canonical(records(study_of(many))) == canonical(records(study_of(alone)))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_interrupted_study_ends_with_the_same_rows(share: float) -> None:
    alone = finished()
    half = search(alone.policy.spec, oracle := busy_world(), workers=3, order=5, stop=int(share * alone.jobs))
    rest = search(alone.policy.spec, oracle, workers=2, order=6, known=list(half.rows.values()))
    assert content(rest) == content(alone)
    assert canonical(records(study_of(rest))) == canonical(records(study_of(alone)))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.0, 1.0))
def test_the_next_ask_depends_on_the_set_of_rows_alone(seed: int, share: float) -> None:
    story, draws = finished(), random.Random(seed)
    # All that came before the study, and some of the study.
    known = [row for row in story.rows.values() if row["role"] != "tradeoff" or draws.random() < share]
    asked = []
    for _ in range(2):
        draws.shuffle(known)
        policy = policy_for(story.policy.spec, workers=2)
        for row in known:
            policy.tell([row])
            policy.tell([row])  # told twice, it counts once
        job = policy.ask()
        asked.append((job.id, [m.run_id for m in job.members]) if isinstance(job, Job) else job)
    assert asked[0] == asked[1]


# -- what a summary says of it --------------------------------------------------------------------------------


def test_records_by_value() -> None:
    weak = {"run_id": "w", "architecture": "mlp-d2-w8-L2", "epochs": 100, "train_flops": 1000, "train_seconds": 2.0}
    end = {"run_id": "t", "status": "cleared", "weak_accuracy": 0.31, "weak_epoch": 30, "weak_flops": 300}
    end |= {"weak_seconds": 0.6, "epochs": 45, "epochs_to_goal": 40, "train_flops": 4500, "flops_to_goal": 4000}
    end |= {"train_seconds": 9.0, "seconds_to_goal": 8.0}
    never = dict.fromkeys(("epochs_to_goal", "flops_to_goal", "seconds_to_goal"))
    miss = end | never | {"run_id": "m", "status": "capped"}
    lost = miss | {"run_id": "l", "status": "failed", "epochs": None, "train_flops": None, "train_seconds": None}
    alone = dict.fromkeys(("weak_accuracy", "weak_epoch", "weak_flops", "weak_seconds"))
    embedding = Embedding("e.safetensors", "sha", "w", 2, 30, 0.31, 300, 0.6)
    at = Start("snapshots", 1, weak, embedding, level=0.3, refined=True)
    study = Study(
        scratch=[[end | alone | {"run_id": "s0"}], [miss | alone | {"run_id": "s1"}]],
        horizon=45,
        points=[
            Point(at, 0, end),
            Point(at, 1, miss),
            Point(Start("dose", 0, weak, None, dose=0.5), 0, None),
            Point(Start("snapshots", 0, weak, embedding, method="transfer_shuffled", level=0.5), 0, lost),
        ],
    )
    told = records(study)
    frame = pipelines.frame(told)
    assert all(set(record) <= set(pipelines.COLUMNS) for record in told)
    assert list(frame["arm"]) == ["scratch", "scratch", "transfer", "transfer", "transfer", "shuffled"]
    assert list(frame["run_id"].fillna("none")) == ["s0", "s1", "t", "m", "none", "l"]
    assert list(frame["replicate"]) == [0, 1, 1, 1, 0, 0] and list(frame["column"]) == [0, 0, 0, 1, 0, 0]
    assert list(frame["reached"]) == [True, False, True, False, False, False]
    assert list(frame["status"]) == ["cleared", "capped", "cleared", "capped", "unreached", "failed"]
    assert list(frame["weak_flops"]) == [0, 0, 300, 300, 1000, 300]
    assert frame["target_flops"].tolist()[:4] == [4000, 4500, 4000, 4500] and frame["target_flops"].isna()[4]
    assert list(frame["total_flops"]) == [4000, 4500, 4300, 4800, 1000, 300]
    assert list(frame["total_epochs"]) == [40, 45, 70, 75, 100, 30]
    assert list(frame["total_seconds"]) == pytest.approx([8.0, 9.0, 8.6, 9.6, 2.0, 0.6])
    own = frame.iloc[2]
    assert (own["design"], own["level"], own["refined"], own["weak_accuracy"]) == ("snapshots", 0.3, True, 0.31)
    assert (own["weak_run_id"], own["architecture"]) == ("w", "mlp-d2-w8-L2")
    assert frame.iloc[4][["level", "refined", "weak_accuracy"]].isna().all() and frame.iloc[4]["dose"] == 0.5


# -- what a record says -----------------------------------------------------------------------------------------


def kept(accuracy: float) -> Embedding:
    return Embedding("e", "sha", "weak", 4, 120, accuracy, 1200, 1.2)


def test_a_chain_that_broke_charges_the_weak_model_up_to_the_level_and_every_link() -> None:
    weak = {"run_id": "weak", "architecture": "mlp", "epochs": 500, "train_flops": 5000, "train_seconds": 5.0}
    link = {"epochs": 30, "train_flops": 900, "train_seconds": 0.9}
    start = Start("snapshots", 0, weak, kept(0.3), level=0.3, refined=False)
    whole, broken = records(Study([], 100, [Point(start, 0, None), Point(start, 0, None, (link, link))]))
    assert [whole[f"total_{unit}"] for unit in ("epochs", "flops", "seconds")] == [500, 5000, 5]
    assert [broken[f"total_{unit}"] for unit in ("epochs", "flops", "seconds")] == pytest.approx([180, 3000, 3])
    assert not broken["reached"] and broken["weak_accuracy"] is None


def test_the_accuracy_at_hand_over_is_the_weak_models_and_not_that_of_what_grew_from_it() -> None:
    weak = {"run_id": "weak", "architecture": "mlp", "epochs": 500, "train_flops": 5000, "train_seconds": 5.0}
    target: dict[str, Any] = {"run_id": "t", "status": "cleared", "weak_accuracy": 0.95, "weak_epoch": 9}
    target |= {"weak_flops": 1, "weak_seconds": 1, "epochs_to_goal": 10, "flops_to_goal": 10, "seconds_to_goal": 10}
    (told,) = records(Study([], 100, [Point(Start("snapshots", 0, weak, kept(0.3), level=0.3), 0, target)]))
    assert told["weak_accuracy"] == 0.3
