"""Seconds to the weak stage's claim: `gtsearch run` beside plain Ray Tune and plain Optuna, on the same cores.

The claim: the cheapest architecture that has a config which clears the search seed and then enough gate seeds, every
cheaper one having had its whole budget of configs without such a config. The target is left out of it.

What is the same: the ladder and its order, the data, the goal and when it is looked at, the cap, the gate and its
seeds, the initial weights of a config and a seed, workers of one thread each. And the configs: gtsearch runs first, and
the rivals start from the very configs it came to (`--configs own`: from the published ones, and propose the others
themselves). Nobody stops early within an architecture, so all have the same evidence on it.

What is not: everybody's own loop. The rivals train the plain module with torch.optim.AdamW that their user would write
(`plain.py`), and reach the goal or not as their own rounding has it, so a rival may name another architecture: these
curves are chaotic. Therefore all do the same part of the ladder, up to the architecture gtsearch names, whatever they
find on it. What each names, and when it could have, is printed beside; the ratios are of the same part of the ladder.

    python -m benchmarks.rivals [--repeats 1] [--workers N] [--minutes 60] [--rivals optuna ray ray-earned]
                                [--architectures N] [--configs same|own] [--spec modadd] [--set KEY=VALUE]

Rivals: `optuna` (b) is Optuna over processes; `ray` (a) is Ray Tune with Repeater over all seeds of each config, as its
docs have it; `ray-earned` is Ray Tune by a user who starts the gate's seeds only for configs that cleared the search
seed. A rival that is not there after `--minutes` is stopped and counts as that, so its ratio is an upper bound.

Seconds are wall seconds from the start of the process, imports and Ray's start included, to the line that completes the
claim, as a program that watches the file reads it. Peak memory is the sum of resident sets of the process and all its
descendants (Ray's own processes too), seen once a second; pages they share count in each.

The result is kept only of the whole weak stage of modadd: another --spec, --architectures and --set are to try it out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.results import Row, keep, paired
from benchmarks.rivals.ours import Stage, stage_of, trained_of
from benchmarks.rivals.watch import Watched, watch
from benchmarks.rivals.work import Trained, Verdict, Work
from gtsearch.errors import GtsearchError
from gtsearch.resources import cores
from gtsearch.results import LOG

WHOLE = "modadd"


@dataclass(frozen=True)
class Rival:
    """What a user would write instead: its name for people, its script with options, and which share of its time ours
    may take (and the same in words)."""

    title: str
    script: str
    options: str
    at_most: float
    target: str


OPTUNA, RAY = "benchmarks.rivals.plain_optuna", "benchmarks.rivals.ray_tune"
RIVALS = {
    "optuna": Rival("plain Optuna", OPTUNA, "{}", 2 / 3, "at most 2/3"),
    "ray": Rival("plain Ray Tune, Repeater over all seeds", RAY, "{}", 1 / 5, "at most 1/5"),
    "ray-earned": Rival("plain Ray Tune, gate seeds where earned", RAY, '{"earned": true}', 1 / 5, "at most 1/5"),
}


@dataclass(frozen=True)
class Race:
    """How one program did.

    Attributes:
        runs: with the seconds at which each was known.
        verdicts: on the architectures it settled, in order.
    """

    runs: list[tuple[float, Trained]]
    verdicts: list[Verdict]
    watched: Watched

    @property
    def claims(self) -> str | None:
        """The architecture it names; None where none passed on its part of the ladder."""
        return next((verdict.architecture for verdict in self.verdicts if verdict.passes), None)

    @property
    def epochs(self) -> int:
        return sum(run.epochs for _, run in self.runs)

    def told(self) -> str:
        """Its claim and what it trained, in words."""
        if self.claims is None:
            claim = "names none"
        else:
            claimed_at = max(seconds for seconds, run in self.runs if run.architecture == self.claims)
            claim = f"names {self.claims}" + ("" if self.verdicts[-1].passes else f" already at {claimed_at:.0f} s")
        cut = "" if self.watched.in_time else ", stopped"
        return f"{claim}, {len(self.runs)} runs, {self.epochs} epochs{cut}"


def race_ours(stage: Stage, folder: Path, workers: int, architectures: int, limit_seconds: float) -> Race:
    """`gtsearch run` until its log holds the claim, or settles so many architectures.

    Raises:
        GtsearchError: it did not within its time.
    """
    spec, out = folder / "spec.yaml", folder / "run"
    spec.write_text(stage.spec.to_yaml())
    command = [sys.executable, "-m", "gtsearch", "run", str(spec), "--out", str(out), "--workers", str(workers)]

    def verdicts(runs: Sequence[Trained]) -> list[Verdict]:
        return _to_the_first_that_passes(stage.verdicts(runs))[:architectures]

    def enough(settled: Sequence[Verdict]) -> bool:
        return len(settled) == min(architectures, len(stage.ladder)) or any(verdict.passes for verdict in settled)

    output = folder / "ours.out"
    race = _race(command, out / LOG, output, trained_of, verdicts, enough, limit_seconds, ends_itself=False)
    if not race.watched.in_time:
        raise GtsearchError(f"gtsearch made no claim within {limit_seconds / 60:g} minutes; give more with --minutes")
    return race


def race_rival(name: str, work: Work, folder: Path, limit_seconds: float) -> Race:
    """A rival over the whole of `work`."""
    asked, log = folder / f"{name}.json", folder / f"{name}.jsonl"
    work.write(asked)
    command = [sys.executable, "-m", RIVALS[name].script, str(asked), str(log), RIVALS[name].options]

    def enough(settled: Sequence[Verdict]) -> bool:
        return len(settled) == len(work.architectures)

    output = folder / f"{name}.out"
    return _race(command, log, output, Trained.from_line, work.verdicts, enough, limit_seconds, ends_itself=True)


def _race(
    command: Sequence[str],
    log: Path,
    output: Path,
    read: Callable[[str], Trained | None],
    verdicts: Callable[[Sequence[Trained]], list[Verdict]],
    enough: Callable[[Sequence[Verdict]], bool],
    limit_seconds: float,
    ends_itself: bool,
) -> Race:
    """Runs `command` until the verdicts on what it wrote into `log` are enough."""
    runs: list[tuple[float, Trained]] = []

    def settled() -> list[Verdict]:
        return verdicts([run for _, run in runs])

    def take(seconds: float, lines: list[str]) -> bool:
        runs.extend((seconds, run) for run in map(read, lines) if run is not None)
        return enough(settled())

    watched = watch(command, log, output, take, limit_seconds, ends_itself)
    return Race(runs, settled(), watched)


def _to_the_first_that_passes(verdicts: list[Verdict]) -> list[Verdict]:
    last = next((i for i, verdict in enumerate(verdicts) if verdict.passes), len(verdicts))
    return verdicts[: last + 1]


def rows_of(rounds: Sequence[dict[str, Race]], minutes: float) -> list[Row]:
    """Time and memory, ours beside each rival's."""
    rows = []
    for name in [name for name in rounds[0] if name != "ours"]:
        rival = RIVALS[name]
        ours, other = ([each[side] for each in rounds] for side in ("ours", name))
        cut = any(not race.watched.in_time for race in other)
        note = f"gtsearch {ours[-1].told()}; the other {other[-1].told()}"
        bound = f"; it was stopped after {minutes:g} minutes, and the ratio is at most this" if cut else ""
        what, seconds = f"to the weak claim, beside {rival.title}", _each(ours, other, _seconds)
        row = paired(what, *seconds, "s", rival.at_most, note + bound)
        rows.append(replace(row, target=rival.target))
        rows.append(paired(f"peak memory {what}", *_each(ours, other, _mebibytes), "MiB"))
    return rows


def _each(
    ours: Sequence[Race], other: Sequence[Race], measure: Callable[[Watched], float]
) -> tuple[list[float], list[float]]:
    return [measure(race.watched) for race in ours], [measure(race.watched) for race in other]


def _seconds(watched: Watched) -> float:
    return watched.seconds


def _mebibytes(watched: Watched) -> float:
    return watched.peak_bytes / 2**20


def main(words: Sequence[str] | None = None) -> None:
    asked = _arguments(words)
    try:
        rounds = _rounds(asked)
    except GtsearchError as error:
        sys.exit(f"error: {error}")
    rows = rows_of(rounds, asked.minutes)
    for row in rows:
        target = "" if row.target is None else f"   {row.target}: {'met' if row.met else 'missed'}"
        print(f"{row.what:80} ours / other {row.ratio:.3f}{target}")
    if asked.set or asked.architectures is not None or asked.spec != WHOLE:
        print(f"not kept: only the whole weak stage of {WHOLE} is")
        return
    settings = {key: value for key, value in vars(asked).items() if key not in ("folder", "set", "architectures")}
    print(keep("rivals", rows, settings | {"threads": 1}))


def _rounds(asked: argparse.Namespace) -> list[dict[str, Race]]:
    """Everybody once a round, ours first: the rivals are given the part of the ladder it climbed."""
    stage = stage_of(asked.spec, asked.set)
    limit = 60.0 * asked.minutes
    rounds: list[dict[str, Race]] = []
    print(f"{asked.spec}: {len(stage.ladder)} architectures, {asked.workers} workers of one thread")
    with tempfile.TemporaryDirectory(prefix="rivals-") as temporary:
        for i in range(asked.repeats):
            folder = (asked.folder or Path(temporary)) / f"{i}"
            folder.mkdir(parents=True)
            races = {"ours": race_ours(stage, folder, asked.workers, asked.architectures or len(stage.ladder), limit)}
            _tell("gtsearch", races["ours"])
            searched = [run for _, run in races["ours"].runs]
            work = stage.work(searched, races["ours"].verdicts, asked.configs == "same", folder, asked.workers)
            for name in asked.rivals:
                races[name] = race_rival(name, work, folder, limit)
                _tell(RIVALS[name].title, races[name])
            rounds.append(races)
    return rounds


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--workers", type=int, default=cores(), help="processes that train; default: all cores")
    parser.add_argument("--minutes", type=float, default=60.0, help="for each program")
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--architectures", type=int, help="at most so many, from the cheapest on")
    parser.add_argument("--configs", choices=("same", "own"), default="same")
    parser.add_argument("--spec", default=WHOLE, help="an experiment file, or a name from `gtsearch spaces`")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of `gtsearch run`")
    parser.add_argument("--folder", type=Path, help="leave there what the programs wrote; default: it is deleted")
    return parser.parse_args(words)


def _tell(title: str, race: Race) -> None:
    seen = race.watched
    print(f"{title:42} {seen.seconds:8.1f} s   {seen.peak_bytes / 2**20:6.0f} MiB   {race.told()}", flush=True)


if __name__ == "__main__":
    main()
