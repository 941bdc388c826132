// What a machine may reach: part of the form, and of a machine that runs.

import type { EgressPolicy } from 'nullspace';
import { useId } from 'preact/hooks';

import { Field } from './parts';

/** As typed. */
export interface NetworkDraft {
  /** None as long as nobody knows or chose. */
  mode: EgressPolicy['mode'] | undefined;
  allow: string;
  deny: string;
  allowNames: string;
  denyNames: string;
  kbit: string;
  /** A limit in packets, which the form has no field for. */
  packets?: { pps: number; burst?: number };
}

export const NO_LIMIT: NetworkDraft = {
  mode: 'allow_all',
  allow: '',
  deny: '',
  allowNames: '',
  denyNames: '',
  kbit: '',
};

const lines = (text: string) => {
  const list = text.split(/[\s,]+/).filter(Boolean);
  return list.length > 0 ? list : undefined;
};

export function policyOf(draft: NetworkDraft): EgressPolicy {
  if (draft.mode === undefined) throw new TypeError('Choose what the machine may reach.');
  if (draft.mode !== 'custom') return { mode: draft.mode };
  const [allowCidrs, denyCidrs] = [lines(draft.allow), lines(draft.deny)];
  const [allowDomains, denyDomains] = [lines(draft.allowNames), lines(draft.denyNames)];
  return {
    mode: 'custom',
    ...(allowCidrs ? { allowCidrs } : {}),
    ...(denyCidrs ? { denyCidrs } : {}),
    ...(allowDomains ? { allowDomains } : {}),
    ...(denyDomains ? { denyDomains } : {}),
    ...(draft.packets ? { rateLimit: draft.packets } : {}),
    ...(draft.kbit.trim() ? { rateLimit: { kbitPerSec: Number(draft.kbit) } } : {}),
  };
}

/** The same as it is typed. */
export function draftOf(policy: EgressPolicy): NetworkDraft {
  if (policy.mode !== 'custom') return { ...NO_LIMIT, mode: policy.mode };
  const limit = policy.rateLimit;
  return {
    mode: 'custom',
    allow: policy.allowCidrs?.join('\n') ?? '',
    deny: policy.denyCidrs?.join('\n') ?? '',
    allowNames: policy.allowDomains?.join('\n') ?? '',
    denyNames: policy.denyDomains?.join('\n') ?? '',
    kbit: limit && 'kbitPerSec' in limit ? String(limit.kbitPerSec) : '',
    ...(limit && 'pps' in limit ? { packets: limit } : {}),
  };
}

const MODES = {
  allow_all: 'Everything but this computer',
  deny_all: 'Nothing',
  custom: 'What these ranges and names say',
} as const;

export function NetworkFields(props: {
  draft: NetworkDraft;
  change: (next: NetworkDraft) => void;
  /** What the SDK says of one option. */
  error?: { option: string; text: string };
}) {
  const { draft, change, error } = props;
  const group = useId();
  const errorOf = (name: string) => (error?.option.endsWith(name) ? error.text : undefined);
  const set = (part: Partial<NetworkDraft>) => change({ ...draft, ...part });
  return (
    <fieldset>
      <legend>May reach</legend>
      {(Object.keys(MODES) as (keyof typeof MODES)[]).map((mode) => (
        <label class="choice" key={mode}>
          <input type="radio" name={group} checked={draft.mode === mode} onChange={() => set({ mode })} />
          {MODES[mode]}
        </label>
      ))}
      {draft.mode === 'custom' && (
        <>
          <Field
            label="Allowed ranges"
            hint="One CIDR a line, such as 203.0.113.0/24. With any, all else is denied."
            error={errorOf('allowCidrs')}
          >
            {(ids) => (
              <textarea {...ids} rows={2} value={draft.allow} onInput={(e) => set({ allow: e.currentTarget.value })} />
            )}
          </Field>
          <Field label="Denied ranges" hint="The longest prefix decides; a tie denies." error={errorOf('denyCidrs')}>
            {(ids) => (
              <textarea {...ids} rows={2} value={draft.deny} onInput={(e) => set({ deny: e.currentTarget.value })} />
            )}
          </Field>
          <Field
            label="Allowed names"
            hint="One a line, such as api.example.com, *.npmjs.org or db.internal:5432."
            error={errorOf('allowDomains')}
          >
            {(ids) => (
              <textarea
                {...ids}
                rows={2}
                value={draft.allowNames}
                onInput={(e) => set({ allowNames: e.currentTarget.value })}
              />
            )}
          </Field>
          <Field label="Denied names" hint="They win over what is allowed." error={errorOf('denyDomains')}>
            {(ids) => (
              <textarea
                {...ids}
                rows={2}
                value={draft.denyNames}
                onInput={(e) => set({ denyNames: e.currentTarget.value })}
              />
            )}
          </Field>
          <Field label="Rate limit, kbit/s" hint="Of each direction; empty for none." error={errorOf('kbitPerSec')}>
            {(ids) => (
              <input
                {...ids}
                inputMode="numeric"
                value={draft.kbit}
                onInput={(e) => set({ kbit: e.currentTarget.value })}
              />
            )}
          </Field>
        </>
      )}
    </fieldset>
  );
}
