"""What Ray takes by itself: a local one is started, and one actor that has loaded torch answers. Run as a process."""

from __future__ import annotations

from typing import Any

from gtsearch import cluster

# isort: split
import ray


class _Answers:
    def threads(self) -> int:
        import torch

        return torch.get_num_threads()


def main() -> None:
    from gtsearch.resources import Resources

    with cluster.connected(None, Resources(2, 1.0, 0.0, 0o022), verbose=False):
        actor: Any = ray.remote(num_cpus=1)(_Answers).remote()
        threads: Any = ray.get(actor.threads.remote())
        assert threads > 0


if __name__ == "__main__":
    main()
