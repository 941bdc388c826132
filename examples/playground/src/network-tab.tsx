import type { EgressPolicy, Machine, MachineSecret } from 'nullspace';
import { useEffect, useState } from 'preact/hooks';

import { did, literal, nameOf } from './code';
import { draftOf, NetworkFields, NO_LIMIT, policyOf } from './network';
import { Action, Loading, optionError, Problem } from './parts';

/** In words of the page. */
const inWords = (policy: EgressPolicy) => {
  if (policy.mode === 'allow_all') return 'Now it may reach everything but this computer.';
  if (policy.mode === 'deny_all') return 'Now it may reach nothing.';
  return 'Now these lists decide what it may reach.';
};

/** Replaces the policy of a machine while it runs. It begins with the one that holds: nothing wider is chosen for anybody. */
export function Network({ machine }: { machine: Machine }) {
  const [draft, setDraft] = useState({ ...NO_LIMIT, mode: undefined as EgressPolicy['mode'] | undefined });
  /** `null` when the server leaves it out. */
  const [holds, setHolds] = useState<EgressPolicy | null>();
  const [secrets, setSecrets] = useState<readonly MachineSecret[]>([]);
  const [error, setError] = useState<unknown>();
  const [said, setSaid] = useState('');
  const show = async () => {
    const { network } = await machine.getInfo();
    setSecrets(network?.secrets ?? []);
    setHolds(network?.egress ?? null);
    if (network) setDraft(draftOf(network.egress));
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
  const wrong = optionError(error);
  const isPlaced = /(Cidrs|Domains|kbitPerSec)$/.test(wrong?.option ?? '');
  return (
    <div class="form">
      {holds === undefined && error === undefined && <Loading>Reading the policy …</Loading>}
      {holds === null && <p class="holds">This server does not say which policy holds. Choose one to replace it.</p>}
      {holds && (
        <div class="holds" data-mode={holds.mode}>
          <p>
            <strong>{inWords(holds)}</strong>
          </p>
          {holds.mode === 'custom' && <Ranges policy={holds} />}
        </div>
      )}
      {secrets.length > 0 && (
        <div class="holds">
          <p>
            <strong>It uses secrets that stay with the engine.</strong>
          </p>
          <dl class="facts">
            {secrets.map(({ name, hosts }) => (
              <div key={name}>
                <dt class="mono">{name}</dt>
                <dd class="mono">{hosts.join(', ')}</dd>
              </div>
            ))}
          </dl>
        </div>
      )}
      <p class="hint">The policy is replaced as a whole, while the machine runs.</p>
      <NetworkFields draft={draft} change={setDraft} error={wrong} />
      {error !== undefined && !isPlaced && <Problem error={error} />}
      <div class="row">
        <Action run={apply} failed={setError} kind="primary" disabled={draft.mode === undefined}>
          Apply
        </Action>
        <span role="status">{said}</span>
      </div>
    </div>
  );
}

function Ranges({ policy }: { policy: EgressPolicy & { mode: 'custom' } }) {
  const limit = policy.rateLimit;
  const allowed = [...(policy.allowCidrs ?? []), ...(policy.allowDomains ?? [])];
  const denied = [...(policy.denyCidrs ?? []), ...(policy.denyDomains ?? [])];
  const rows = [
    ['Allowed', allowed.join(', ') || 'what nothing denies'],
    ['Denied', denied.join(', ') || (allowed.length > 0 ? 'all else' : 'nothing')],
    ['Limit', !limit ? 'none' : 'kbitPerSec' in limit ? `${limit.kbitPerSec} kbit/s` : `${limit.pps} packets/s`],
  ] as const;
  return (
    <dl class="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd class="mono">{value}</dd>
        </div>
      ))}
    </dl>
  );
}
