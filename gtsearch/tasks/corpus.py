"""The text that the task `text` reads where no folder is named: made by a small grammar, the same everywhere.

Sentences agree in number, also across a clause in between, and sums of small numbers in words are right: next to what
spelling asks for, there is something to be found out. Nothing in it was written by anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

LETTERS = 100_000
"""So many characters, or a few more: the last story is finished."""

_NAMES = [
    "anna",
    "bruno",
    "clara",
    "david",
    "emma",
    "felix",
    "greta",
    "hugo",
    "ida",
    "jonas",
    "klara",
    "louis",
    "mara",
    "nils",
    "olga",
    "paul",
]
_NOUNS = [
    "cat",
    "dog",
    "bird",
    "child",
    "farmer",
    "teacher",
    "sailor",
    "baker",
    "river",
    "garden",
    "boat",
    "house",
    "letter",
    "window",
    "mountain",
    "story",
]
_KINDS = ["old", "small", "quiet", "green", "bright", "heavy", "happy", "clever", "round", "distant", "gentle", "empty"]
_DO = ["see", "follow", "find", "carry", "watch", "remember", "call", "draw", "leave", "paint", "visit", "thank"]
_REST = ["sleep", "wait", "sing", "laugh", "fall", "shine", "grow", "turn"]
_WHERE = ("near the sea", "in the morning", "under a tree", "behind the hill", "at night", "on the road", "by the gate")
_NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
]


class _Draws:
    """Draws that no version of Python changes: a linear congruential generator (Knuth's MMIX), its upper half."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, n: int) -> int:
        """A whole number in [0, n)."""
        self.state = (6364136223846793005 * self.state + 1442695040888963407) % 2**64
        return ((self.state >> 32) * n) >> 32

    def one_of(self, words: Sequence[str]) -> str:
        return words[self.below(len(words))]


@cache
def corpus() -> str:
    """All of it: lower-case letters, spaces, commas, full stops and line ends; a line is a story."""
    draws, stories, length = _Draws(2025), [], 0
    while length < LETTERS:
        sentences = [_sentence(draws) for _ in range(3 + draws.below(5))]
        stories.append(" ".join(sentences) + "\n")
        length += len(stories[-1])
    return "".join(stories)


def _sentence(draws: _Draws) -> str:
    kind = draws.below(5)
    if kind == 0:
        a, b = draws.below(10), draws.below(10)
        return f"{_NUMBERS[a]} and {_NUMBERS[b]} make {_NUMBERS[a + b]}."
    subject, many = _someone(draws)
    told = _verb(draws, many)
    if kind == 1:
        other, several = _someone(draws)
        return f"{subject} {told}, and {other} {_verb(draws, several)}."
    if kind == 2:
        return f"{draws.one_of(_WHERE)} {subject} {told}."
    return f"{subject} {told}."


def _someone(draws: _Draws) -> tuple[str, bool]:
    """Who, and whether they are several."""
    if draws.below(3) == 0:
        return draws.one_of(_NAMES), False
    many = draws.below(2) == 1
    noun = _several(draws.one_of(_NOUNS)) if many else draws.one_of(_NOUNS)
    told = f"{draws.one_of(_KINDS)} {noun}" if draws.below(2) else noun
    who = f"the {told}"
    if draws.below(4) == 0:  # the verb that follows agrees with the first noun, not with the nearer one
        who += f" that {draws.one_of(_NAMES)} {_ends_in_s(draws.one_of(_DO))}"
    return who, many


def _verb(draws: _Draws, many: bool) -> str:
    if draws.below(2):
        word = draws.one_of(_REST)
        return word if many else _ends_in_s(word)
    word = draws.one_of(_DO)
    return f"{word if many else _ends_in_s(word)} {_someone(draws)[0]}"


def _several(noun: str) -> str:
    if noun == "child":
        return "children"
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def _ends_in_s(verb: str) -> str:
    return f"{verb[:-1]}ies" if verb.endswith("ry") else f"{verb}es" if verb.endswith("ch") else f"{verb}s"
