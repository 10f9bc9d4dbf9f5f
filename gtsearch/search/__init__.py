"""The nested search, pure: no Ray, no files, no clock. Entry: `gtsearch.search.policy.Policy`.

policy.py     ask, tell, should_stop: the order a person would tell the search in
board.py      what is known (rows), what is wanted (members), by whom
weak.py       the ladder of weak architectures: rounds, gate, candidates
target.py     the target's search for one method, the judge's probes, the report's pipelines
tradeoff.py   weak accuracy against target time
proposals.py  which configs to try next
"""
