"""Templates, as the public Python SDK drives them: builds in the foreground and in the background, names, pools."""

import os
import pathlib
import tempfile
import unittest

from nullspace import Machine, Template, TemplateBuild
from nullspace.errors import BuildError, MachineError, NotFoundError
from nullspace.template import wait_for_port
from support import EngineTest, _quietly

# In the foreground, and with nothing from outside: the tests have no network.
SIZES = {"cpu_count": 1, "memory_mb": 256, "internet_access": False}


class Templates(EngineTest):
    def name(self, suffix=""):
        name = self.id().rsplit(".", 1)[-1].replace("_", "-")[5:60] + suffix
        self.addCleanup(_quietly, lambda: Template.delete(name))
        return name

    def run_in(self, template, command, **options):
        machine = self.machine(template=template, vcpus=1, memory_mb=256, **options)
        result = machine.commands.run(command, shell=True)
        self.assertEqual(result.exit_code, 0, result)
        return result.stdout

    def context(self, **files):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        for name, text in files.items():
            path = pathlib.Path(directory.name, name)
            path.write_text(text)
        return directory.name


class Building(Templates):
    @unittest.skipIf(os.geteuid() != 0, "needs an engine that runs as root: files are of another user")
    def test_a_declarative_build_in_the_foreground(self):
        name = self.name()
        context = self.context(app="print('hi')\n")
        builder = (
            Template()
            .from_template("base", file_context_path=context)
            .run_cmd("useradd --create-home app")
            .make_dir("/srv/app", mode="0755")
            .copy("app", "/srv/app/main.py", user="app", mode=0o640)
            .set_workdir("/srv/app")
            .run_cmd("echo $STAGE > stage; id -un > who")
            .set_user("app")
            .make_symlink("/srv/app/main.py", "/tmp/link")
            .rename("/tmp/link", "/tmp/link2")
            .run_cmd("touch /tmp/gone; id -un")
            .remove("/tmp/gone")
            .set_build_envs({"STAGE": "build"})
            .set_runtime_envs({"MODE": "run"})
        )
        entries = []
        build = Template.build(builder, f"{name}:stable", on_log_entry=entries.append, **SIZES)
        self.assertEqual((build.name, build.tags, build.status.value), (name, ["stable"], "ready"))
        self.assertIn("app", [entry.message for entry in entries])
        said = self.run_in(
            f"{name}:stable",
            "id -un; pwd; echo $HOME $MODE-$STAGE; cat stage who; stat -c '%U %a' main.py; readlink /tmp/link2; ls /tmp/gone 2>&1 | tail -c 26",
        )
        self.assertEqual(
            said.splitlines(),
            ["app", "/srv/app", "/home/app run-", "build", "root", "app 640", "/srv/app/main.py", "No such file or directory"],
        )
        again = []
        Template.build(builder, f"{name}:stable", on_log_entry=again.append, **SIZES)
        hits = [entry for entry in again if entry.kind.value == "cache" and entry.cache_status.value == "hit"]
        self.assertGreaterEqual(len(hits), 8)

    def test_a_failed_step_is_a_build_error(self):
        name = self.name()
        builder = Template().from_template("base").run_cmd("echo this went wrong; exit 5")
        with self.assertRaises(BuildError) as caught:
            Template.build(builder, name, **SIZES)
        error = caught.exception
        self.assertEqual((error.code, error.phase, error.step_index), ("build_error", "build_step", 0))
        self.assertIn("this went wrong", str(error))
        self.assertFalse(Template.exists(name))

    def test_a_background_build_with_its_log(self):
        name = self.name()
        build = Template.build_in_background(Template().from_template("base").run_cmd("echo said"), name, **SIZES)
        followed = [entry.message for entry in build.logs(follow=True)]
        self.assertIn("said", followed)
        snapshot = build.wait_until_terminal()
        self.assertEqual(snapshot.build.status.value, "ready")
        other = TemplateBuild.connect(build.build_id)
        self.assertEqual([entry.message for entry in other.logs()], followed)
        again = other.retry(tags=["again"])
        again.wait_until_terminal()
        self.assertEqual(again.retry_of_build_id, build.build_id)
        listed = [item.build_id for item in Template.list_builds(name).builds]
        self.assertEqual(listed, [again.build_id, build.build_id])
        self.assertEqual(build.promote(tag="promoted").name, name)
        self.assertEqual({tag.tag for tag in Template.get_tags(name)}, {"latest", "again", "promoted"})

    def test_a_build_is_cancelled(self):
        name = self.name()
        build = Template.build_in_background(Template().from_template("base").run_cmd("sleep 300"), name, **SIZES)
        build.cancel(reason="enough")
        snapshot = build.wait_until_terminal()
        self.assertEqual(snapshot.build.status.value, "cancelled")

    def test_secrets_are_in_no_layer_and_no_log(self):
        name = self.name()
        secret = "hunter2-" + os.urandom(8).hex()
        builder = (
            Template()
            .from_template("base")
            .run_cmd(
                "--mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN "
                "cat /run/secrets/token; echo; echo $TOKEN; wc -c < /run/secrets/token > /workspace/length"
            )
            .run_cmd("ls /run/secrets 2>&1 || true; env")
            .add_build_secret("token", secret)
        )
        entries = []
        Template.build(builder, name, on_log_entry=entries.append, **SIZES)
        self.assertNotIn(secret, "\n".join(entry.message for entry in entries))
        said = self.run_in(name, "cat /workspace/length; grep -rl hunter2- /workspace /run /tmp /etc /root /var || true; env")
        self.assertEqual(said.splitlines()[0], str(len(secret)))
        self.assertNotIn("hunter2", said)

    def test_without_internet_a_build_reaches_nothing(self):
        name = self.name()
        # A connection may be accepted before it is cut: what counts is that nothing comes.
        probe = (
            "python3 -c \"import socket; s = socket.create_connection(('1.1.1.1', 80), 3); "
            "s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(len(s.recv(9)), 'bytes')\" 2>&1 | tail -1"
        )
        entries = []
        Template.build(Template().from_template("base").run_cmd(probe), name, on_log_entry=entries.append, **SIZES)
        said = [entry.message for entry in entries]
        self.assertTrue(any("Error" in line or line == "0 bytes" for line in said), said)

    def test_checks_and_plans_run_nothing(self):
        builder = Template().from_template("base").run_cmd("true")
        self.assertTrue(Template.validate(builder, "checked").valid)
        plan = Template.plan(builder, "checked")
        self.assertEqual(plan.build_plan["base_template"], "nullspace/base:latest")
        self.assertFalse(Template.validate(Template().from_template("no-such-template"), "checked").valid)


class Names(Templates):
    def test_tags_names_and_visibility(self):
        name, other = self.name(), self.name("-2")
        build = Template.build(Template().from_template("base").run_cmd("true"), name, **SIZES)
        info = Template.get(name)
        self.assertEqual((info.id, info.tags), (build.template_id, ["latest"]))
        self.assertIn(name, {item.name for item in Template.list()})
        self.assertEqual(Template.assign_tags(name, ["a", "b"]).tags, ["a", "b", "latest"])
        Template.remove_tag(name, "a")
        self.assertEqual({tag.tag for tag in Template.get_tags(name)}, {"b", "latest"})
        self.assertEqual(Template.set_visibility(name, "public").visibility.value, "public")
        self.assertEqual(Template.rename(name, other).name, other)
        self.assertEqual([alias.alias_ref for alias in Template.list_aliases(other)], [f"local/{name}"])
        self.assertTrue(Template.exists(name))
        Template.remove_alias(other, name)
        self.assertFalse(Template.exists(name))
        Template.delete(other)
        with self.assertRaises(NotFoundError):
            Template.get(other)

    def test_a_name_is_reserved_and_released(self):
        claim = Template.reserve_name(self.name())
        with self.assertRaises(MachineError):
            Template.reserve_name(self.name())
        Template.release_name_claim(claim.claim_token)
        self.assertEqual(Template.get_namespace("local").slug, "local")


class Running(Templates):
    def test_a_pool_of_a_built_template_with_a_start_command(self):
        name = self.name()
        builder = (
            Template()
            .from_template("base")
            .run_cmd("mkdir -p /srv/www; echo served > /srv/www/index.html")
            .set_start_cmd("exec python3 -m http.server 8080 --directory /srv/www", readiness=wait_for_port(8080, interval_ms=50))
        )
        Template.build(builder, name, **SIZES)
        pool = self.pool(name, memory_mb=256)
        pool.wait_until_ready(timeout_secs=60, interval_secs=0.1)
        machine = self.machine(
            template=name, vcpus=1, memory_mb=256, warm_pool=pool, warm_pool_mode="require", warm_pool_wait_ms=5000
        )
        fetch = "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080').read().decode())\""
        self.assertEqual(machine.commands.run(fetch, shell=True).stdout.strip(), "served")
        self.assertEqual(self.run_in(name, fetch).strip(), "served")

    def test_a_template_is_built_on_a_template(self):
        first, second = self.name(), self.name("-2")
        Template.build(Template().from_template("base").run_cmd("echo one > /workspace/one"), first, **SIZES)
        Template.build(Template().from_template(first).run_cmd("cp /workspace/one /workspace/two"), second, **SIZES)
        Template.delete(first)
        self.assertEqual(self.run_in(second, "cat /workspace/one /workspace/two"), "one\none\n")
        machine = Machine.create(template=second, vcpus=1, memory_mb=256)
        self.addCleanup(_quietly, machine.kill)
        self.assertEqual(machine.commands.run("rm /workspace/one", shell=True).exit_code, 0)
        self.assertEqual(self.run_in(second, "ls /workspace").split(), ["one", "two"])
