// The builder of templates: what is in one, as plain data that no step changes. It is JavaScript and not a row of the module's table,
// because nothing of it is a call: a step is one check and one object, works before the module is loaded, and holds what only
// JavaScript has (files, handles of directories). What is asked of a build beside it is checked by the table: src/surface/templates.rs.

import { InvalidRequestError } from './errors.js';
import { classes, define, make, recordOf } from './handle.js';
import { env, readText } from './runtime.js';
import { filled, flag, integer, optionsOf, wrong } from './checks.js';
import { quoted } from './shell.js';
import { readinessOf } from './template-probes.js';

const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/** What a builder begins as. `steps` are those of the wire, but that `copy` still has the caller's own sources. */
const EMPTY = {
  base: undefined,
  dockerfile: undefined,
  dockerfilePath: undefined,
  steps: [],
  buildEnvs: {},
  runtimeEnvs: {},
  startCommand: undefined,
  readiness: undefined,
  user: undefined,
  workdir: undefined,
  context: undefined,
  ignore: [],
  auth: undefined,
  secrets: [],
  needsImage: false,
};

const begun = (state) => make('Template', { ...EMPTY, ...state });

/** What a builder holds; throws for anything else. */
export const stateOf = (builder) => {
  if (!(builder instanceof classes.Template))
    wrong('builder', "must be a template such as Template.fromImage('python:3.12-slim')");
  return recordOf(builder, 'Template');
};

// ---- Values ---------------------------------------------------------------------------------------------------

const absent = (value) => value === undefined;
/** Without what was not given. */
const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => !absent(value)));

const octal = (name, value) => {
  if (absent(value)) return undefined;
  const number =
    typeof value === 'string' && /^(0o?)?[0-7]{1,4}$/.test(value) ? Number.parseInt(value.replace('0o', ''), 8) : value;
  if (!Number.isInteger(number) || number < 0 || number > 0o7777)
    wrong(name, `must be permission bits such as 0o755 or '0755', not ${String(value)}`);
  return number.toString(8).padStart(4, '0');
};

const optional = (name, value, example) => (absent(value) ? undefined : filled(name, value, example));

const packagesOf = (packages) => {
  const all = typeof packages === 'string' ? [packages] : packages;
  if (!Array.isArray(all) || all.length === 0) wrong('packages', "must be a name or names such as ['curl', 'git']");
  for (const [index, name] of all.entries()) {
    const place = `packages[${index}]`;
    filled(place, name, "'curl'");
    if (name.trim() !== name || /[\r\n]/.test(name))
      wrong(place, `must be one name without spaces around it, not '${name}'`);
  }
  return [...all];
};

const environment = (envs) => {
  if (envs === null || typeof envs !== 'object' || Array.isArray(envs))
    wrong('envs', "must be an object such as { PORT: '8080' }");
  for (const [name, value] of Object.entries(envs)) {
    if (name === '' || /[=\0]/.test(name)) wrong(`envs.${name}`, 'must have a name without `=`, such as PORT');
    // Not the value: it may be a secret.
    if (typeof value !== 'string' || value.includes('\0')) wrong(`envs.${name}`, "must be a string such as '8080'");
  }
  return { ...envs };
};

const isFile = (value) => typeof value?.arrayBuffer === 'function' && typeof value.size === 'number';
const isDirectory = (value) => value?.kind === 'directory' && typeof value.entries === 'function';

const isList = (value) => typeof value === 'object' && value !== null && typeof value[Symbol.iterator] === 'function';

/** Sources of a copy: paths, files, handles of directories. */
const sourcesOf = (name, sources) => {
  const all = !isDirectory(sources) && isList(sources) ? [...sources] : [sources];
  if (all.length === 0) wrong(name, "must not be empty: give a path such as 'src'");
  for (const [index, one] of all.entries()) {
    const place = all.length === 1 ? name : `${name}[${index}]`;
    if (typeof one === 'string') filled(place, one, "'src'");
    else if (isFile(one) ? typeof one.name !== 'string' || one.name === '' : !isDirectory(one))
      wrong(place, "must be a path, a File with a name or a FileSystemDirectoryHandle, such as 'src'");
  }
  return all;
};

const COPY = ['user', 'mode', 'forceUpload'];
const copied = (sources, destination, { user, mode, forceUpload }, at = '') => ({
  sources: sourcesOf(at === '' ? 'sources' : `${at}source`, sources),
  dst: filled(`${at}destination`, destination, "'/app'"),
  ...given({
    user: optional(`${at}user`, user, "'app'"),
    mode: octal(`${at}mode`, mode),
    force_upload: flag(`${at}forceUpload`, forceUpload) || undefined,
  }),
});

// ---- What is secret -------------------------------------------------------------------------------------------

/** Who may read an image. No message holds a value. */
export const authOf = (name, auth) => {
  const example = "{ username: 'me', password: token }";
  if (auth === null || typeof auth !== 'object') return wrong(name, `must be an object such as ${example}`);
  const text = (key) => {
    const value = auth[key];
    if (typeof value !== 'string' || value.trim() === '')
      wrong(`${name}.${key}`, `must be a text with something in it, as in ${example}`);
    return value;
  };
  if (!absent(auth.serviceAccountJson)) {
    optionsOf(auth, ['serviceAccountJson']);
    let account = auth.serviceAccountJson;
    if (typeof account === 'string') {
      try {
        account = JSON.parse(account);
      } catch {
        wrong(`${name}.serviceAccountJson`, 'must be the JSON of a service account, as text or parsed');
      }
    }
    if (account === null || typeof account !== 'object' || Array.isArray(account) || Object.keys(account).length === 0)
      wrong(`${name}.serviceAccountJson`, 'must be the JSON of a service account, as text or parsed');
    return { kind: 'gcp_artifact_registry', service_account_json: account };
  }
  if (!absent(auth.accessKeyId)) {
    optionsOf(auth, ['accessKeyId', 'secretAccessKey', 'region', 'sessionToken']);
    const session = absent(auth.sessionToken) ? {} : { session_token: text('sessionToken') };
    return {
      kind: 'aws_ecr',
      access_key_id: text('accessKeyId'),
      secret_access_key: text('secretAccessKey'),
      region: text('region'),
      ...session,
    };
  }
  optionsOf(auth, ['username', 'password']);
  return { kind: 'basic', username: text('username'), password: text('password') };
};

/** A secret of a build: `{ value }`, `{ env }` or `{ file }`, or the value itself. */
const secretOf = (name, id, from) => {
  if (typeof id !== 'string' || !/^[\w.-]+$/.test(id))
    wrong(`${name}id`, "must be of letters, digits, '.', '_' and '-', such as 'npm-token'");
  const {
    value,
    env: variable,
    file,
  } = typeof from === 'string' ? { value: from } : optionsOf(from, ['value', 'env', 'file']);
  if ([value, variable, file].filter((one) => !absent(one)).length !== 1)
    wrong(`${name}${id}`, "must be one of { value }, { env: 'NPM_TOKEN' } and { file: './token' }");
  if (!absent(variable)) {
    const found = env(filled(`${name}env`, variable, "'NPM_TOKEN'"));
    if (absent(found)) wrong(`${name}env`, `names the variable ${variable}, which is not set`);
    return { id, value: found, source: 'env' };
  }
  if (!absent(file)) {
    const found = readText(filled(`${name}file`, file, "'./token'"));
    if (absent(found)) wrong(`${name}file`, `names ${file}, which cannot be read`);
    return { id, value: found, source: 'file' };
  }
  if (typeof value !== 'string') wrong(`${name}value`, 'must be a string');
  return { id, value, source: 'value' };
};

const uniqueSecrets = (secrets) => {
  const seen = new Set();
  for (const { id } of secrets) {
    if (seen.has(id)) wrong('id', `'${id}' stands for two build secrets: give each its own`);
    seen.add(id);
  }
  return secrets;
};

/** Secrets among the options of a build, `{ id, value | env | file }`. */
export const secretsOf = (list, before = []) => {
  if (absent(list)) return before;
  if (!Array.isArray(list)) return wrong('buildSecrets', "must be an array such as [{ id: 'npm', env: 'NPM_TOKEN' }]");
  const more = list.map((one, index) => {
    const { id, ...from } = optionsOf(one, ['id', 'value', 'env', 'file']);
    return secretOf(`buildSecrets[${index}].`, id, from);
  });
  return uniqueSecrets([...before, ...more]);
};

const MASK = '[redacted]';
/** A step for people: addresses may hold a password. */
const withoutPassword = (step) =>
  step.action === 'git_clone' ? { ...step, url: step.url.replace(/^(\w+:\/\/)[^/@]*@/, `$1${MASK}@`) } : step;
/** A body for people: the same without what is secret. */
export const withoutSecrets = (body) => ({
  ...body,
  ...given({
    steps: body.steps?.map(withoutPassword),
    base_image_auth: body.base_image_auth && {
      ...body.base_image_auth,
      ...Object.fromEntries(
        Object.keys(body.base_image_auth)
          .filter((key) => key !== 'kind' && key !== 'username' && key !== 'region')
          .map((key) => [key, MASK]),
      ),
    },
    build_secrets: body.build_secrets?.map((secret) => ({ ...secret, value: MASK })),
  }),
});

// ---- How one begins -------------------------------------------------------------------------------------------

const IMAGE = ['username', 'password'];
/** User and password among the options of an image. */
const basicAuth = (options) => {
  const { username, password } = options;
  if (absent(username) && absent(password)) return undefined;
  return authOf('options', { username, password });
};
const fromImage = (image, options, more = []) => {
  const all = optionsOf(options, [...IMAGE, ...more]);
  return begun({ base: filled('image', image, "'python:3.12-slim'").trim(), auth: basicAuth(all) });
};
/** A version, and a variant among the options. */
const versioned = (name, example) => (version, options) => {
  const { variant, ...rest } = optionsOf(options, [...IMAGE, 'variant']);
  const tag = [filled('version', version, example), optional('variant', variant, "'slim'")].filter(Boolean).join('-');
  return fromImage(`${name}:${tag}`, rest);
};

/** What `Template.fromTemplate` takes, as the wire has it. Source: PROTOCOL.md section 11, "Refs". */
const templateRef = (name) => {
  const text = filled('name', name, "'base' or 'team/app:stable'").trim();
  const [, namespace, title, qualifier] = /^(?:([a-z0-9]+(?:-[a-z0-9]+)*)\/)?([^/:]+)(?::([^/:]+))?$/.exec(text) ?? [];
  if (absent(title))
    wrong('name', `must be 'name', 'name:tag', 'namespace/name:tag' or the id of a template, not '${text}'`);
  if (absent(namespace) && text.startsWith('tmpl_') && absent(qualifier)) return text;
  if (namespace === 'nullspace' && absent(qualifier))
    wrong('name', `must have a tag, such as 'nullspace/${title}:latest'`);
  if (!absent(namespace) || qualifier?.startsWith('tb_')) return text;
  return `nullspace/${title}:${qualifier ?? 'latest'}`;
};

const fromDockerfileContent = (content, options) => {
  const { path } = optionsOf(options, ['path']);
  return begun({
    dockerfile: filled('content', content, "'FROM debian'"),
    dockerfilePath: optional('path', path, "'Dockerfile'"),
  });
};

const DOCKERFILE = 'docker/Dockerfile';
/** The statics that begin a builder: they send nothing, so clients have the same. */
export const BEGINNINGS = {
  fromImage: (image, options) => fromImage(image, options),
  fromBaseImage(image, options) {
    if (!absent(image)) return fromImage(image, options);
    if (basicAuth(optionsOf(options, IMAGE)))
      wrong('image', "must be given with a user and a password, such as 'ghcr.io/me/base'");
    return begun({ base: 'ubuntu:22.04', needsImage: true });
  },
  fromUbuntuImage: (version = '22.04', options = undefined) => versioned('ubuntu', "'24.04'")(version, options),
  fromDebianImage: (tag = 'stable-slim', options = undefined) =>
    fromImage(`debian:${filled('tag', tag, "'bookworm-slim'")}`, options),
  debianSlim(options) {
    const { python, ...rest } = optionsOf(options, [...IMAGE, 'python']);
    if (absent(python)) return fromImage('debian:stable-slim', rest);
    return fromImage(`python:${filled('python', python, "'3.12'")}-slim`, rest);
  },
  fromPythonImage: versioned('python', "'3.12'"),
  fromNodeImage: versioned('node', "'22'"),
  fromBunImage: versioned('oven/bun', "'1'"),
  fromRegistry(image, options) {
    const { addPython, ...rest } = optionsOf(options, [...IMAGE, 'addPython']);
    const builder = fromImage(image, rest);
    if (absent(addPython)) return builder;
    const python = `python${filled('addPython', addPython, "'3.11'")}`;
    return builder.aptInstall([python, `${python}-venv`, 'python3-pip']);
  },
  fromGcpRegistry: (image, options) => fromImage(image).setGcpRegistryAuth(options),
  fromAwsRegistry: (image, options) => fromImage(image).setAwsRegistryAuth(options),
  fromTemplate: (name) => begun({ base: templateRef(name) }),
  fromDockerfile(path) {
    const content = readText(filled('path', path, `'${DOCKERFILE}'`));
    if (absent(content))
      wrong(
        'path',
        `names ${path}, which cannot be read; without files of this computer, give fromDockerfileContent(text)`,
      );
    const slash = Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\'));
    return begun({ dockerfile: content, dockerfilePath: path, context: slash < 0 ? '.' : path.slice(0, slash + 1) });
  },
  fromDockerfileContent,
};

// ---- Steps ----------------------------------------------------------------------------------------------------

/** Methods: what each gives is what the next builder has else. */
const CHANGES = {
  aptInstall: (_, packages) => ({ step: { action: 'apt_install', packages: packagesOf(packages) } }),
  pipInstall(_, packages, options) {
    const { global = true } = optionsOf(options, ['global']);
    const g = flag('global', global) ? {} : { g: false };
    return { step: { action: 'pip_install', packages: packagesOf(packages), ...g } };
  },
  npmInstall: (_, packages, options) => globally('npm_install', packages, options),
  bunInstall: (_, packages, options) => globally('bun_install', packages, options),
  run(_, commands, options) {
    const { user } = optionsOf(options, ['user']);
    const all = typeof commands === 'string' ? [commands] : commands;
    if (!Array.isArray(all) || all.length === 0)
      return wrong('command', "must be a command or commands such as ['make', 'make install']");
    const more = given({ user: optional('user', user, "'app'") });
    const name = (index) => (typeof commands === 'string' ? 'command' : `command[${index}]`);
    return {
      steps: all.map((one, index) => ({ action: 'run', command: filled(name(index), one, "'make'"), ...more })),
    };
  },
  copy: (_, sources, destination, options) => ({
    step: { action: 'copy', ...copied(sources, destination, optionsOf(options, COPY)) },
  }),
  copyItems(_, items, options) {
    const usual = optionsOf(options, COPY);
    if (!Array.isArray(items) || items.length === 0)
      return wrong('items', "must be an array such as [{ source: 'src', destination: '/app' }]");
    const all = items.map((item, index) => {
      const place = `items[${index}]`;
      if (item === null || typeof item !== 'object')
        wrong(place, "must be an object such as { source: 'src', destination: '/app' }");
      const { source, destination, ...own } = optionsOf(item, ['source', 'destination', ...COPY]);
      return copied(source, destination, { ...usual, ...given(own) }, `${place}.`);
    });
    return { step: { action: 'copy_items', items: all } };
  },
  gitClone(_, url, options) {
    const { path = '/workspace', branch, depth } = optionsOf(options, ['path', 'branch', 'depth']);
    const more = {
      branch: optional('branch', branch, "'main'"),
      depth: absent(depth) ? undefined : integer('depth', depth, 1, 2 ** 31 - 1, 1),
    };
    const address = filled('url', url, "'https://example.com/app.git'");
    return { step: { action: 'git_clone', url: address, path: filled('path', path, "'/app'"), ...given(more) } };
  },
  remove(_, path, options) {
    const { recursive, force } = optionsOf(options, ['recursive', 'force']);
    const flags = { recursive: flag('recursive', recursive), force: flag('force', force) };
    return { step: { action: 'remove', path: filled('path', path, "'/tmp/cache'"), ...flags } };
  },
  rename(_, from, to, options) {
    const { force } = optionsOf(options, ['force']);
    const [src, dst] = [filled('from', from, "'/app/old'"), filled('to', to, "'/app/new'")];
    return { step: { action: 'rename', src, dst, force: flag('force', force) } };
  },
  makeDir(_, path, options) {
    const { mode } = optionsOf(options, ['mode']);
    return {
      step: { action: 'make_dir', path: filled('path', path, "'/app/data'"), ...given({ mode: octal('mode', mode) }) },
    };
  },
  makeSymlink: (_, target, path) => ({
    step: {
      action: 'make_symlink',
      target: filled('target', target, "'/app/current'"),
      path: filled('path', path, "'/srv/app'"),
    },
  }),
  setWorkdir: (_, path) => ({ step: { action: 'workdir', path: filled('path', path, "'/app'") }, workdir: path }),
  setUser: (_, user) => ({ step: { action: 'user', user: filled('user', user, "'app'") }, user }),
  skipCache: () => ({ step: { action: 'skip_cache' } }),
  setBuildEnvs: ({ buildEnvs }, envs) => ({ buildEnvs: { ...buildEnvs, ...environment(envs) } }),
  setRuntimeEnvs: ({ runtimeEnvs }, envs) => ({ runtimeEnvs: { ...runtimeEnvs, ...environment(envs) } }),
  setStartCommand: ({ readiness }, command, probe) => ({
    startCommand: filled('command', command, "'node server.js'"),
    readiness: absent(probe) ? readiness : readinessOf('readiness', probe),
  }),
  setReadyCommand: (_, probe) => ({ readiness: readinessOf('readiness', probe) }),
  setFileContext(_, context, options) {
    const { ignore = [] } = optionsOf(options, ['ignore']);
    if (!Array.isArray(ignore) || ignore.some((line) => typeof line !== 'string'))
      wrong('ignore', "must be an array of patterns such as ['node_modules', '*.log']");
    if (typeof context === 'string') filled('context', context, "'.'");
    else if (!isDirectory(context) && !(isList(context) && [...context].every(isFile)))
      wrong('context', 'must be a path, a FileList, an array of Files or a FileSystemDirectoryHandle');
    return {
      context: typeof context === 'string' || isDirectory(context) ? context : [...context],
      ignore: [...ignore],
    };
  },
  setBaseImageAuth: (state, auth) => withAuth(state, authOf('auth', optionsOf(auth, IMAGE))),
  setGcpRegistryAuth: (state, auth) =>
    withAuth(state, authOf('auth', { serviceAccountJson: null, ...optionsOf(auth, ['serviceAccountJson']) })),
  setAwsRegistryAuth: (state, auth) =>
    withAuth(
      state,
      authOf('auth', {
        accessKeyId: null,
        ...optionsOf(auth, ['accessKeyId', 'secretAccessKey', 'region', 'sessionToken']),
      }),
    ),
  addBuildSecret: ({ secrets }, id, from) => ({ secrets: uniqueSecrets([...secrets, secretOf('', id, from)]) }),
};

const globally = (action, packages, options) => {
  const { global } = optionsOf(options, ['global']);
  return { step: { action, packages: packagesOf(packages), ...(flag('global', global) ? { g: true } : {}) } };
};

const withAuth = ({ needsImage }, auth) => {
  if (needsImage) wrong('image', "must be given with a user and a password, such as fromBaseImage('ghcr.io/me/base')");
  return { auth };
};

/** What a Dockerfile says itself. */
const ofImages = (state, key) => {
  if (state.dockerfile !== undefined)
    throw new InvalidRequestError({
      code: 'invalid_request',
      message: `${key}() adds a step, and a template of a Dockerfile has its steps there: write it into the Dockerfile`,
    });
};

for (const [key, change] of Object.entries(CHANGES))
  define(classes.Template.prototype, key, function (...args) {
    const state = recordOf(this, 'Template');
    const { step, steps = step && [step], ...rest } = change(state, ...args);
    if (steps) ofImages(state, key);
    return begun({ ...state, ...rest, ...(steps ? { steps: [...state.steps, ...steps] } : {}) });
  });

// ---- As a body ------------------------------------------------------------------------------------------------

/** The part of a body that files have no say in. */
const described = (state) => {
  const runtime = given({
    default_user: state.user,
    default_workdir: state.workdir,
    default_envs: Object.keys(state.runtimeEnvs).length > 0 ? state.runtimeEnvs : undefined,
    readiness: state.readiness,
  });
  return given({
    build_envs: Object.keys(state.buildEnvs).length > 0 ? state.buildEnvs : undefined,
    start_cmd: state.startCommand,
    runtime_config: Object.keys(runtime).length > 0 ? runtime : undefined,
    base_image_auth: state.auth,
    build_secrets: state.secrets.length > 0 ? state.secrets : undefined,
  });
};

/** A body: steps as they are on the wire, and the files of a context when there are any. */
export const definitionOf = (state, steps, files) => {
  const { build_envs, start_cmd, ...rest } = described(state);
  const isDeclarative = steps.length > 0 || build_envs !== undefined || start_cmd !== undefined;
  return given({
    dockerfile: state.dockerfile,
    base_image: state.base,
    steps: state.dockerfile === undefined && isDeclarative ? steps : undefined,
    build_envs,
    start_cmd,
    build_context: files.length > 0 ? { files } : undefined,
    ...rest,
  });
};

/** A source as people know it. */
const named = (source) => (typeof source === 'string' ? source : source.name);
const shownStep = ({ sources, items, ...step }) => ({
  ...step,
  ...given({
    sources: sources?.map(named),
    items: items?.map((item) => ({ ...item, sources: item.sources.map(named) })),
  }),
});

define(classes.Template.prototype, 'toJSON', function () {
  const state = recordOf(this, 'Template');
  return withoutSecrets(definitionOf(state, state.steps.map(shownStep), []));
});
Object.defineProperty(classes.Template.prototype, INSPECT, {
  configurable: true,
  value(_depth, options, inspect) {
    const { base, dockerfilePath, steps } = recordOf(this, 'Template');
    const shown =
      base === undefined
        ? { dockerfile: dockerfilePath ?? '(text)' }
        : { base, steps: steps.map(({ action }) => action) };
    return `Template ${inspect ? inspect(shown, options) : JSON.stringify(shown)}`;
  },
});

// ---- As a Dockerfile ------------------------------------------------------------------------------------------

/** Words of a Dockerfile's `COPY`. */
const words = (all) => (all.length === 2 && !/[\s[]/.test(all.join('')) ? all.join(' ') : JSON.stringify(all));
const runs = (command) =>
  /[\r\n]/.test(command) ? `RUN ${JSON.stringify(['/bin/sh', '-c', command])}` : `RUN ${command}`;
const installs = {
  apt_install: ({ packages }) =>
    `apt-get update && apt-get install -y ${packages.map(quoted).join(' ')} && rm -rf /var/lib/apt/lists/*`,
  pip_install: ({ packages, g }) =>
    `pip install${g === false ? ' --user' : ''} --no-cache-dir ${packages.map(quoted).join(' ')}`,
  npm_install: ({ packages, g }) => `npm install${g ? ' -g' : ''} ${packages.map(quoted).join(' ')}`,
  bun_install: ({ packages, g }) => `bun add${g ? ' --global' : ''} ${packages.map(quoted).join(' ')}`,
};
const copies = ({ sources, dst, user, mode }) =>
  `COPY${user === undefined ? '' : ` --chown=${user}`}${mode === undefined ? '' : ` --chmod=${mode}`} ${words([...sources.map(named), dst])}`;

const LINES = {
  run: ({ command, user }) =>
    runs(user === undefined ? command : `su -s /bin/sh -c ${quoted(command)} ${quoted(user)}`),
  copy: copies,
  copy_items: ({ items }) => items.map(copies).join('\n'),
  git_clone: ({ url, path, branch, depth }) => {
    const more = `${branch === undefined ? '' : ` --branch ${quoted(branch)}`}${depth === undefined ? '' : ` --depth ${depth}`}`;
    return `RUN git clone${more} ${quoted(url)} ${quoted(path)}`;
  },
  workdir: ({ path }) => `WORKDIR ${path}`,
  user: ({ user }) => `USER ${user}`,
  remove: ({ path, recursive, force }) => {
    const flags = `${recursive ? 'r' : ''}${force ? 'f' : ''}`;
    return `RUN rm ${flags === '' ? '' : `-${flags} `}${quoted(path)}`;
  },
  rename: ({ src, dst, force }) => `RUN mv${force ? ' -f' : ''} ${quoted(src)} ${quoted(dst)}`,
  make_dir: ({ path, mode }) =>
    `RUN mkdir -p ${quoted(path)}${mode === undefined ? '' : ` && chmod ${mode} ${quoted(path)}`}`,
  make_symlink: ({ target, path }) => `RUN ln -s ${quoted(target)} ${quoted(path)}`,
  // Docker has no word for it.
  skip_cache: () => undefined,
};
const variables = (envs) =>
  Object.entries(envs).map(
    ([name, value]) => `ENV ${name}="${value.replace(/[\\"$]/g, '\\$&').replace(/\n/g, '\\n')}"`,
  );

define(classes.Template.prototype, 'toDockerfile', function () {
  const state = recordOf(this, 'Template');
  if (state.dockerfile !== undefined) return state.dockerfile;
  const lines = state.steps.map((step) =>
    installs[step.action] ? `RUN ${installs[step.action](step)}` : LINES[step.action](step),
  );
  const start = state.startCommand === undefined ? [] : [`CMD ${JSON.stringify(['sh', '-c', state.startCommand])}`];
  const all = [
    `FROM ${state.base}`,
    ...variables(state.buildEnvs),
    ...lines,
    ...variables(state.runtimeEnvs),
    ...start,
  ];
  return all.filter((line) => line !== undefined).join('\n');
});
