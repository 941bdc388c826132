"""Warm pools, as the public Python SDK drives them."""

from nullspace import Machine, TemplateWarmPool, WarmPoolCheckoutMode, WarmPoolCheckoutSource
from nullspace.errors import MachineError, NotFoundError
from support import EngineTest

READY = WarmPoolCheckoutSource.READY_INSTANCE
COLD = WarmPoolCheckoutSource.COLD_CREATE
BYPASSED = WarmPoolCheckoutSource.BYPASSED


class Pools(EngineTest):
    def test_pool_becomes_ready_and_is_listed(self):
        pool = self.pool(min_ready=1, max_ready=2, labels={"team": "a"})
        info = pool.wait_until_ready(timeout_secs=30, interval_secs=0.1)
        self.assertGreaterEqual(info.status.ready, 1)
        self.assertEqual(TemplateWarmPool.get(pool.id).id, pool.id)
        self.assertEqual(TemplateWarmPool.from_id(pool.id).get_info().name, pool.name)
        listed = {item.id for item in TemplateWarmPool.list(template="base", state="enabled", label=["team=a"])}
        self.assertEqual(listed, {pool.id})

    def test_disable_enable_update_drain_and_delete(self):
        pool = self.pool()
        self.assertEqual(pool.disable().state.value, "disabled")
        self.assertEqual(pool.enable().state.value, "enabled")
        self.assertEqual(pool.update(min_ready=2, max_ready=3).min_ready, 2)
        pool.reconcile()
        self.assertEqual(pool.drain().state.value, "draining")
        pool.delete()
        self.assertNotIn(pool.id, {item.id for item in TemplateWarmPool.list(state="enabled")})

    def test_wrong_sizes_are_refused(self):
        with self.assertRaises(MachineError) as caught:
            self.pool(min_ready=3, max_ready=1)
        self.assertEqual(caught.exception.code, "invalid_request")
        with self.assertRaises(NotFoundError):
            self.pool("no-such-template")
        with self.assertRaises(NotFoundError):
            TemplateWarmPool.get("twp_missing")


class Checkout(EngineTest):
    def checkout(self, pool, mode, **options):
        machine = self.machine(
            template="base", vcpus=1, memory_mb=128, warm_pool=pool, warm_pool_mode=mode, **options
        )
        return machine, machine.get_info().warm_pool_checkout

    def test_prefer_takes_a_ready_machine_that_works(self):
        pool = self.pool()
        pool.wait_until_ready(timeout_secs=30, interval_secs=0.1)
        machine, checkout = self.checkout(pool, "prefer", warm_pool_wait_ms=1500, metadata={"taken": True})
        self.assertEqual((checkout.source, checkout.hit, checkout.id), (READY, True, pool.id))
        self.assertEqual(checkout.mode, WarmPoolCheckoutMode.PREFER)
        self.assertEqual(machine.commands.run("echo warm", shell=True).stdout, "warm\n")
        self.assertEqual(machine.get_info().metadata, {"taken": True})
        # A machine that was taken is replaced.
        pool.wait_until_ready(timeout_secs=30, interval_secs=0.1)

    def test_prefer_makes_a_machine_when_the_pool_is_empty(self):
        pool = self.pool(min_ready=0, max_ready=1)
        _, checkout = self.checkout(pool, "prefer")
        self.assertEqual((checkout.source, checkout.hit), (COLD, False))

    def test_require_takes_a_ready_machine_or_fails(self):
        pool = self.pool()
        pool.wait_until_ready(timeout_secs=30, interval_secs=0.1)
        _, checkout = self.checkout(pool, "require")
        self.assertEqual((checkout.source, checkout.hit), (READY, True))
        empty = self.pool(min_ready=0, max_ready=1, name="empty")
        before = {info.id for info in Machine.list()}
        with self.assertRaises(MachineError) as caught:
            self.checkout(empty, "require")
        self.assertEqual(caught.exception.code, "warm_pool_unavailable")
        self.assertEqual({info.id for info in Machine.list()}, before)

    def test_bypass_always_makes_a_machine(self):
        pool = self.pool()
        pool.wait_until_ready(timeout_secs=30, interval_secs=0.1)
        _, checkout = self.checkout(pool, "bypass")
        self.assertEqual((checkout.source, checkout.hit), (BYPASSED, False))
        self.assertGreaterEqual(pool.get_info().status.ready, 1)
