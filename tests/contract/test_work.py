"""Commands, terminals, files, uploads and git, as the public Python SDK drives them."""

import os
import shutil
import tempfile
import threading
import time

from nullspace.errors import GitError, MachineError, NotFoundError
from support import EngineTest


class Streams(EngineTest):
    def test_callbacks_get_both_streams_and_the_exit_code_comes_last(self):
        heard = []
        result = self.machine().commands.run(
            "echo out; echo err >&2; exit 3",
            shell=True,
            on_stdout=lambda text: heard.append(("out", text)),
            on_stderr=lambda text: heard.append(("err", text)),
        )
        self.assertEqual(result.exit_code, 3)
        self.assertIn(("out", "out\n"), heard)
        self.assertIn(("err", "err\n"), heard)

    def test_a_background_command_is_heard_fed_and_waited_for(self):
        machine = self.machine()
        command = machine.commands.run("cat", background=True)
        machine.commands.send_stdin(command.pid, "hello\n")
        for _ in range(100):
            if "hello" in machine.commands.get_logs(command.pid).stdout:
                break
            time.sleep(0.05)
        self.assertIn(command.pid, [process.pid for process in machine.commands.list()])
        again = machine.commands.connect(command.pid)
        self.assertEqual(again.pid, command.pid)
        again.disconnect()
        command.kill()
        self.assertNotEqual(command.wait(timeout=20).exit_code, 0)


class Terminals(EngineTest):
    def test_a_terminal_is_typed_into_resized_left_and_taken_up_again(self):
        machine = self.machine()
        session = machine.pty.create_session(cols=91, rows=17)
        session.send_input("stty size; here=kept\n")
        seen = b""
        for data in session:
            seen += data
            if b"17 91" in seen:
                break
        machine.pty.resize_session(session.session_id, cols=50, rows=12)
        info = machine.pty.get_session_info(session.session_id)
        self.assertEqual((info.cols, info.rows), (50, 12))
        self.assertIn(session.session_id, [one.session_id for one in machine.pty.list_sessions()])
        session.disconnect()
        again = machine.pty.connect(session_id=session.session_id)
        again.send_input('test "$here" = kept && exit 7\n')
        self.assertEqual(again.wait(timeout=20).exit_code, 7)

    def test_a_terminal_is_killed(self):
        machine = self.machine()
        session = machine.pty.create_session()
        machine.pty.kill_session(session.session_id)
        # Its end is told when the shell is gone.
        for _ in range(100):
            if not machine.pty.list_sessions():
                break
            time.sleep(0.05)
        with self.assertRaises(MachineError):
            machine.pty.get_session_info(session.session_id)


class Files(EngineTest):
    def test_text_bytes_and_streams_come_back_as_they_went(self):
        files = self.machine().files
        info = files.write("/workspace/a/b.txt", "grüß\n")
        self.assertEqual((info.name, info.path, info.is_dir), ("b.txt", "/workspace/a/b.txt", False))
        self.assertEqual(files.read("/workspace/a/b.txt"), "grüß\n")
        files.write("/workspace/raw", b"\x00\xff")
        self.assertEqual(files.read("/workspace/raw", format="bytes"), b"\x00\xff")
        files.write("/workspace/streamed", iter([b"one", b"two"]))
        self.assertEqual(b"".join(files.read("/workspace/streamed", format="stream")), b"onetwo")
        with self.assertRaises(NotFoundError):
            files.info("/workspace/nothing")

    def test_the_rest_of_the_calls(self):
        files = self.machine().files
        files.make_dir("/workspace/d/e")
        files.write_files([("/workspace/d/1.ts", "needle\n"), ("/workspace/d/2.md", b"needle needle\n")])
        self.assertTrue(files.exists("/workspace/d/1.ts"))
        self.assertEqual(sorted(one.name for one in files.list("/workspace/d")), ["1.ts", "2.md", "e"])
        self.assertEqual([match.line for match in files.find_files("/workspace/d", "needle")], [1, 1])
        self.assertEqual(files.search_files("/workspace/d", "*.ts"), ["/workspace/d/1.ts"])
        self.assertEqual(files.replace_in_files(["/workspace/d/1.ts", "/workspace/d/2.md"], "needle", "pin"), 3)
        files.set_permissions("/workspace/d/1.ts", "0600")
        self.assertEqual(files.get_info("/workspace/d/1.ts").mode, "0600")
        self.assertEqual(files.rename("/workspace/d/1.ts", "/workspace/d/3.ts").path, "/workspace/d/3.ts")
        files.remove("/workspace/d")
        self.assertFalse(files.exists("/workspace/d"))

    def test_signed_addresses_are_given(self):
        files = self.machine().files
        files.write("/workspace/a", "a")
        self.assertTrue(files.download_url("/workspace/a").startswith("http://127.0.0.1:"))
        upload = files.upload_url("/workspace/b")
        self.assertIn(upload.token, upload.url)

    def test_changes_are_told(self):
        files = self.machine().files
        seen = threading.Event()
        handle = files.watch_dir("/workspace", on_event=lambda event: seen.set())
        try:
            files.write("/workspace/changed", "x")
            self.assertTrue(seen.wait(10))
        finally:
            handle.stop()


class Uploads(EngineTest):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def test_a_file_goes_in_parts_with_checksums(self):
        content = os.urandom(9 << 20)
        source = os.path.join(self.folder, "large.bin")
        with open(source, "wb") as file:
            file.write(content)
        files = self.machine().files
        files.upload_file(source, "/workspace/large.bin", resumable=True, checksum="sha256")
        self.assertEqual(files.read("/workspace/large.bin", format="bytes"), content)

    def test_a_directory_goes_as_an_archive(self):
        os.makedirs(os.path.join(self.folder, "sub"))
        for name in ["a.txt", "sub/b.txt", "sub/c.log"]:
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(name)
        files = self.machine().files
        files.upload_dir(self.folder, "/workspace/tree", ignore_patterns=["*.log"])
        self.assertEqual(files.read("/workspace/tree/sub/b.txt"), "sub/b.txt")
        self.assertFalse(files.exists("/workspace/tree/sub/c.log"))


class Git(EngineTest):
    def test_a_repository_is_cloned_changed_committed_pushed_and_pulled(self):
        machine = self.machine()
        if machine.commands.run("command -v git", shell=True).exit_code != 0:
            self.skipTest("the machine has no git")
        machine.commands.run("git init -q --bare /srv/origin.git", shell=True)
        git, path = machine.git, "/workspace/r"
        git.clone("/srv/origin.git", path=path)
        machine.files.write(f"{path}/a.txt", "a")
        self.assertEqual([one.path for one in git.status(path=path).changed], ["a.txt"])
        git.add(path=path)
        git.commit("first", path=path, author_name="A", author_email="a@example.com")
        self.assertEqual([commit.message for commit in git.log(path=path)], ["first"])
        git.push(path=path, set_upstream=True)
        git.create_branch(path, "topic")
        git.checkout("topic", path=path)
        self.assertEqual(git.branches(path=path).current_branch, "topic")
        git.checkout(next(name for name in git.branches(path=path).branches if name != "topic"), path=path)
        git.delete_branch(path, "topic", force=True)
        git.pull(path=path)
        self.assertTrue(git.status(path=path).clean)
        with self.assertRaises(GitError):
            git.checkout("nothing", path=path)
