"""Volumes and their files, as the public Python SDK drives them."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

from nullspace import Machine, Volume
from nullspace.errors import MachineError, NotFoundError
from support import EngineTest


class Volumes(EngineTest):
    def small(self, **options):
        return self.machine(template="base", vcpus=1, memory_mb=64, **options)

    def volume(self, name):
        volume = Volume.create(name)
        self.addCleanup(self.forget, volume)
        return volume

    @staticmethod
    def forget(volume):
        try:
            volume.delete()
        except MachineError:
            pass

    def test_create_get_get_by_name_from_name_from_id_list_and_delete(self):
        volume = self.volume("py-names")
        self.assertEqual(Volume.get(volume.id).id, volume.id)
        self.assertEqual(Volume.get_by_name("py-names").id, volume.id)
        self.assertEqual(Volume.from_name("py-names").id, volume.id)
        self.assertEqual(Volume.from_id(volume.id).id, volume.id)
        made = Volume.from_name("py-made", create_if_missing=True)
        self.addCleanup(self.forget, made)
        self.assertIn("py-made", [info.name for info in Volume.list()])
        self.assertEqual(volume.get_info().status, "available")
        with self.assertRaises(NotFoundError):
            Volume.from_name("py-none")
        volume.delete()
        with self.assertRaises(NotFoundError):
            Volume.get(volume.id)

    def test_machines_share_a_volume_by_mount(self):
        volume = self.volume("py-shared")
        writer = self.small(volumes=[volume.mount("/data")])
        reader = self.small(volumes=[volume.mount("/in", read_only=True, subpath="sub")])
        writer.files.write("/data/sub/a", "x")
        self.assertEqual(reader.files.read("/in/a"), "x")
        listed = reader.list_volumes()
        self.assertEqual([(a.mount_path, a.read_only, a.subpath) for a in listed], [("/in", True, "sub")])
        self.assertEqual(len(volume.attachments()), 2)

    def test_attach_volume_get_volume_health_remount_volume_and_detach_volume(self):
        if os.geteuid() != 0:
            self.skipTest("needs an engine that runs as root")
        if os.environ.get("NULLSPACE_TEST_CLUSTER"):
            self.skipTest("a volume lives on its node, where only luck puts a machine that is made without it")
        volume = self.volume("py-live")
        machine = self.small()
        attached = machine.attach_volume(volume.mount("/live"))
        self.assertEqual(attached.mount_path, "/live")
        machine.files.write("/live/a", "1")
        self.assertEqual(machine.get_volume_health(attached.id).state, "mounted")
        self.assertEqual(machine.remount_volume(attached.id).state, "mounted")
        self.assertEqual(machine.files.read("/live/a"), "1")
        self.assertEqual(machine.detach_volume(attached.id).state, "released")
        self.assertEqual(machine.list_volumes(), [])

    def test_create_from_a_snapshot_keeps_volumes(self):
        volume = self.volume("py-kept")
        machine = self.small(volumes=[volume.mount("/data")])
        machine.files.write("/data/a", "1")
        snapshot = machine.create_snapshot()
        again = self.machine(snapshot_id=snapshot.id)
        self.assertEqual(again.files.read("/data/a"), "1")
        self.assertEqual([a.mount_path for a in Machine.connect(again.id).list_volumes()], ["/data"])


class VolumeFiles(EngineTest):
    def setUp(self):
        self.volume = Volume.create(self.id().rsplit(".", 1)[-1])
        self.addCleanup(self.volume.delete)
        self.files = self.volume.files
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def test_read_write_list_exists_info_rename_make_dir_set_permissions_and_remove(self):
        files = self.files
        self.assertEqual(files.write("/a/b.txt", "text").path, "/a/b.txt")
        self.assertEqual(files.read("/a/b.txt"), "text")
        self.assertEqual(files.write("/c", b"\x00\xff").size, 2)
        self.assertEqual(files.read("/c", format="bytes"), b"\x00\xff")
        self.assertEqual(b"".join(files.read("/c", format="stream")), b"\x00\xff")
        self.assertEqual([info.path for info in files.list(depth=1)], ["/a", "/a/b.txt", "/c"])
        self.assertTrue(files.exists("/c"))
        self.assertEqual(files.get_info("/c").type, "file")
        self.assertEqual(files.rename("/c", "/d").path, "/d")
        self.assertTrue(files.make_dir("/e/f"))
        files.set_permissions("/d", "0600")
        self.assertEqual(files.info("/d").mode, "0600")
        files.remove("/e")
        self.assertFalse(files.exists("/e/f"))
        with self.assertRaises(NotFoundError):
            files.read("/none")

    def test_write_files_find_files_search_files_and_replace_in_files(self):
        files = self.files
        self.assertEqual(len(files.write_files([("/x.txt", "one two"), ("/y.txt", "two")])), 2)
        self.assertEqual([match.file for match in files.find_files("/", "one")], ["/x.txt"])
        self.assertEqual(sorted(files.search_files("/", "*.txt")), ["/x.txt", "/y.txt"])
        counted = files.replace_in_files(["/x.txt", "/y.txt"], "two", "2", dry_run=True)
        self.assertEqual((counted.dry_run, counted.replacements, counted.files_modified), (True, 2, 2))
        self.assertEqual(files.read("/y.txt"), "two")
        self.assertFalse(files.replace_in_files(["/y.txt"], "two", "2").dry_run)
        self.assertEqual(files.read("/y.txt"), "2")

    def test_download_url_and_upload_url(self):
        import httpx

        upload = self.files.upload_url("/signed")
        self.assertEqual(httpx.put(upload.url, content=b"bytes", trust_env=False).status_code, 204)
        url = self.files.download_url("/signed")
        self.assertEqual(httpx.get(url, trust_env=False).content, b"bytes")

    def test_upload_upload_file_and_upload_dir(self):
        source = self.folder / "large.bin"
        source.write_bytes(os.urandom(9_000_000))
        self.files.upload(source, "/large.bin")
        self.assertEqual(self.files.read("/large.bin", format="bytes"), source.read_bytes())
        small = self.folder / "small"
        small.write_text("small")
        self.files.upload_file(small, "/small", resumable=True, checksum="sha256")
        self.assertEqual(self.files.read("/small"), "small")
        tree = self.folder / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub" / "a").write_text("a")
        self.files.upload_dir(tree, "/tree")
        self.assertEqual(self.files.read("/tree/sub/a"), "a")

    def test_download_download_file_and_download_dir(self):
        self.files.write_files([("/t/a", "a"), ("/t/sub/" + "n" * 150, "long")])
        done = self.files.download("/t", self.folder / "t")
        self.assertTrue(done.extracted)
        self.assertEqual((self.folder / "t" / "a").read_text(), "a")
        self.assertEqual((self.folder / "t" / "sub" / ("n" * 150)).read_text(), "long")
        self.files.download_file("/t/a", self.folder / "a")
        self.assertEqual((self.folder / "a").read_text(), "a")
        self.files.download_dir("/t", self.folder / "t.tar", archive=True)
        self.assertGreater((self.folder / "t.tar").stat().st_size, 0)

    def test_watch_dir(self):
        seen = threading.Event()
        handle = self.files.watch_dir("/", on_event=lambda event: seen.set(), recursive=True)
        try:
            self.files.write("/new", "x")
            self.assertTrue(seen.wait(20))
        finally:
            handle.stop()
