import type { TemplateWarmPool } from 'nullspace';
import { useState } from 'preact/hooks';

import { sdk } from './client';
import { did, literal, made, options } from './code';
import { Action, Field, given, number, optionError, RoomHead } from './parts';
import { Listed, useThings } from './things';

/** Pools fill without a change of a machine that this page knows. Milliseconds. */
const LOOK_MS = 1500;

/** Machines that are ready before anybody asks. */
export function Pools() {
  const things = useThings(
    () => sdk.TemplateWarmPool.list().then((found) => found.filter(({ state }) => state !== 'deleted')),
    LOOK_MS,
  );
  const [text, setText] = useState({ template: 'base', minReady: '1', vcpus: '', memoryMb: '' });
  const [wrong, setWrong] = useState<{ option: string; text: string }>();
  const input = (name: keyof typeof text) => ({
    value: text[name],
    onInput: (event: { currentTarget: { value: string } }) => setText({ ...text, [name]: event.currentTarget.value }),
  });
  const errorOf = (option: string) => (wrong?.option === option ? wrong.text : undefined);
  const create = async () => {
    setWrong(undefined);
    const chosen = given({
      minReady: number(text.minReady),
      vcpus: number(text.vcpus),
      memoryMb: number(text.memoryMb),
    });
    const template = text.template.trim() || 'base';
    await sdk.TemplateWarmPool.create(template, chosen);
    made('pool', `await TemplateWarmPool.create(${literal(template)}${options(chosen)})`);
    await things.read();
  };
  const change = async (id: string, verb: 'enable' | 'disable' | 'drain' | 'delete') => {
    const pool: TemplateWarmPool = await sdk.TemplateWarmPool.get(id);
    await pool[verb]();
    did(`await (await TemplateWarmPool.get(${literal(id)})).${verb}();`);
    await things.read();
  };
  return (
    <section class="room" aria-label="Warm pools">
      <RoomHead title="Warm pools">
        A pool holds machines that have already started. Taking one takes a millisecond, and the pool makes another.
      </RoomHead>
      <form class="row add" onSubmit={(event) => event.preventDefault()}>
        <Field label="Template" error={errorOf('template')}>
          {(ids) => <input {...ids} {...input('template')} />}
        </Field>
        <Field label="Ready" error={errorOf('minReady')}>
          {(ids) => <input {...ids} inputMode="numeric" class="short" {...input('minReady')} />}
        </Field>
        <Field label="Processors" error={errorOf('vcpus')}>
          {(ids) => <input {...ids} inputMode="numeric" class="short" placeholder="default" {...input('vcpus')} />}
        </Field>
        <Field label="Memory, MiB" error={errorOf('memoryMb')}>
          {(ids) => <input {...ids} inputMode="numeric" class="short" placeholder="default" {...input('memoryMb')} />}
        </Field>
        <Action
          kind="primary"
          run={create}
          failed={(failure) => {
            const of = optionError(failure);
            if (of) setWrong(of);
            else things.setError(failure);
          }}
        >
          Make pool
        </Action>
      </form>
      <Listed
        things={things}
        what="pools"
        empty={
          <>
            <h3>No pool yet</h3>
            <p>Make one, then take a machine from it: see how much faster that is.</p>
          </>
        }
      >
        {(all) => (
          <ul class="cards">
            {all.map((pool) => (
              <li class="card" key={pool.id}>
                <h3>
                  {pool.name} <span class="mono faint">{pool.id}</span>
                </h3>
                <p>
                  {pool.templateRef}, {pool.resources.vcpus} vCPU, {pool.resources.memoryMb} MiB, {pool.state}
                </p>
                <p class="ready">
                  <meter
                    min={0}
                    max={Math.max(pool.status.target, pool.status.ready, 1)}
                    value={pool.status.ready}
                    aria-label={`Ready machines of ${pool.name}`}
                  />{' '}
                  <strong>
                    {pool.status.ready} of {pool.status.target}
                  </strong>{' '}
                  ready{pool.status.warming > 0 ? `, ${pool.status.warming} starting` : ''}
                </p>
                <div class="row">
                  <a class="button primary" href={`#/create?pool=${pool.id}`}>
                    Take a machine<span class="unseen"> from {pool.name}</span>
                  </a>
                  {pool.state === 'enabled' ? (
                    <Action run={() => change(pool.id, 'disable')} failed={things.setError}>
                      Disable
                    </Action>
                  ) : (
                    <Action run={() => change(pool.id, 'enable')} failed={things.setError}>
                      Enable
                    </Action>
                  )}
                  <Action run={() => change(pool.id, 'drain')} failed={things.setError}>
                    Drain
                  </Action>
                  <Action
                    kind="danger"
                    failed={things.setError}
                    run={async () => {
                      if (confirm(`Delete ${pool.name} and its ready machines?`)) await change(pool.id, 'delete');
                    }}
                  >
                    Delete
                  </Action>
                </div>
              </li>
            ))}
          </ul>
        )}
      </Listed>
    </section>
  );
}
