// Git in a machine: a repository from its first commit to a push, with credentials that leave no trace
// (GitHttpsAuth and GitSshAuth of the Python SDK).

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { GitError, InvalidRequestError, Nullspace } from 'nullspace';

import { engineForTests, SMALL, sh, until } from './support/engine.mjs';

const engine = await engineForTests();
after(() => engine.stopWell());

const author = { name: 'A. Author', email: 'author@example.com' };
const path = '/workspace/work';
let machine;
let skip = false;
before(async () => {
  machine = await engine.Machine.create({ ...SMALL, memoryMb: 256, timeout: 600 });
  skip = (await machine.commands.run('command -v git && command -v python3', { shell: true })).exitCode !== 0;
  if (skip) return;
  await sh(machine, 'git init -q --bare -b main /srv/origin.git 2>/dev/null || git init -q --bare /srv/origin.git');
  await sh(machine, 'git -C /srv/origin.git config http.receivepack true');
});
const withGit = (name, run) => test(name, (t) => (skip ? t.skip('the machine has no git or no python3') : run(t)));

withGit('a repository is cloned, changed, committed and pushed', async () => {
  assert.deepEqual(await machine.git.clone('/srv/origin.git', { path }), { path });
  assert.deepEqual(await machine.git.log({ path }), []);
  await machine.git.checkout('main', { path, create: true }).catch(() => {});
  await machine.files.write(`${path}/one file.txt`, 'one\n');
  const before = await machine.git.status({ path });
  assert.deepEqual([before.clean, before.detached], [false, false]);
  assert.deepEqual(before.changed, [{ path: 'one file.txt', status: 'untracked', staged: false, unstaged: true }]);
  await machine.git.add({ path, files: ['one file.txt'] });
  assert.deepEqual((await machine.git.status({ path })).changed, [
    { path: 'one file.txt', status: 'added', staged: true, unstaged: false },
  ]);
  const sha = await machine.git.commit('first\n\nwith a body', { path, files: [], author });
  assert.match(sha, /^[0-9a-f]{40}$/);
  const [commit] = await machine.git.log({ path, limit: 1 });
  assert.deepEqual(
    [commit.sha, commit.authorName, commit.authorEmail, commit.message],
    [sha, author.name, author.email, 'first\n\nwith a body'],
  );
  assert.match(await machine.git.push({ path, setUpstream: true }), /refs\/heads/);
  const { clean, ahead, behind } = await machine.git.status({ path });
  assert.deepEqual({ clean, ahead, behind }, { clean: true, ahead: 0, behind: 0 });
});

withGit('branches are made, changed to, listed and deleted', async () => {
  const { current } = await machine.git.branches({ path });
  await machine.git.createBranch('topic', { path });
  await machine.git.checkout('topic', { path });
  await machine.files.write(`${path}/two.txt`, 'two\n');
  await machine.git.commit('second', { path, author });
  assert.deepEqual(await machine.git.branches({ path }), { current: 'topic', branches: [current, 'topic'].sort() });
  await machine.git.checkout(current, { path });
  await assert.rejects(machine.git.deleteBranch('topic', { path }), GitError);
  await machine.git.deleteBranch('topic', { path, force: true });
  assert.deepEqual((await machine.git.branches({ path })).branches, [current]);
});

withGit('what somebody else pushed is pulled', async () => {
  const other = '/workspace/other';
  await machine.git.clone('file:///srv/origin.git', { path: other, depth: 1 });
  await machine.files.write(`${other}/three.txt`, 'three\n');
  await machine.git.commit('third', { path: other, author });
  await machine.git.push({ path: other });
  await machine.git.pull({ path });
  assert.equal(await machine.files.read(`${path}/three.txt`), 'three\n');
});

withGit('what git refuses is a GitError with its exit code and words', async () => {
  await assert.rejects(machine.git.status({ path: '/srv' }), (error) => {
    assert.ok(error instanceof GitError);
    assert.equal(error.code, 'git_error');
    assert.equal(error.details.exitCode, 128);
    assert.match(error.details.stderr, /not a git repository/);
    return true;
  });
  await assert.rejects(machine.git.checkout('--orphan', { path }), GitError);
});

test('wrong options are told before anything is sent', async () => {
  const wrong = (call, text) =>
    assert.rejects(call, (error) => error instanceof InvalidRequestError && text.test(error.message));
  await wrong(machine.git.clone('https://user:secret@example.com/r.git'), /`auth: \{ username, password \}`/);
  await wrong(machine.git.clone('https://example.com/r.git', { auth: { username: 'u' } }), /`auth` must be/);
  await wrong(machine.git.commit('m', { author: { name: 'A' } }), /`author` must be/);
  await wrong(machine.git.commit(' '), /`message`/);
  await wrong(machine.git.push({ setUpstrem: true }), /did you mean `setUpstream`/i);
});

/** A server of git's own HTTP backend that wants a password. */
const SERVER = `exec python3 -c '
import base64, http.server, os, subprocess
EXPECTED = "Basic " + base64.b64encode(b"user:s3cret-token").decode()
class Handler(http.server.BaseHTTPRequestHandler):
    def serve(self):
        if self.headers.get("authorization") != EXPECTED:
            self.send_response(401); self.send_header("www-authenticate", "Basic realm=r"); self.send_header("content-length", "0"); self.end_headers(); return
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("content-length") or 0)
        env = dict(os.environ, GIT_PROJECT_ROOT="/srv", GIT_HTTP_EXPORT_ALL="1", REQUEST_METHOD=self.command, PATH_INFO=path, QUERY_STRING=query, CONTENT_TYPE=self.headers.get("content-type", ""), CONTENT_LENGTH=str(length), REMOTE_USER="user", REMOTE_ADDR="127.0.0.1")
        out = subprocess.run(["git", "http-backend"], input=self.rfile.read(length), env=env, capture_output=True).stdout
        head, _, body = out.partition(b"\\r\\n\\r\\n")
        status = 200
        fields = []
        for line in head.decode().split("\\r\\n"):
            name, _, value = line.partition(": ")
            if name.lower() == "status": status = int(value.split()[0])
            elif name: fields.append((name, value))
        self.send_response(status)
        for field in fields: self.send_header(*field)
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    do_GET = do_POST = serve
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8418), Handler).serve_forever()
'`;

withGit('credentials open a remote and leave no trace', async () => {
  await machine.commands.run(SERVER, { shell: true, background: true, timeout: 300 });
  await until('the server listens', async () => (await machine.waitForPreview(8418, { timeout: 5 })).ready);
  const url = 'http://127.0.0.1:8418/origin.git';
  const auth = { username: 'user', password: 's3cret-token' };
  await assert.rejects(machine.git.clone(url, { path: '/workspace/refused' }), GitError);
  const seen = [];
  const { Machine } = new Nullspace({
    ...engine.client,
    onRequest: (event) => seen.push(event),
    onResponse: (event) => seen.push(event),
  });
  const hooked = await Machine.connect(machine.id);
  await hooked.git.clone(url, { path: '/workspace/secret', auth });
  await machine.files.write('/workspace/secret/four.txt', 'four\n');
  await hooked.git.commit('fourth', { path: '/workspace/secret', author });
  await hooked.git.push({ path: '/workspace/secret', auth });
  await assert.rejects(
    hooked.git
      .push({ path: '/workspace/secret', auth: { ...auth, password: 'wrong-secret' } })
      .then(() => hooked.git.pull({ path: '/workspace/secret', auth: { ...auth, password: 'wrong-secret' } })),
    (error) => {
      assert.ok(!JSON.stringify(error).includes('wrong-secret'));
      return true;
    },
  );
  assert.ok(!JSON.stringify(seen).includes('s3cret'));
  assert.equal(await sh(machine, 'grep -rl s3cret-token /workspace /root /tmp /dev/shm 2>/dev/null || true'), '');
  assert.ok(!JSON.stringify(await machine.commands.list()).includes('password'));
  assert.ok(!engine.log().includes('s3cret'));
});

withGit('settings, remotes and a diff', async () => {
  await machine.git.configureUser('B. User', 'b@example.com');
  assert.equal(await machine.git.getConfig('user.name'), 'B. User');
  await machine.git.setConfig('nullspace.test', 'a b', { scope: 'local', path });
  assert.equal(await machine.git.getConfig('nullspace.test', { scope: 'local', path }), 'a b');
  await assert.rejects(machine.git.getConfig('nullspace.none'), GitError);
  await machine.git.remoteAdd('second', '/srv/origin.git', { path, fetch: true });
  await assert.rejects(machine.git.remoteAdd('second', '/srv/origin.git', { path }), GitError);
  await machine.git.remoteAdd('second', 'https://example.com/r.git', { path, overwrite: true });
  assert.equal(await sh(machine, `git -C ${path} remote get-url second`), 'https://example.com/r.git');
  await machine.files.write(`${path}/one file.txt`, 'changed\n');
  assert.match(await machine.git.diff({ path }), /\+changed/);
  await machine.git.checkout('HEAD', { path }).catch(() => {});
});

withGit('credentials that are asked to stay are kept from other users', async () => {
  await machine.git.dangerouslyAuthenticate({
    username: 'user',
    password: 's3cret-token',
    host: '127.0.0.1:8418',
    protocol: 'http',
  });
  await machine.git.clone('http://127.0.0.1:8418/origin.git', { path: '/workspace/stored' });
  await machine.git.addSshKey('-----BEGIN KEY-----\nkept\n-----END KEY-----');
  assert.equal(await sh(machine, 'stat -c %a /root/.git-credentials /root/.ssh /root/.ssh/id_rsa'), '600\n700\n600');
  await assert.rejects(machine.git.dangerouslyAuthenticate({ username: 'user' }), /`password`/);
});

withGit('a private key is gone when the call is over', async () => {
  const call = machine.git.clone('ssh://git@127.0.0.1:9/r.git', {
    path: '/workspace/ssh',
    auth: { privateKey: '-----BEGIN KEY-----\nsecretkey\n-----END KEY-----' },
  });
  await assert.rejects(call, (error) => error instanceof GitError && !JSON.stringify(error).includes('secretkey'));
  assert.equal(await sh(machine, 'ls -d /dev/shm/nullspace-git.* /tmp/tmp.* 2>/dev/null || true'), '');
});
