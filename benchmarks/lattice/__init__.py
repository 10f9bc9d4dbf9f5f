"""Recorded searches: what every weak config of two experiments does on many seeds, and searchers replayed on it.

    python -m benchmarks.lattice record search_spaces/modadd.yaml --configs 14
    python -m benchmarks.lattice record search_spaces/tradeoff/multiplication.yaml --configs 12 --transfers 3
    python -m benchmarks.lattice compare

`record` trains what is kept here, about an hour of two cores for the first and a quarter for the second, and goes on
where it was cut short; `compare` replays searchers on it, in two minutes.

A lattice is architectures x configs x seeds of an experiment's weak stage on the experiment's own split, trained by
the very trainables of a run until they hold the goal or end. The configs are the published settings and points that
fill the space, the same for all architectures. Every config runs on the base seeds; one that clears on any of them
runs on more, so that its rate is known to 1 in 12, while one that never clears is not trained again.

What is kept, in `benchmarks/lattice/<experiment>.parquet`: a row a run with its stage, architecture, config (index and
hyperparameters), seed (index), status, epochs, epochs to the goal (null: never), and its curve: correct answers on the
validation and on the training set at each evaluation, as 16-bit counts. Losses, times and embeddings are not kept. Rows
of stage `target` are transfers from the embedding of the weak run named by architecture, config and seed, with the
published setting of that index. The file's metadata hold the experiment, the configs, the static costs, the sizes of
the sets, and commit, device, threads and versions.

What is compared, over repetitions with other seeds (searchers.py says how, and who): the FLOPs until a certificate; the
regret, the parameters of the architecture named over those of the cheapest with a recorded config at the gate's rate
(below 1 where what is named has not that rate itself); and how often the certificate is wrong: the config named clears
on fewer than 60 % of all recorded seeds, or a strictly cheaper architecture holds a recorded config at the gate's rate.
Intervals are over repetitions: of these configs and seeds, not of all there could be. Then early stopping: how often
rules of one line would have killed a run that clears, and what they save (stopping.py).
"""
