"""Volumes, as the public Python SDK drives them."""

import os

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
