import type { CreateOptions, VolumeInfo, WarmPoolInfo } from 'nullspace';
import { useEffect, useState } from 'preact/hooks';

import { keep, sdk } from './client';
import { did, literal, made, options } from './code';
import { NetworkFields, NO_LIMIT, policyOf } from './network';
import { Action, Field, given, message, number, optionError, Problem, RoomHead } from './parts';
import { go, linkTo } from './route';

/** `key=value` lines. */
function entries(text: string) {
  const pairs = text.split('\n').filter((line) => line.trim());
  if (pairs.length === 0) return undefined;
  return Object.fromEntries(
    pairs.map((line) => {
      const at = line.indexOf('=');
      if (at < 1) throw new Error(`Environment and metadata are lines such as NAME=value, not '${line}'`);
      return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }),
  );
}

/** Options that have a field here. */
const PLACED = [
  ...['template', 'vcpus', 'memoryMb', 'diskMb', 'timeout', 'envs', 'metadata', 'warmPool', 'volumes.mountPath'],
  ...['network.egress.allowCidrs', 'network.egress.denyCidrs', 'network.egress.rateLimit.kbitPerSec'],
  ...['network.egress.allowDomains', 'network.egress.denyDomains'],
];

/** Templates that every engine has. */
const KNOWN = [
  ['code-interpreter', 'Code interpreter', 'runs cells of Python, JavaScript and bash that remember'],
  ['base', 'Base', 'a plain Linux system; the smallest and fastest'],
  ['', 'Another', 'one that you built or imported'],
] as const;

/** The form that makes a machine. The address may say what it begins with. */
export function Create({ begins }: { begins: URLSearchParams }) {
  const snapshot = begins.get('snapshot') ?? '';
  const [another, setAnother] = useState(false);
  const [volume, setVolume] = useState(begins.get('volume') ?? '');
  const [volumes, setVolumes] = useState<readonly VolumeInfo[]>([]);
  const [text, setText] = useState({
    name: '',
    mountPath: '/data',
    template: 'base',
    vcpus: '',
    memoryMb: '',
    diskMb: '',
    timeout: '600',
    envs: '',
    metadata: '',
  });
  const [atEnd, setAtEnd] = useState<'destroy' | 'hibernate'>('destroy');
  const [network, setNetwork] = useState(NO_LIMIT);
  const [pools, setPools] = useState<readonly WarmPoolInfo[]>();
  const [pool, setPool] = useState(begins.get('pool') ?? '');
  const [mode, setMode] = useState<'prefer' | 'require' | 'bypass'>('prefer');
  const [error, setError] = useState<unknown>();
  const [said, setSaid] = useState('');

  const readPools = async () => setPools(await sdk.TemplateWarmPool.list());
  useEffect(() => {
    readPools().catch(setError);
    sdk.Volume.list().then(setVolumes, setError);
  }, []);

  const wrong = optionError(error);
  /** The error of a field, when it is that of one of its options. */
  const errorOf = (...names: string[]) => (wrong && names.includes(wrong.option) ? wrong.text : undefined);
  useEffect(() => {
    document.querySelector<HTMLElement>('main [aria-invalid]')?.focus();
  }, [error]);
  const isPlaced = wrong !== undefined && PLACED.includes(wrong.option);

  const input = (name: keyof typeof text) => ({
    value: text[name],
    onInput: (event: { currentTarget: { value: string } }) => setText({ ...text, [name]: event.currentTarget.value }),
  });

  const optionsOf = (): CreateOptions => {
    const named = { ...(text.name.trim() ? { name: text.name.trim() } : {}), ...entries(text.metadata) };
    // The template and the size of a snapshot are its own.
    const own = snapshot
      ? { snapshotId: snapshot }
      : {
          template: text.template.trim() || 'base',
          vcpus: number(text.vcpus),
          memoryMb: number(text.memoryMb),
          diskMb: number(text.diskMb),
          envs: entries(text.envs),
        };
    const all: CreateOptions = {
      ...own,
      timeout: number(text.timeout),
      timeoutAction: atEnd === 'hibernate' ? atEnd : undefined,
      metadata: Object.keys(named).length > 0 ? named : undefined,
      volumes: volume ? [{ ref: volume, mountPath: text.mountPath.trim() }] : undefined,
      network: network.mode === 'allow_all' ? undefined : { egress: policyOf(network) },
      warmPool: pool || undefined,
      warmPoolMode: pool ? mode : undefined,
      warmPoolWaitMs: pool ? 2000 : undefined,
    };
    return given(all);
  };

  const create = async () => {
    setError(undefined);
    const chosen = optionsOf();
    const machine = keep(await sdk.Machine.create(chosen));
    made('machine', `await Machine.create(${literal(chosen)})`, machine.id);
    go(linkTo(machine.id, !snapshot && text.template === 'code-interpreter' ? 'code' : 'terminal'));
  };

  const makePool = async () => {
    setError(undefined);
    const chosen = given({ minReady: 1, vcpus: number(text.vcpus), memoryMb: number(text.memoryMb) });
    const template = text.template.trim() || 'base';
    setSaid('Making a pool …');
    try {
      const made_ = await sdk.TemplateWarmPool.create(template, chosen);
      const name = made('pool', `await TemplateWarmPool.create(${literal(template)}${options(chosen)})`);
      await made_.waitUntilReady({
        timeout: 60,
        intervalMs: 100,
        onProgress: ({ status }) => setSaid(`${status.ready} of ${status.target} ready …`),
      });
      did(`await ${name}.waitUntilReady();`);
      await readPools();
      setPool(made_.id);
      setSaid('The pool is ready, and chosen.');
    } catch (failure) {
      setSaid('');
      throw failure;
    }
  };

  return (
    <section class="room create" aria-label="New machine">
      <RoomHead title="New machine">
        {snapshot ? `It starts from ${snapshot}, with its files and its size.` : 'It starts in milliseconds.'} What you
        do here appears below as code.
      </RoomHead>
      <form class="form" onSubmit={(event) => event.preventDefault()}>
        {!snapshot && (
          <fieldset class="templates">
            <legend>Template</legend>
            {KNOWN.map(([template, title, about]) => {
              const chosen = template === '' ? another : !another && text.template === template;
              return (
                <label key={title} class="template" data-chosen={chosen}>
                  <input
                    type="radio"
                    name="template"
                    checked={chosen}
                    onChange={() => {
                      setAnother(template === '');
                      setText({ ...text, template });
                    }}
                  />
                  <span>
                    <strong>{title}</strong>
                    <span class="hint">{about}</span>
                  </span>
                </label>
              );
            })}
            {another && (
              <Field label="Name of the template" error={errorOf('template')}>
                {(ids) => <input {...ids} placeholder="team/app:stable" {...input('template')} />}
              </Field>
            )}
          </fieldset>
        )}
        <Field label="Name" hint="For you: it is kept in the metadata.">
          {(ids) => <input {...ids} {...input('name')} />}
        </Field>
        {!snapshot && (
          <div class="pair">
            <Field label="Processors" error={errorOf('vcpus')}>
              {(ids) => <input {...ids} inputMode="numeric" placeholder="default" {...input('vcpus')} />}
            </Field>
            <Field label="Memory, MiB" error={errorOf('memoryMb')}>
              {(ids) => <input {...ids} inputMode="numeric" placeholder="default" {...input('memoryMb')} />}
            </Field>
            <Field label="Disk, MiB" error={errorOf('diskMb')}>
              {(ids) => <input {...ids} inputMode="numeric" placeholder="default" {...input('diskMb')} />}
            </Field>
          </div>
        )}
        <div class="pair">
          <Field label="Lease, seconds" error={errorOf('timeout')} hint="It ends then, unless you move the end.">
            {(ids) => <input {...ids} inputMode="numeric" {...input('timeout')} />}
          </Field>
          <Field label="At its end">
            {(ids) => (
              <select {...ids} value={atEnd} onChange={(e) => setAtEnd(e.currentTarget.value as typeof atEnd)}>
                <option value="destroy">destroy</option>
                <option value="hibernate">pause</option>
              </select>
            )}
          </Field>
        </div>
        <NetworkFields draft={network} change={setNetwork} error={wrong} />
        {(volumes.length > 0 || volume) && (
          <fieldset>
            <legend>Volume</legend>
            <div class="pair">
              <Field label="Mount">
                {(ids) => (
                  <select {...ids} value={volume} onChange={(e) => setVolume(e.currentTarget.value)}>
                    <option value="">none</option>
                    {volumes.map(({ name }) => (
                      <option key={name} value={name}>
                        {name}
                      </option>
                    ))}
                  </select>
                )}
              </Field>
              <Field label="At" error={errorOf('volumes.mountPath')}>
                {(ids) => <input {...ids} {...input('mountPath')} />}
              </Field>
            </div>
          </fieldset>
        )}
        <fieldset>
          <legend>Warm pool</legend>
          <Field
            label="Take it from"
            hint="A machine of a pool is ready before you ask for it."
            error={errorOf('warmPool')}
          >
            {(ids) => (
              <select {...ids} value={pool} onChange={(e) => setPool(e.currentTarget.value)}>
                <option value="">no pool</option>
                {pools?.map((info) => (
                  <option key={info.id} value={info.id}>
                    {info.name} ({info.status.ready} ready)
                  </option>
                ))}
              </select>
            )}
          </Field>
          {pool && (
            <Field label="When none is ready">
              {(ids) => (
                <select {...ids} value={mode} onChange={(e) => setMode(e.currentTarget.value as typeof mode)}>
                  <option value="prefer">make one</option>
                  <option value="require">fail</option>
                  <option value="bypass">never take one from the pool</option>
                </select>
              )}
            </Field>
          )}
          <div class="row">
            <Action run={makePool} failed={setError}>
              New pool of this size
            </Action>
            <span role="status">{said}</span>
          </div>
        </fieldset>
        <details>
          <summary>Environment and metadata</summary>
          <Field label="Environment" hint="NAME=value, one a line" error={errorOf('envs')}>
            {(ids) => <textarea {...ids} rows={3} {...input('envs')} />}
          </Field>
          <Field label="Metadata" hint="name=value, one a line; the list can filter by it" error={errorOf('metadata')}>
            {(ids) => <textarea {...ids} rows={2} {...input('metadata')} />}
          </Field>
        </details>
        {error !== undefined && !isPlaced && <Problem error={new Error(message(error), { cause: error })} />}
        {isPlaced && <p class="field-error">Nothing was made: see the field that is marked.</p>}
        <Action run={create} failed={setError} kind="primary">
          Create machine
        </Action>
      </form>
    </section>
  );
}
