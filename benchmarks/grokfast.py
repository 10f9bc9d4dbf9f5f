"""GrokFast's own script on its own setting, beside `grokfast_ema` of gtsearch on the nearest setting it can express.

The script is main.py of https://github.com/ironjr/grokfast, which does not come along: clone it, and say where it is.

    git clone https://github.com/ironjr/grokfast
    python -m benchmarks.grokfast --script grokfast/main.py [--steps 1000] [--epochs 100] [--repeats 1]

Theirs, as its README runs it on algorithmic data: a * b mod 97 with b != 0, half of it for training, batches of 512, a
decoder of 2 layers, width 128 and 4 heads, Adam with lr 0.001 and weight decay 0.005, the EMA filter with alpha 0.98
and lambda 2. Ours has the same task, sizes, optimizer, rates and filter. What gtsearch cannot express, and what is
therefore not the same:

- the batch: ours is the whole training set, one step a pass, theirs takes ten steps a pass;
- the model: theirs reads four tokens (a, *, b, =), with layer norms, biases and GELU; ours reads a and b, has none of
  them, and works the first position out once a token;
- Adam's second beta is .98 with a warm-up of ten steps there, .999 without here;
- ours trains on b = 0 too (p more pairs), and validates on a quarter of all pairs where theirs takes half.

So two things are measured. What a pass costs is fair as far as sizes go: seconds for 1,000 examples, where an example
that is only evaluated counts a third (a forward pass, and no backward). When 99 % of validation is reached tells of two
ways to train and not of two programs, and is given for what it is: of theirs within `--steps`, of ours within
`--epochs` passes; who is not there is censored, and no ratio is made of it.

One thread each, one after the other, whoever comes first in turn. Seconds are the processor's, so that who else is on
the machine does not count. The script runs unchanged; the progress bar it imports (tqdm) is one of ours, which notes
the time of every epoch. Its accuracies are read from what it saves, every 100 of its epochs (1,000 steps).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

import torch

from benchmarks.alone import alone
from benchmarks.results import ROOT, Row, keep, paired
from gtsearch import cost
from gtsearch.methods.grokfast_ema import GrokfastEma
from gtsearch.models.base import initialise
from gtsearch.models.transformer import TransformerSizes
from gtsearch.optimizers.adam import Adam
from gtsearch.tasks.modular import ModularMultiplication
from gtsearch.training import Cohort, Member, Plan

P, BATCH, LR, WEIGHT_DECAY, ALPHA, LAMBDA = 97, 512, 0.001, 0.005, 0.98, 2.0
THEIR_TRAIN = P * (P - 1) // 2
STEPS_A_PASS = -(-THEIR_TRAIN // BATCH)
GOAL, HOLD = 0.99, 2
TASK = ModularMultiplication(name="modular_multiplication", p=P, train_fraction=0.5)
SIZES = TransformerSizes(name="transformer", layers=2, d_embed=128, heads=4, d_mlp=512)

PROGRESS_BAR = """\
import json, time
from benchmarks.alone import peak

def tqdm(epochs):
    before, seconds = peak(), [time.process_time()]
    for epoch in epochs:
        yield epoch
        seconds.append(time.process_time())
    with open("noted.json", "w") as file:
        json.dump({"seconds": seconds, "peak": peak() - before}, file)
"""


@dataclass(frozen=True)
class Trained:
    """One side.

    Attributes:
        seconds: of the processor, for 1,000 examples passed.
        passes: over the training set.
        accuracy: of validation after the last; None: the script saved none.
        seconds_to_goal, steps_to_goal: until validation reached GOAL and held it; None: not within these passes.
    """

    seconds: float
    passes: int
    accuracy: float | None
    seconds_to_goal: float | None
    steps_to_goal: int | None


def theirs(script: Path, steps: int, seed: int) -> tuple[Trained, float]:
    """Runs their script, and the memory its training took, in MiB above what it held before."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "results").mkdir()
        (folder / "bar").mkdir()
        (folder / "bar" / "tqdm.py").write_text(PROGRESS_BAR)
        options = {"filter": "ema", "alpha": ALPHA, "lamb": LAMBDA, "weight_decay": WEIGHT_DECAY, "lr": LR, "p": P}
        options |= {"batch_size": BATCH, "budget": steps, "seed": seed}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        own = {"PYTHONPATH": os.pathsep.join([str(folder / "bar"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
        own |= {"MPLBACKEND": "agg", "CUDA_VISIBLE_DEVICES": ""}
        answer = subprocess.run(
            [sys.executable, str(script), *words], cwd=folder, env=os.environ | own, capture_output=True, text=True
        )
        if answer.returncode:
            last = (answer.stderr.strip().splitlines() or ["no word"])[-1]
            raise SystemExit(f"{script} ended with exit status {answer.returncode}: {last}")
        noted = json.loads((folder / "noted.json").read_text())
        saved = [torch.load(path, weights_only=True) for path in (folder / "results").glob("res_*.pt")]
    seconds = [second - noted["seconds"][0] for second in noted["seconds"][1:]]
    accuracies = saved[0]["val_acc"] if saved else []
    at = _reached(accuracies)
    trained = Trained(
        seconds=seconds[-1] / (len(seconds) * (THEIR_TRAIN + THEIR_TRAIN / 3) / 1000),
        passes=len(seconds),
        accuracy=accuracies[-1] if accuracies else None,
        seconds_to_goal=None if at is None else seconds[at],
        steps_to_goal=None if at is None else (at + 1) * STEPS_A_PASS,
    )
    return trained, noted["peak"]


def ours(epochs: int, seed: int) -> Trained:
    """The loop of a run, validating after every pass as theirs does."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as a run does
    module = SIZES.module(TASK)
    initialise(module, torch.Generator().manual_seed(seed), 1.0)
    flops = cost.of_architecture(SIZES, TASK).flops_per_epoch
    plan = Plan(goal=GOAL, hold=HOLD, evaluate_every=1, flops_per_epoch=flops, optimizer=Adam)
    filtered = {"grokfast_alpha": ALPHA, "grokfast_lambda": LAMBDA}
    method = GrokfastEma(name="grokfast_ema")
    member = Member("run", module, LR, WEIGHT_DECAY, epochs, method=method, hyperparameters=filtered)
    cohort = Cohort([(member, TASK.splits(seed))], plan)
    outcomes = []
    started = time.process_time()
    while not cohort.done:
        outcomes += cohort.step(0.5)
    spent = time.process_time() - started
    measures = outcomes[0].measures
    passes, goal = int(measures["epochs"]), measures["epochs_to_goal"]
    n_train, n_validation, _ = TASK.part_sizes
    return Trained(
        seconds=spent / (passes * (n_train + n_validation / 3) / 1000),
        passes=passes,
        accuracy=measures["final_val_accuracy"],
        seconds_to_goal=None if goal is None else spent * goal / passes,
        steps_to_goal=goal,
    )


def _reached(accuracies: Sequence[float]) -> int | None:
    """The first of HOLD accuracies in a row that are at the goal."""
    met = [accuracy >= GOAL for accuracy in accuracies]
    return next((i for i in range(len(met) - HOLD + 1) if all(met[i : i + HOLD])), None)


def to_goal(mine: Sequence[Trained], other: Sequence[Trained]) -> Row:
    """What came of both sides. Of a side that has a run which is not there no seconds are given."""

    def told(side: Sequence[Trained]) -> str:
        return ", ".join(
            f"not after {one.passes} passes" + ("" if one.accuracy is None else f" ({one.accuracy:.3f})")
            if one.steps_to_goal is None
            else f"after {one.steps_to_goal} steps"
            for one in side
        )

    def seconds(side: Sequence[Trained]) -> float | None:
        times = [one.seconds_to_goal for one in side]
        return None if None in times else sum(time for time in times if time is not None) / len(times)

    return Row(
        what=f"seconds to {100 * GOAL:.0f} % of validation by GrokFast's filter, beside GrokFast's script",
        ours=seconds(mine),
        other=seconds(other),
        unit="s",
        note=f"no like for like: whole batches here, mini-batches there; ours {told(mine)}; theirs {told(other)}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, help="main.py of a clone of GrokFast")
    parser.add_argument("--steps", type=int, default=1000, help="of their optimizer; they save every 1000")
    parser.add_argument("--epochs", type=int, default=100, help="passes of ours, at most")
    parser.add_argument("--repeats", type=int, default=1, help="seeds, each on both sides")
    asked = parser.parse_args()
    if asked.script is None or not asked.script.is_file():
        raise SystemExit(
            "GrokFast's script does not come along: git clone https://github.com/ironjr/grokfast, "
            "then python -m benchmarks.grokfast --script grokfast/main.py; nothing was measured"
        )
    mine: list[tuple[Trained, float]] = []
    other: list[tuple[Trained, float]] = []
    for seed in range(asked.repeats):
        if seed % 2:
            mine.append(alone(ours, asked.epochs, seed))
        other.append(theirs(asked.script.resolve(), asked.steps, seed))
        if not seed % 2:
            mine.append(alone(ours, asked.epochs, seed))
        for name, (trained, peak) in (("ours", mine[-1]), ("GrokFast's script", other[-1])):
            print(f"seed {seed}, {name}: {trained}, peak {peak:.0f} MiB", flush=True)
    what = "GrokFast, a * b mod 97, 2-layer transformer, 1 thread"
    my_cost, other_cost = ([1e3 * trained.seconds for trained, _ in side] for side in (mine, other))
    my_peaks, other_peaks = ([peak for _, peak in side] for side in (mine, other))
    note = "processor time; one that is only evaluated counts a third; the models differ, see --help"
    rows = [
        paired(f"1,000 examples passed: {what}, beside its script", my_cost, other_cost, "ms", note=note),
        paired(
            f"peak memory: {what}", my_peaks, other_peaks, "MiB", note="above the imports; ours has the whole batch"
        ),
        to_goal([trained for trained, _ in mine], [trained for trained, _ in other]),
    ]
    settings = {"steps": asked.steps, "epochs": asked.epochs, "repeats": asked.repeats, "threads": 1, "device": "cpu"}
    print(f"kept in {keep('grokfast', rows, settings)}")


if __name__ == "__main__":
    main()
