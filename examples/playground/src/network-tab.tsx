import type { EgressPolicy, Machine } from 'nullspace';
import { useEffect, useState } from 'preact/hooks';

import { did, literal, nameOf } from './code';
import { draftOf, NetworkFields, NO_LIMIT, policyOf } from './network';
import { Action, Problem } from './parts';

/** In words of the page. */
const inWords = (policy: EgressPolicy) => {
  if (policy.mode === 'allow_all') return 'At present it may reach everything but this computer.';
  if (policy.mode === 'deny_all') return 'At present it may reach nothing.';
  return 'At present the lists below decide what it may reach.';
};

/** Replaces the policy of a machine while it runs. It begins with the one that holds: nothing wider is chosen for anybody. */
export function Network({ machine }: { machine: Machine }) {
  const [draft, setDraft] = useState({ ...NO_LIMIT, mode: undefined as EgressPolicy['mode'] | undefined });
  const [holds, setHolds] = useState<EgressPolicy>();
  const [error, setError] = useState<unknown>();
  const [said, setSaid] = useState('');
  const show = async () => {
    const { network } = await machine.getInfo();
    if (network === undefined) return;
    setHolds(network.egress);
    setDraft(draftOf(network.egress));
  };
  useEffect(() => {
    show().catch(setError);
  }, [machine.id]);
  const apply = async () => {
    setError(undefined);
    setSaid('');
    const policy = policyOf(draft);
    await machine.updateEgress(policy);
    setHolds(policy);
    did(`await ${nameOf(machine.id)}.updateEgress(${literal(policy)});`);
    setSaid('It holds from now on; connections that it denies were cut.');
  };
  return (
    <div class="form">
      <p>{holds && `${inWords(holds)} `}The policy is replaced as a whole, while the machine runs.</p>
      <NetworkFields draft={draft} change={setDraft} />
      {error !== undefined && <Problem error={error} />}
      <div class="row">
        <Action run={apply} failed={setError} kind="primary" disabled={draft.mode === undefined}>
          Apply
        </Action>
        <span role="status">{said}</span>
      </div>
    </div>
  );
}
