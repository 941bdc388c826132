// What a machine may reach: part of the form, and of a machine that runs.

import type { EgressPolicy } from 'nullspace';
import { useId } from 'preact/hooks';

import { Field } from './parts';

/** As typed. */
export interface NetworkDraft {
  mode: EgressPolicy['mode'];
  allow: string;
  deny: string;
  kbit: string;
}

export const NO_LIMIT: NetworkDraft = { mode: 'allow_all', allow: '', deny: '', kbit: '' };

const lines = (text: string) => {
  const list = text.split(/[\s,]+/).filter(Boolean);
  return list.length > 0 ? list : undefined;
};

export function policyOf(draft: NetworkDraft): EgressPolicy {
  if (draft.mode !== 'custom') return { mode: draft.mode };
  const [allowCidrs, denyCidrs] = [lines(draft.allow), lines(draft.deny)];
  return {
    mode: 'custom',
    ...(allowCidrs ? { allowCidrs } : {}),
    ...(denyCidrs ? { denyCidrs } : {}),
    ...(draft.kbit.trim() ? { rateLimit: { kbitPerSec: Number(draft.kbit) } } : {}),
  };
}

const MODES = {
  allow_all: 'Everything but this computer',
  deny_all: 'Nothing',
  custom: 'What these ranges say',
} as const;

export function NetworkFields({ draft, change }: { draft: NetworkDraft; change: (next: NetworkDraft) => void }) {
  const group = useId();
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
          <Field label="Allowed ranges" hint="One CIDR a line, such as 203.0.113.0/24. With any, all else is denied.">
            {(ids) => (
              <textarea {...ids} rows={2} value={draft.allow} onInput={(e) => set({ allow: e.currentTarget.value })} />
            )}
          </Field>
          <Field label="Denied ranges" hint="The longest prefix decides; a tie denies.">
            {(ids) => (
              <textarea {...ids} rows={2} value={draft.deny} onInput={(e) => set({ deny: e.currentTarget.value })} />
            )}
          </Field>
          <Field label="Rate limit, kbit/s" hint="Of each direction; empty for none.">
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
