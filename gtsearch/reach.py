"""How near a method came to a goal it did not reach, in the words of the progress, the warnings and the answer."""

from __future__ import annotations

import math


def falls_short(method: str, seeds: int, best: float | None, goal: float, max_epochs: int) -> str:
    """That no report seed of a method reached the target's goal, and how near the best of them came."""
    came = (
        "" if best is None else f"; the best came to {short_of(best, goal)}{'' if best < goal else ' and fell again'}"
    )
    return f"{method} does not reach {goal:.4g}: 0 of {seeds} seeds in {max_epochs} epochs{came}"


def lower_goal(best: float | None, goal: float) -> str:
    """What to do where scratch never reaches the target's goal."""
    how_far = "" if best is None or best >= goal else f" to below {short_of(best, goal)}"
    return f"lower target.goal.val_accuracy{how_far} (--set), or raise target.budget.max_epochs"


def short_of(best: float, goal: float) -> str:
    """An accuracy without the nought, two digits; rounded down, so that one below the goal never reads as the goal."""
    hundredths = math.floor(round(100 * best, 6))
    return share(hundredths / 100 if best < goal and hundredths else best)


def share(value: float) -> str:
    """Without the nought, two digits or as many as show it: `.31`, `.009`; `1.00` stays."""
    digits = max(2, -math.floor(math.log10(value))) if value > 0 else 2
    return f"{value:.{digits}f}".removeprefix("0")
