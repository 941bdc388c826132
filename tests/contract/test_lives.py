"""Forks, snapshots, leases, previews, events and the rest, as the public Python SDK drives them."""

import time
import urllib.request

from nullspace import Lifecycle, Machine, Snapshot
from nullspace.errors import GitError, MachineError, NotFoundError
from support import EngineTest

SERVE = "mkdir -p /srv/p && echo 'from inside' > /srv/p/index.html && exec python3 -m http.server -d /srv/p 8000"


class Lives(EngineTest):
    def small(self, **options):
        return self.machine(template="base", vcpus=1, memory_mb=64, **options)

    def test_fork_and_create_snapshot_take_the_files_along(self):
        machine = self.small()
        machine.files.write("/workspace/a", "1")
        child = machine.fork()
        self.addCleanup(lambda: Machine.kill_by_id(child.id))
        self.assertEqual(child.files.read("/workspace/a"), "1")
        child.files.write("/workspace/a", "2")
        self.assertEqual(machine.files.read("/workspace/a"), "1")
        snapshot = machine.create_snapshot()
        self.assertEqual(snapshot.machine_id, machine.id)
        self.assertEqual(Snapshot.get(snapshot.id).id, snapshot.id)
        self.assertIn(snapshot.id, [s.id for s in Snapshot.list(machine_id=machine.id)])
        machine.files.write("/workspace/a", "3")
        restored = self.machine(snapshot_id=snapshot.id)
        self.assertEqual(restored.files.read("/workspace/a"), "1")
        events = Lifecycle().list_snapshot_events(snapshot.id).events
        self.assertIn("snapshot_created", [event.operation.value for event in events])
        Snapshot.delete(snapshot.id)
        with self.assertRaises(NotFoundError):
            Snapshot.get(snapshot.id)

    def test_one_key_makes_one_fork_and_one_snapshot(self):
        machine = self.small()
        first, second = machine.fork("a-key"), machine.fork("a-key")
        self.addCleanup(lambda: Machine.kill_by_id(first.id))
        self.assertEqual(first.id, second.id)
        snapshots = [machine.create_snapshot("a-key").id for _ in range(2)]
        self.assertEqual(snapshots[0], snapshots[1])
        Snapshot.delete(snapshots[0])

    def test_keep_alive_renews_the_lease(self):
        machine = self.small(timeout=60)
        with machine.keep_alive(timeout_secs=600, refresh_every_secs=0.2):
            time.sleep(0.5)
            self.assertGreater(machine.get_info().timeout_ms, 500_000)

    def test_get_metrics_of_a_machine(self):
        self.assertGreater(self.small().get_metrics()[0].mem_total_bytes, 0)

    def test_list_lifecycle_list_events_and_list_machine_events_agree(self):
        machine = self.small()
        machine.set_timeout(100)
        own = machine.list_lifecycle(order_asc=True)
        self.assertEqual([event.operation.value for event in own.events], ["create", "timeout_updated"])
        lifecycle = Lifecycle()
        for page in (
            lifecycle.list_events(machine_id=machine.id, order_asc=True),
            lifecycle.list_machine_events(machine.id, order_asc=True),
        ):
            self.assertEqual([event.id for event in page.events], [event.id for event in own.events])
        page = lifecycle.list_machine_events(machine.id, limit=1, offset=1, order_asc=True)
        self.assertEqual([event.id for event in page.events], [own.events[1].id])
        self.assertEqual(len(lifecycle.list_machine_events(machine.id, operation="create").events), 1)

    def test_a_process_is_listed_read_and_killed(self):
        machine = self.small()
        command = machine.commands.run("echo begun; sleep 100", shell=True, background=True)
        deadline = time.monotonic() + 10
        while "begun" not in machine.commands.get_logs(command.pid).stdout and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(machine.commands.get_logs(command.pid).stdout, "begun\n")
        machine.commands.kill(command.pid)
        deadline = time.monotonic() + 10
        while any(p.running for p in machine.commands.list()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse(any(p.running for p in machine.commands.list()))

    def test_git_helpers(self):
        machine = self.small()
        machine.git.configure_user("A Name", "a@example.org")
        self.assertEqual(machine.git.get_config("user.name"), "A Name")
        machine.git.set_config("core.abbrev", "12")
        self.assertEqual(machine.git.get_config("core.abbrev"), "12")
        with self.assertRaises(GitError):
            machine.git.get_config("no.such")
        machine.commands.run("git init -q /workspace/r && touch /workspace/r/a && git -C /workspace/r add a", shell=True)
        machine.git.commit("first", path="/workspace/r")
        machine.files.write("/workspace/r/a", "line\n")
        self.assertIn("+line", machine.git.diff(path="/workspace/r"))
        machine.git.remote_add("/workspace/r", "origin", "https://example.org/r.git")
        machine.git.remote_add("/workspace/r", "origin", "https://example.org/s.git", overwrite=True)
        listed = machine.commands.run("git -C /workspace/r remote get-url origin", shell=True)
        self.assertEqual(listed.stdout.strip(), "https://example.org/s.git")
        machine.git.dangerously_authenticate("name", "word", host="example.org")
        machine.git.add_ssh_key("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n")
        self.assertEqual(machine.commands.run("stat -c %a ~/.ssh/id_rsa", shell=True).stdout.strip(), "600")


class Previews(EngineTest):
    def served(self, **options):
        machine = self.machine(template="base", vcpus=1, memory_mb=128, **options)
        if machine.commands.run("command -v python3", shell=True).exit_code != 0:
            self.skipTest("the machine has no python3")
        machine.commands.run(SERVE, shell=True, background=True)
        readiness = machine.wait_for_preview(8000, kind="http", path="/", timeout_secs=20, interval_ms=50)
        self.assertTrue(readiness.ready, readiness)
        return machine

    @staticmethod
    def ask(url, headers=None):
        request = urllib.request.Request(url, headers=headers or {})
        return urllib.request.urlopen(request, timeout=10).read().decode()

    def test_get_host_get_host_info_and_get_url_lead_to_the_service(self):
        machine = self.served()
        host = machine.get_host(8000)
        self.assertEqual(self.ask(f"http://{host}/"), "from inside\n")
        self.assertEqual(machine.get_host_info(8000).host, host)
        # The engine has no TLS, and the SDK makes https of a bare host.
        self.assertIn(host, machine.get_url(8000))
        self.assertIn(host, machine.get_websocket_url(8000))

    def test_get_preview_url_create_signed_preview_url_list_preview_urls_and_revoke_preview_url(self):
        machine = self.served()
        signed = machine.create_signed_preview_url(8000, expires_in_seconds=120)
        self.assertEqual(self.ask(signed.url), "from inside\n")
        self.assertEqual(self.ask(machine.get_preview_url(8000).url), "from inside\n")
        listed = machine.list_preview_urls(port=8000)
        self.assertIn(signed.grant.id, [grant.id for grant in listed])
        revoked = machine.revoke_preview_url(signed.grant.id)
        self.assertTrue(revoked.success)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            self.ask(signed.url)
        self.assertEqual(refused.exception.code, 401)

    def test_create_preview_proxy_target_gives_headers(self):
        machine = self.served()
        target = machine.create_preview_proxy_target(8000, transports=["http"])
        headers = {target.token_header_name: target.http_token}
        self.assertEqual(self.ask(target.http_url, headers), "from inside\n")

    def test_a_private_machine_opens_with_its_token(self):
        machine = self.served(network={"allow_public_traffic": False})
        host = machine.get_host(8000)
        with self.assertRaises(urllib.error.HTTPError):
            self.ask(f"http://{host}/")
        headers = {"x-nullspace-traffic-access-token": machine.traffic_access_token}
        self.assertEqual(self.ask(f"http://{host}/", headers), "from inside\n")


class Errors(EngineTest):
    def test_a_machine_that_is_gone_is_not_found(self):
        machine = Machine.create(template="base", vcpus=1, memory_mb=64)
        Machine.kill_by_id(machine.id)
        with self.assertRaises(NotFoundError):
            machine.fork()
        with self.assertRaises(MachineError):
            machine.create_snapshot()
