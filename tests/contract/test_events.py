"""Lifecycle streams, webhooks and the monitor, as the public Python SDK drives them."""

import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

from nullspace import Lifecycle, Machine, Monitor
from nullspace.errors import MachineError, NotFoundError
from support import EngineTest

SECRET = "whsec-of-the-test"


def until(what, check, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = check()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


class Streams(EngineTest):
    def setUp(self):
        self.lifecycle = Lifecycle()
        self.addCleanup(self.lifecycle.close)

    def small(self):
        return self.machine(template="base", vcpus=1, memory_mb=64)

    def short_lived(self):
        """For a test that kills it: the SDK takes no second kill, since the first closes its client."""
        return Machine.create(template="base", vcpus=1, memory_mb=64)

    def test_stream_events_of_a_machine_tells_its_past_and_then_what_happens(self):
        machine = self.small()
        stream = machine.stream_events()
        created = next(stream)
        self.assertEqual((created.operation.value, created.machine_id), ("create", machine.id))
        machine.set_timeout(100)
        self.assertEqual(next(stream).operation.value, "timeout_updated")
        stream.close()

    def test_stream_events_goes_on_behind_a_cursor(self):
        machine = self.short_lived()
        for secs in (100, 101):
            machine.set_timeout(secs)
        machine.kill()
        told = list(self.lifecycle.stream_events(machine_id=machine.id, idle_timeout=0.5))
        names = [event.operation.value for event in told]
        self.assertEqual(names, ["create", "timeout_updated", "timeout_updated", "destroy"])
        behind = self.lifecycle.stream_events(machine_id=machine.id, after_event_id=told[1].id, idle_timeout=0.5)
        self.assertEqual([event.id for event in behind], [event.id for event in told[2:]])
        live = self.lifecycle.stream_events(machine_id=machine.id, live_only=True, idle_timeout=0.3)
        self.assertEqual(list(live), [])

    def test_subscribe_tells_what_happens_from_now_on(self):
        self.small()
        heard = []
        subscription = self.lifecycle.subscribe(operation="create", on_event=heard.append)
        machine = self.small()
        until("the create is told", lambda: heard)
        self.assertEqual([event.machine_id for event in heard], [machine.id])
        subscription.stop()

    def test_monitor_subscribe_tells_a_snapshot_changes_metrics_and_processes(self):
        first = self.small()
        first.commands.run("sleep 60", shell=True, background=True)
        snapshots, updates, metrics, processes, errors = [], [], [], [], []
        watching = Monitor().subscribe(
            interval_ms=100,
            include_processes=True,
            on_snapshot=snapshots.append,
            on_update=updates.append,
            on_metrics=metrics.append,
            on_processes=processes.append,
            on_error=errors.append,
        )
        until("the processes are told", lambda: processes)
        self.assertIn(first.id, [machine.id for machine in snapshots[0].machines])
        self.assertEqual([process.command for process in processes[0].processes], ["sleep 60"])
        self.assertGreater(metrics[0].metrics.mem_total_bytes, 0)
        second = self.short_lived()
        until("it is told", lambda: any(u.machine_id == second.id and u.machine for u in updates))
        second.kill()
        until("its end is told", lambda: any(u.machine_id == second.id and u.removed for u in updates))
        watching.stop()
        self.assertEqual(errors, [])


class Receiver:
    """Keeps what it gets; answers 500 once, then 200."""

    def __init__(self):
        got = self.got = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                got.append((dict(self.headers.items()), body))
                self.send_response(500 if len(got) == 1 else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Webhooks(EngineTest):
    def setUp(self):
        self.lifecycle = Lifecycle()
        self.addCleanup(self.lifecycle.close)

    def test_create_get_list_update_and_delete(self):
        made = self.lifecycle.create_webhook(
            url="https://receiver.example/hook", operations=["create"], signing_secret=SECRET, enabled=False
        )
        self.assertTrue(made.has_signing_secret)
        self.assertEqual(self.lifecycle.get_webhook(str(made.id)).url, made.url)
        self.assertIn(made.id, [webhook.id for webhook in self.lifecycle.list_webhooks()])
        changed = self.lifecycle.update_webhook(str(made.id), operations=["fork", "destroy"])
        self.assertEqual([operation.value for operation in changed.operations], ["fork", "destroy"])
        self.assertEqual(self.lifecycle.list_webhook_deliveries(str(made.id)), [])
        self.lifecycle.delete_webhook(str(made.id))
        with self.assertRaises(NotFoundError):
            self.lifecycle.get_webhook(str(made.id))
        with self.assertRaises(MachineError):
            self.lifecycle.create_webhook(url="ftp://x", operations=["create"], signing_secret=SECRET)

    def test_deliveries_are_signed_retried_and_shown(self):
        receiver = Receiver()
        self.addCleanup(receiver.close)
        made = self.lifecycle.create_webhook(url=receiver.url, operations=["create"], signing_secret=SECRET)
        self.addCleanup(self.lifecycle.delete_webhook, str(made.id))
        machine = Machine.create(template="base", vcpus=1, memory_mb=64)
        self.addCleanup(machine.kill)

        def delivered():
            deliveries = self.lifecycle.list_webhook_deliveries(str(made.id))
            return deliveries if deliveries and deliveries[0].delivery_status.value == "succeeded" else None

        (delivery,) = until("it is delivered", delivered)
        self.assertEqual(delivery.attempt_count, 2)
        detail = self.lifecycle.get_webhook_delivery(str(made.id), str(delivery.id))
        self.assertEqual([attempt.response_status for attempt in detail.attempts], [500, 200])
        headers, body = receiver.got[-1]
        self.assertEqual(json.loads(body)["machine_id"], machine.id)
        at, signature = headers["x-nullspace-signature"].split(",")
        signed = at.removeprefix("t=").encode() + b"." + body
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        self.assertTrue(hmac.compare_digest(signature, f"v1={expected}"))
