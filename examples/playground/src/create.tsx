import type { CreateOptions, WarmPoolInfo } from 'nullspace';
import { useEffect, useState } from 'preact/hooks';

import { keep, sdk } from './client';
import { did, literal, made, options } from './code';
import { NetworkFields, NO_LIMIT, policyOf } from './network';
import { Action, Field, message, Problem } from './parts';
import { go, linkTo } from './route';

const number = (text: string) => (text.trim() === '' ? undefined : Number(text));

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

/** The form that makes a machine. */
export function Create() {
  const [text, setText] = useState({
    template: 'base',
    vcpus: '1',
    memoryMb: '256',
    diskMb: '',
    timeout: '600',
    envs: '',
    metadata: '',
  });
  const [atEnd, setAtEnd] = useState<'destroy' | 'hibernate'>('destroy');
  const [network, setNetwork] = useState(NO_LIMIT);
  const [pools, setPools] = useState<readonly WarmPoolInfo[]>();
  const [pool, setPool] = useState('');
  const [mode, setMode] = useState<'prefer' | 'require' | 'bypass'>('prefer');
  const [error, setError] = useState<unknown>();
  const [said, setSaid] = useState('');

  const readPools = async () => setPools(await sdk.TemplateWarmPool.list());
  useEffect(() => {
    readPools().catch(setError);
  }, []);

  const input = (name: keyof typeof text) => ({
    value: text[name],
    onInput: (event: { currentTarget: { value: string } }) => setText({ ...text, [name]: event.currentTarget.value }),
  });

  const optionsOf = (): CreateOptions => {
    const all: CreateOptions = {
      template: text.template.trim() || 'base',
      vcpus: number(text.vcpus),
      memoryMb: number(text.memoryMb),
      diskMb: number(text.diskMb),
      timeout: number(text.timeout),
      timeoutAction: atEnd === 'hibernate' ? atEnd : undefined,
      envs: entries(text.envs),
      metadata: entries(text.metadata),
      network: network.mode === 'allow_all' ? undefined : { egress: policyOf(network) },
      warmPool: pool || undefined,
      warmPoolMode: pool ? mode : undefined,
      warmPoolWaitMs: pool ? 2000 : undefined,
    };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  };

  const create = async () => {
    setError(undefined);
    const chosen = optionsOf();
    const machine = keep(await sdk.Machine.create(chosen));
    made('machine', `await Machine.create(${literal(chosen)})`, machine.id);
    go(linkTo(machine.id));
  };

  const makePool = async () => {
    setError(undefined);
    const chosen = { minReady: 1, vcpus: number(text.vcpus), memoryMb: number(text.memoryMb) };
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
    <section class="create" aria-labelledby="create-title">
      <h2 id="create-title">New machine</h2>
      <div class="form">
        <Field label="Template" hint="base, or one that you imported">
          {(ids) => <input {...ids} {...input('template')} />}
        </Field>
        <div class="pair">
          <Field label="Processors">{(ids) => <input {...ids} inputMode="numeric" {...input('vcpus')} />}</Field>
          <Field label="Memory, MiB">{(ids) => <input {...ids} inputMode="numeric" {...input('memoryMb')} />}</Field>
          <Field label="Disk, MiB">
            {(ids) => <input {...ids} inputMode="numeric" placeholder="default" {...input('diskMb')} />}
          </Field>
        </div>
        <div class="pair">
          <Field label="Lease, seconds">{(ids) => <input {...ids} inputMode="numeric" {...input('timeout')} />}</Field>
          <Field label="At its end">
            {(ids) => (
              <select {...ids} value={atEnd} onChange={(e) => setAtEnd(e.currentTarget.value as typeof atEnd)}>
                <option value="destroy">destroy</option>
                <option value="hibernate">pause</option>
              </select>
            )}
          </Field>
        </div>
        <NetworkFields draft={network} change={setNetwork} />
        <fieldset>
          <legend>Warm pool</legend>
          <Field label="Take it from" hint="A machine of a pool is ready before you ask for it.">
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
          <Field label="Environment" hint="NAME=value, one a line">
            {(ids) => <textarea {...ids} rows={3} {...input('envs')} />}
          </Field>
          <Field label="Metadata" hint="name=value, one a line; the list can filter by it">
            {(ids) => <textarea {...ids} rows={2} {...input('metadata')} />}
          </Field>
        </details>
        {error !== undefined && <Problem error={new Error(message(error), { cause: error })} />}
        <Action run={create} failed={setError} kind="primary">
          Create machine
        </Action>
      </div>
    </section>
  );
}
