"""What the contract tests share."""

import unittest

from nullspace import Machine, TemplateWarmPool
from nullspace.errors import MachineError


class EngineTest(unittest.TestCase):
    """Kills what a test made, also when it fails."""

    def machine(self, *args, **options):
        machine = Machine.create(*args, **options)
        self.addCleanup(_quietly, machine.kill)
        return machine

    def pool(self, template="base", *, min_ready=1, max_ready=1, memory_mb=128, vcpus=1, **options):
        name = options.pop("name", self.id().rsplit(".", 1)[-1])
        pool = TemplateWarmPool.create(
            template,
            name=name,
            min_ready=min_ready,
            max_ready=max_ready,
            vcpus=vcpus,
            memory_mb=memory_mb,
            **options,
        )
        self.addCleanup(_quietly, pool.delete)
        return pool


def _quietly(action):
    try:
        action()
    except MachineError:
        pass  # gone already
