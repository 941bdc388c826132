"""What the other files leave of the public Python SDK."""

import os
import tempfile
import threading
import urllib.request

from nullspace import Machine
from nullspace.errors import FileUploadError, MachineError
from nullspace.git import GitHttpsAuth, GitSshAuth
from nullspace.types import redact_preview_token, redact_preview_url
from support import EngineTest


class Rest(EngineTest):
    def test_a_terminal_is_resized_and_killed_through_its_session(self):
        session = self.machine().pty.create_session(cols=80, rows=24)
        self.assertTrue(session.is_connected)
        self.assertEqual(session.id, session.session_id)
        self.assertGreater(session.pid, 0)
        self.assertIsNone(session.exit_code)
        info = session.resize(cols=100, rows=30)
        self.assertEqual((info.cols, info.rows), (100, 30))
        session.send_input("stty size\n")
        seen = b""
        for data in session:
            seen += data
            if b"30 100" in seen:
                break
        session.kill()
        for _ in session:
            pass
        self.assertEqual(session.exit_code, 137)
        self.assertIsNone(session.error)

    def test_a_background_command_is_iterated(self):
        command = self.machine().commands.run("echo out; sleep 0.3; echo err >&2", shell=True, background=True)
        stdout, stderr = "", ""
        for out, err, _ in command:
            stdout += out or ""
            stderr += err or ""
        self.assertEqual((stdout, stderr), ("out\n", "err\n"))

    def test_a_watch_ends_with_its_block(self):
        files = self.machine().files
        seen, ended = threading.Event(), threading.Event()
        with files.watch_dir(
            "/workspace", on_event=lambda event: seen.set(), on_exit=lambda *_: ended.set()
        ):
            files.write("/workspace/changed", "x")
            self.assertTrue(seen.wait(10))
        self.assertTrue(ended.wait(10))

    def test_addresses_of_files_are_made_by_the_machine_too(self):
        machine = self.machine()
        machine.files.write("/workspace/a", "content")
        with urllib.request.urlopen(machine.download_url("/workspace/a")) as answer:
            self.assertEqual(answer.read(), b"content")
        request = urllib.request.Request(machine.upload_url("/workspace/b"), data=b"put", method="PUT")
        urllib.request.urlopen(request).close()
        self.assertEqual(machine.files.read("/workspace/b"), "put")

    def test_a_broken_upload_is_taken_up_again(self):
        machine = self.machine()
        content = os.urandom(20 << 20)
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "large.bin")
            with open(source, "wb") as file:
                file.write(content)
            seen = []

            def broken(progress):
                seen.append(progress)
                if progress.bytes_completed > 0:
                    raise KeyError("broken off")

            with self.assertRaises(FileUploadError):
                machine.files.upload(source, "/workspace/large.bin", resumable=True, progress=broken)
            result = machine.files.resume_upload(seen[-1].upload_id, source)
            self.assertEqual(result.upload_id, seen[-1].upload_id)
        self.assertEqual(machine.files.read("/workspace/large.bin", format="bytes"), content)

    def test_credentials_of_git_are_taken_for_one_call(self):
        machine = self.machine()
        if machine.commands.run("command -v git", shell=True).exit_code != 0:
            self.skipTest("the machine has no git")
        machine.commands.run("git init -q --bare /srv/origin.git", shell=True)
        for number, auth in enumerate(
            [GitHttpsAuth(username="u", password="secret-of-mine"), GitSshAuth(private_key="secret-of-mine")]
        ):
            machine.git.clone("file:///srv/origin.git", path=f"/workspace/{number}", auth=auth)
            found = machine.commands.run(f"grep -r secret-of-mine /workspace/{number} /root /tmp", shell=True)
            self.assertEqual(found.stdout, "")
        with self.assertRaises(ValueError):
            GitHttpsAuth(username="", password="x")

    def test_what_previews_reveal_is_left_out_of_logs(self):
        machine = self.machine()
        url = machine.create_signed_preview_url(8080).url
        token = url.partition("edge_token=")[2]
        self.assertTrue(token)
        self.assertNotIn(token, redact_preview_url(url))
        self.assertNotIn(token, redact_preview_token(token))

    def test_what_is_closed_is_closed(self):
        machine = Machine.create()
        self.addCleanup(Machine.kill_by_id, machine.id)
        machine.close()
        with self.assertRaises((MachineError, RuntimeError)):
            machine.get_info()
