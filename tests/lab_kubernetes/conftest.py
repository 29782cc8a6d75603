from __future__ import annotations

import pytest
from kube_world import World


@pytest.fixture
def world() -> World:
    """Three nodes of eight GPUs and no workload yet."""
    made = World()
    for name in ("gpu-a", "gpu-b", "gpu-c"):
        made.node(name)
    return made


@pytest.fixture
def served(world: World) -> World:
    """The same with three replicas of one model, running."""
    world.deployment()
    world.step(3)
    return world
