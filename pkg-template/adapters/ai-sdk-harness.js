import { nullspaceSession } from './ai-sdk.js';
import { findByName, fromSnapshot, nameOf, snapshotsOf, unlessMissing } from './shared.js';

/** Seconds of a session without `timeout`; each resume gives it so many again. */
const LEASE = 1800;
const MODES = { 'allow-all': 'allow_all', 'deny-all': 'deny_all' };

/** The bits that the addresses of an IPv4 range begin with. What is no such range is told by the check of the policy. */
const prefixOf = (range) => {
  const [address, length = 32] = range.split('/');
  const bits = address.split('.').map((part) => Number(part).toString(2).padStart(8, '0'));
  return bits.join('').slice(0, Number(length));
};

/**
 * A policy in the SDK's words, never a weaker one: here the longest range decides, in a harness a denied one wins; and a policy that
 * allows nothing denies nothing else by itself.
 */
const policyOf = ({ mode, allowedHosts = [], allowedCIDRs = [], deniedCIDRs = [] }) => {
  if (MODES[mode]) return { mode: MODES[mode] };
  if (mode !== 'custom') throw new Error(`network policy: the mode ${JSON.stringify(mode)} is not known`);
  const denied = deniedCIDRs.map(prefixOf);
  const allowCidrs = allowedCIDRs.filter((range) => !denied.some((prefix) => prefixOf(range).startsWith(prefix)));
  if (allowedHosts.length + allowCidrs.length === 0) return { mode: 'deny_all' };
  return {
    mode: 'custom',
    ...(allowedHosts.length > 0 && { allowDomains: [...allowedHosts] }),
    allowCidrs,
    denyCidrs: [...deniedCIDRs],
  };
};

const sessionOf = (machine, sessionId, { description, ports }) => {
  const restricted = () => nullspaceSession(machine, { description });
  let exposed = [...ports];
  const getPortEndpoint = async ({ port, protocol }) => {
    if (!exposed.includes(port))
      throw new Error(`port ${port} is not exposed: give it in \`ports\`, or expose it with setPorts`);
    const url = protocol === 'ws' ? await machine.getWebSocketUrl(port) : await machine.getUrl(port);
    const token = machine.trafficAccessToken;
    return { url, ...(token && { headers: { 'x-nullspace-traffic-access-token': token } }) };
  };
  const destroy = () => unlessMissing(machine.kill(), true);
  return {
    ...restricted(),
    restricted,
    id: sessionId ?? machine.id,
    defaultWorkingDirectory: machine.cwd ?? '/workspace',
    get ports() {
      return [...exposed];
    },
    getPortEndpoint,
    getPortUrl: async (wanted) => (await getPortEndpoint(wanted)).url,
    async setPorts(wanted) {
      exposed = [...wanted];
    },
    async setNetworkPolicy(policy) {
      await machine.updateEgress(policyOf(policy));
    },
    async stop() {
      // Nobody could find it again.
      if (sessionId === undefined) return destroy();
      const info = await unlessMissing(machine.getInfo({ fields: ['status'] }), true);
      if (info?.status === 'running') await unlessMissing(machine.pause(), true);
    },
    destroy,
  };
};

export const nullspaceSandbox = ({ Machine, Snapshot }, { description, ports = [4000], ...options } = {}) => {
  const wanted = { timeout: LEASE, ...options };
  const settings = { description, ports };

  /** The snapshot of an identity, made once by whoever asks first. `undefined` where there is none, or where it cannot have a name. */
  const snapshotOf = async (identity, onFirstCreate, signal) => {
    const name = await nameOf('ai-sdk:identity', identity);
    const find = async () => (await snapshotsOf(Snapshot, name, signal))[0]?.id;
    const known = await find();
    if (known !== undefined || !onFirstCreate) return known;
    try {
      const builder = await Machine.getOrCreate({
        ...wanted,
        name: await nameOf('ai-sdk:builder', identity),
        signal,
        async onCreate(machine) {
          if ((await find()) !== undefined) return;
          await onFirstCreate(nullspaceSession(machine, { description }), { abortSignal: signal });
          await machine.createSnapshot({ name, signal });
        },
      });
      await unlessMissing(builder.kill(), true);
    } catch (error) {
      if (error?.name !== 'NotImplementedError') throw error;
    }
    return find();
  };

  return {
    specificationVersion: 'harness-sandbox-v1',
    providerId: 'nullspace',

    async createSession({ sessionId, identity, onFirstCreate, abortSignal: signal } = {}) {
      const snapshotId = identity === undefined ? undefined : await snapshotOf(identity, onFirstCreate, signal);
      const creation = snapshotId === undefined ? wanted : fromSnapshot(wanted, snapshotId);
      // Without a snapshot each machine is prepared by itself.
      const onCreate =
        onFirstCreate && snapshotId === undefined
          ? (machine) => onFirstCreate(nullspaceSession(machine, { description }), { abortSignal: signal })
          : undefined;
      if (sessionId !== undefined) {
        const name = await nameOf('ai-sdk:session', sessionId);
        const machine = await Machine.getOrCreate({ ...creation, name, signal, ...(onCreate && { onCreate }) });
        return sessionOf(machine, sessionId, settings);
      }
      const machine = await Machine.create({ ...creation, signal });
      try {
        await onCreate?.(machine);
      } catch (error) {
        await machine.kill().catch(() => {});
        throw error;
      }
      return sessionOf(machine, undefined, settings);
    },

    async resumeSession({ sessionId, abortSignal: signal }) {
      const found = await findByName(Machine, await nameOf('ai-sdk:session', sessionId), signal);
      if (!found) throw new Error(`there is no machine of session ${sessionId}: it was destroyed, or its time is over`);
      const machine = await Machine.connect(found.id, { timeout: wanted.timeout, signal });
      return sessionOf(machine, sessionId, settings);
    },
  };
};
