"""Machines, as the public Python SDK drives them."""

import datetime
import uuid

from nullspace import AsyncMachine, Machine, MachineQuery, MachineStatus
from nullspace.errors import AuthError, MachineError, NotFoundError
from support import EngineTest


class Create(EngineTest):
    def test_context_manager_makes_a_machine_and_destroys_it(self):
        with Machine.create(template="base") as machine:
            self.assertRegex(machine.id, r"^mch_")
            self.assertEqual(machine.commands.run("echo ready", shell=True).stdout, "ready\n")
        with self.assertRaises(NotFoundError):
            Machine.connect(machine.id)

    def test_every_option_of_the_first_example_is_taken(self):
        machine = self.machine(
            template="base",
            vcpus=2,
            memory_mb=512,
            disk_mb=8192,
            timeout=300,
            cwd="/workspace",
            envs={"APP_ENV": "dev"},
            metadata={"project": "docs", "nested": {"Some_Key": [1, None, "x"]}},
            network={"mask_request_host": "localhost:${PORT}"},
        )
        info = machine.get_info()
        self.assertEqual(info.status, MachineStatus.RUNNING)
        self.assertEqual(info.template, "base")
        self.assertEqual((info.config.vcpus, info.config.memory_mb), (2, 512))
        self.assertEqual(info.metadata["nested"], {"Some_Key": [1, None, "x"]})
        self.assertEqual(info.cwd, "/workspace")
        self.assertEqual(info.timeout_ms, 300_000)
        self.assertLessEqual(info.remaining_ms, 300_000)
        self.assertGreater(info.remaining_ms, 200_000)
        run = machine.commands.run('echo "$APP_ENV $PWD"', shell=True)
        self.assertEqual(run.stdout, "dev /workspace\n")

    def test_times_are_dates_with_a_zone(self):
        info = self.machine().get_info()
        now = datetime.datetime.now(datetime.timezone.utc)
        created = info.created_at
        if isinstance(created, str):
            created = datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))
        self.assertIsNotNone(created.tzinfo)
        self.assertLess(abs((now - created).total_seconds()), 60)

    def test_idempotency_key_used_twice_gives_one_machine(self):
        key = str(uuid.uuid4())
        first = self.machine(idempotency_key=key)
        second = Machine.create(idempotency_key=key)
        self.assertEqual(first.id, second.id)

    def test_run_once_makes_runs_and_destroys(self):
        before = {info.id for info in Machine.list()}
        result = Machine.run_once("printf", ["%s-%s", "a b", "c"])
        self.assertEqual((result.exit_code, result.stdout), (0, "a b-c"))
        self.assertEqual({info.id for info in Machine.list()}, before)

    def test_kill_by_id_destroys(self):
        machine = self.machine()
        Machine.kill_by_id(machine.id)
        with self.assertRaises(NotFoundError) as caught:
            Machine.kill_by_id(machine.id)
        self.assertEqual(caught.exception.code, "machine_not_found")
        self.assertTrue(caught.exception.request_id)


class Commands(EngineTest):
    def test_argv_is_exact_and_takes_cwd_and_envs(self):
        machine = self.machine()
        run = machine.commands.run("sh", ["-c", 'echo "$0|$1|$X|$PWD"', "a  b", "*"], cwd="/tmp", envs={"X": "1"}, timeout=5)
        self.assertEqual(run.stdout, "a  b|*|1|/tmp\n")

    def test_exit_code_and_stderr_are_no_error(self):
        run = self.machine().commands.run("echo out; echo err >&2; exit 3", shell=True)
        self.assertEqual((run.exit_code, run.stdout, run.stderr), (3, "out\n", "err\n"))

    def test_command_over_its_time_fails_with_exec_timeout(self):
        machine = self.machine()
        with self.assertRaises(MachineError) as caught:
            machine.commands.run("sleep 30", shell=True, timeout=1)
        self.assertEqual(caught.exception.code, "exec_timeout")
        self.assertEqual(machine.commands.run("echo still here", shell=True).stdout, "still here\n")

    def test_missing_program_is_an_answer_or_an_error_not_a_hang(self):
        machine = self.machine()
        try:
            self.assertEqual(machine.commands.run("no-such-program").exit_code, 127)
        except MachineError as error:
            self.assertEqual(error.code, "exec_failed")

    def test_two_megabytes_of_output_arrive_whole(self):
        run = self.machine().commands.run("head -c 2000000 /dev/zero | tr '\\0' x", shell=True)
        self.assertEqual(len(run.stdout), 2_000_000)


class ListAndInspect(EngineTest):
    def test_paginator_walks_all_pages_with_the_same_filters(self):
        project = str(uuid.uuid4())
        made = {self.machine(memory_mb=64, vcpus=1, metadata={"project": project}).id for _ in range(3)}
        self.machine(memory_mb=64, vcpus=1, metadata={"project": "another"})
        page = Machine.list(query=MachineQuery(template="base", metadata={"project": project}), limit=2)
        self.assertEqual(len(page.items), 2)
        self.assertTrue(page.has_next)
        found = [info.id for info in page.items]
        while page.has_next:
            found += [info.id for info in page.next_items()]
        self.assertEqual(sorted(found), sorted(made))
        self.assertEqual({info.id for info in Machine.list(query=MachineQuery(metadata={"project": project}))}, made)

    def test_fields_gives_raw_rows(self):
        machine = self.machine()
        rows = Machine.list(fields=["id", "status", "template"])
        self.assertIn({"id": machine.id, "status": "running", "template": "base"}, rows)
        self.assertEqual(Machine.get_info_by_id(machine.id, fields=["id", "status"]), {"id": machine.id, "status": "running"})

    def test_unknown_field_is_refused(self):
        with self.assertRaises(MachineError) as caught:
            Machine.list(fields=["id", "no_such_field"])
        self.assertIn(caught.exception.code, ("invalid_fields", "invalid_request"))

    def test_state_filter(self):
        machine = self.machine()
        self.assertIn(machine.id, {info.id for info in Machine.list(state="running")})
        self.assertNotIn(machine.id, {info.id for info in Machine.list(state="paused")})

    def test_connect_gives_a_working_handle_and_a_new_lease(self):
        machine = self.machine()
        other = Machine.connect(machine.id, timeout=60)
        self.assertEqual(other.commands.run("echo hi", shell=True).stdout, "hi\n")
        self.assertLessEqual(Machine.get_info_by_id(machine.id).remaining_ms, 60_000)
        self.assertTrue(other.is_running())

    def test_paused_machine_is_inspected_asleep_and_resumed_by_connect(self):
        machine = self.machine()
        machine.commands.run("echo kept > /workspace/file", shell=True)
        snapshot = machine.pause()
        self.assertEqual(snapshot.machine_id, machine.id)
        info = Machine.get_info_by_id(machine.id)
        self.assertEqual((info.status, bool(info.snapshot_id)), (MachineStatus.PAUSED, True))
        self.assertEqual(Machine.get_info_by_id(machine.id).status, MachineStatus.PAUSED)
        again = Machine.connect(machine.id)
        self.assertEqual(again.id, machine.id)
        self.assertEqual(again.commands.run("cat /workspace/file", shell=True).stdout, "kept\n")

    def test_hibernate_and_resume_by_id_keep_the_id(self):
        machine = self.machine()
        machine.hibernate()
        again = Machine.resume(machine.id)
        self.assertEqual(again.id, machine.id)
        self.assertEqual(Machine.get_info_by_id(machine.id).status, MachineStatus.RUNNING)

    def test_set_timeout_restarts_the_lease(self):
        lease = self.machine(timeout=300).set_timeout(120, timeout_action="destroy")
        self.assertEqual((lease.timeout_ms, lease.timeout_action.value), (120_000, "destroy"))
        self.assertLessEqual(lease.remaining_ms, 120_000)
        self.assertGreater(lease.remaining_ms, 60_000)

    def test_metrics_have_every_number(self):
        sample = Machine.get_metrics_by_id(self.machine(vcpus=1, memory_mb=256).id)[-1]
        self.assertEqual(sample.cpu_count, 1)
        self.assertGreater(sample.mem_total_bytes, 0)
        self.assertGreaterEqual(sample.network_rx_bytes, 0)


class Errors(EngineTest):
    def test_wrong_key_is_an_auth_error(self):
        with self.assertRaises(AuthError) as caught:
            Machine.list(api_key="wrong")
        self.assertEqual(caught.exception.code, "unauthorized")

    def test_missing_machine_is_not_found(self):
        with self.assertRaises(NotFoundError) as caught:
            Machine.get_info_by_id("mch_missing")
        self.assertEqual(caught.exception.code, "machine_not_found")

    def test_unknown_template_is_not_found(self):
        with self.assertRaises(NotFoundError) as caught:
            Machine.create(template="no-such-template")
        self.assertEqual(caught.exception.code, "template_not_found")

    def test_wrong_size_is_refused_and_named(self):
        with self.assertRaises(MachineError) as caught:
            Machine.create(disk_mb=1)
        self.assertEqual(caught.exception.code, "invalid_request")
        self.assertIn("disk_mb", str(caught.exception))

    def test_shell_with_args_is_refused(self):
        with self.assertRaises(MachineError) as caught:
            self.machine().commands.run("echo", ["a"], shell=True)
        self.assertEqual(caught.exception.code, "invalid_request")


class Asynchronous(EngineTest):
    def test_asynchronous_twin_works_as_well(self):
        import asyncio

        async def scenario():
            async with await AsyncMachine.create(template="base") as machine:
                run = await machine.commands.run("echo async", shell=True)
                info = await machine.get_info()
                return run.stdout, info.status

        self.assertEqual(asyncio.run(scenario()), ("async\n", MachineStatus.RUNNING))
