"""The code interpreter and SSH access, as the public Python SDK drives them."""

import os
import subprocess
import tempfile
import unittest

from nullspace.errors import MachineError, NotFoundError
from support import EngineTest


class Code(EngineTest):
    def interpreter(self):
        machine = self.machine("code-interpreter", memory_mb=512, vcpus=1)
        if machine.commands.run("command -v python3", shell=True).exit_code != 0:
            self.skipTest("the machine has no python3")
        return machine

    def test_a_cell_prints_shows_and_fails(self):
        machine = self.interpreter()
        heard = []
        execution = machine.run_code(
            "import sys\nx = 6\nprint('out')\nprint('err', file=sys.stderr)\nx * 7",
            on_stdout=lambda message: heard.append(message.line),
            on_stderr=lambda message: heard.append(message.line),
            on_result=lambda result: heard.append(result.text),
        )
        self.assertCountEqual(heard, ["out\n", "err\n", "42"])
        self.assertEqual(execution.results[0].text, "42")
        self.assertTrue(execution.results[0].is_main_result)
        self.assertEqual(execution.execution_count, 1)
        self.assertIsNone(execution.error)
        failed = machine.run_code("x / 0")
        self.assertEqual(failed.error.name, "ZeroDivisionError")
        self.assertEqual(failed.serialize()["error"]["name"], "ZeroDivisionError")
        shell = machine.run_code("echo $HOME", language="bash", envs={"HOME": "/tmp"})
        self.assertEqual("".join(shell.logs.stdout), "/tmp\n")

    def test_contexts_are_made_listed_restarted_interrupted_and_removed(self):
        machine = self.interpreter()
        code = machine.code_interpreter
        context = code.create_code_context(language="python", cwd="/tmp")
        self.assertEqual((context.language, context.cwd), ("python", "/tmp"))
        machine.run_code("y = 1", context=context)
        self.assertEqual([one.id for one in code.list_code_contexts()], [context.id])
        code.interrupt_code_context(context)
        self.assertEqual(machine.run_code("y", context=context.id).results[0].text, "1")
        code.restart_code_context(context)
        self.assertEqual(machine.run_code("y", context=context).error.name, "NameError")
        code.remove_code_context(context)
        with self.assertRaises(NotFoundError):
            code.remove_code_context(context)

    def test_runs_are_waited_for_listed_and_cancelled(self):
        machine = self.interpreter()
        code = machine.code_interpreter
        context = code.create_code_context()
        run = code.create_run("print('out'); 5", context=context)
        done = code.wait_for_run(run.id, poll_interval=0.05)
        self.assertEqual((done.status, done.execution.results[0].text), ("succeeded", "5"))
        long = code.create_run("import time; time.sleep(100)", context=context)
        code.cancel_run(long.id)
        self.assertEqual(code.wait_for_run(long.id, poll_interval=0.05).status, "cancelled")
        self.assertEqual(code.get_run(long.id).id, long.id)
        listed = code.list_runs(status="succeeded", context_id=context.id, limit=5)
        self.assertEqual([one.id for one in listed["items"]], [run.id])
        self.assertIsNone(listed["next_cursor"])

    def test_artifacts_are_listed_read_and_deleted(self):
        machine = self.interpreter()
        code = machine.code_interpreter
        execution = machine.run_code(
            "class Page:\n  def _repr_html_(self): return '<b>x</b>'\nPage()",
        )
        self.assertEqual(execution.results[0].html, "<b>x</b>")
        artifact = execution.artifacts[0]
        self.assertEqual((artifact.kind, artifact.mime_type), ("html", "text/html"))
        listed = code.list_artifacts(kind="html", execution_count=1)
        self.assertEqual([one["id"] for one in listed["items"]], [artifact.id])
        self.assertEqual(code.get_artifact(artifact.id).sha256, artifact.sha256)
        self.assertEqual(code.download_artifact(artifact.id), b"<b>x</b>")
        self.assertEqual(code.preview_artifact(artifact.id), b"<b>x</b>")
        code.delete_artifact(artifact.id)
        with self.assertRaises(NotFoundError):
            code.get_artifact(artifact.id)

    @unittest.skipIf(os.geteuid() != 0, "needs an engine that runs as root: it writes into /usr")
    def test_packages_are_installed_by_pip(self):
        machine = self.interpreter()
        machine.files.write("/usr/local/bin/pip", '#!/bin/sh\necho "$@"\n')
        machine.files.set_permissions("/usr/local/bin/pip", "0755")
        execution = machine.install_packages(["numpy", "pandas"])
        self.assertEqual("".join(execution.logs.stdout), "install numpy pandas\n")

    def test_code_without_a_context(self):
        result = self.machine().process.code_run("print(40 + 2)")
        self.assertEqual(result.stdout, "42\n")


class Ssh(EngineTest):
    def test_access_is_given_to_a_key_that_is_made_and_to_one_that_is_given(self):
        machine = self.machine()
        with tempfile.TemporaryDirectory() as directory:
            access = machine.create_ssh_access(key_dir=directory, expires_in_minutes=5)
            self.assertEqual(access.user, "root")
            self.assertTrue(os.path.exists(access.certificate_file))
            words = access.command.split(" ")
            ran = subprocess.run(
                [words[0], "-F", "none", "-o", "BatchMode=yes", *words[1:], "echo in; exit 3"],
                capture_output=True,
                text=True,
                timeout=30,
            )
            self.assertEqual((ran.stdout, ran.returncode), ("in\n", 3), ran.stderr)
            with open(access.identity_file + ".pub", encoding="utf-8") as file:
                given = machine.create_ssh_access(public_key=file.read(), ttl_minutes=1)
            self.assertIsNone(given.identity_file)
            self.assertIn("-cert-v01@openssh.com", given.certificate)
        with self.assertRaises(MachineError):
            machine.create_ssh_access(public_key="ssh-ed25519 AAAA")
