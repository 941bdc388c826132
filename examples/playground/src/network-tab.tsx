import type { Machine } from 'nullspace';
import { useState } from 'preact/hooks';

import { did, literal, nameOf } from './code';
import { NetworkFields, NO_LIMIT, policyOf } from './network';
import { Action, Problem } from './parts';

/** Replaces the policy of a machine while it runs. */
export function Network({ machine }: { machine: Machine }) {
  const [draft, setDraft] = useState(NO_LIMIT);
  const [error, setError] = useState<unknown>();
  const [said, setSaid] = useState('');
  const apply = async () => {
    setError(undefined);
    setSaid('');
    const policy = policyOf(draft);
    await machine.updateEgress(policy);
    did(`await ${nameOf(machine.id)}.updateEgress(${literal(policy)});`);
    setSaid('It holds from now on; connections that it denies were cut.');
  };
  return (
    <div class="form">
      <p>The policy is replaced as a whole, while the machine runs.</p>
      <NetworkFields draft={draft} change={setDraft} />
      {error !== undefined && <Problem error={error} />}
      <div class="row">
        <Action run={apply} failed={setError} kind="primary">
          Apply
        </Action>
        <span role="status">{said}</span>
      </div>
    </div>
  );
}
