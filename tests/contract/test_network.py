"""Network policy, as the public Python SDK sets it."""

import time

from nullspace import EgressRateLimit, NetworkEgressPolicy
from nullspace.errors import MachineError
from support import EngineTest

# Succeeds when the other side answers with a byte. 192.0.2.0/24 is for documentation: nobody is there.
PROBE = "exec 3<>/dev/tcp/{}/80 && echo hi >&3 && timeout 15 head -c 1 <&3 | grep -q ."


class Egress(EngineTest):
    def refused(self, machine, address="192.0.2.1"):
        """A machine learns of a refusal at once, by a reset or at connect(); an address without answer takes long."""
        begun = time.monotonic()
        run = machine.commands.run("bash", ["-c", PROBE.format(address)], timeout=20)
        self.assertNotEqual(run.exit_code, 0)
        self.assertLess(time.monotonic() - begun, 5)
        self.assertNotIn("timed out", run.stderr)

    def test_deny_all_on_create_refuses(self):
        machine = self.machine(network={"egress": {"mode": "deny_all"}})
        self.refused(machine)

    def test_internet_access_off_refuses_and_no_rule_reopens_it(self):
        machine = self.machine(internet_access=False)
        self.refused(machine)

    def test_update_egress_replaces_the_policy(self):
        machine = self.machine()
        policy = machine.update_egress(
            NetworkEgressPolicy.custom(
                allow_cidrs=["198.51.100.0/24"], rate_limit=EgressRateLimit(kbit_per_sec=1000, burst=64)
            )
        )
        self.assertEqual(policy.mode.value, "custom")
        self.assertEqual(policy.allow_cidrs, ["198.51.100.0/24"])
        self.assertEqual((policy.rate_limit.kbit_per_sec, policy.rate_limit.burst), (1000, 64))
        self.refused(machine)
        self.assertEqual(machine.update_egress(NetworkEgressPolicy.deny_all()).mode.value, "deny_all")
        self.refused(machine)

    def test_wrong_range_is_refused(self):
        with self.assertRaises(MachineError) as caught:
            self.machine(network={"egress": {"mode": "custom", "allow_cidrs": ["300.1.1.1/8"]}})
        self.assertEqual(caught.exception.code, "invalid_request")

    def test_metadata_addresses_are_refused_under_allow_all(self):
        machine = self.machine(network={"egress": {"mode": "allow_all"}})
        self.refused(machine, "169.254.169.254")
