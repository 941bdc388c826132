// The generated decoders, over the same golden answers as the Rust types (crates/wire/tests/golden.rs).

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';

import { decoders } from './package.mjs';

const folder = new URL('../../crates/wire/golden/', import.meta.url);
const revive = (value) => {
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== 'object') return value;
  if (typeof value.$date === 'string') return new Date(value.$date);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revive(inner)]));
};

for (const file of readdirSync(folder)) {
  const golden = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
  test(`${file} becomes what JavaScript expects`, () => {
    assert.deepEqual(decoders[golden.answer](golden.wire, ''), revive(golden.js));
  });
}

const small = {
  id: 'mch_1',
  status: 'running',
  config: { vcpus: 1, memory_mb: 256 },
  template: 'base',
  created_at: '2026-01-02T03:04:05Z',
};
const rejects = (name, value, message) => assert.throws(() => decoders[name](value, ''), { message });

test('null reads as absent, and unknown keys are dropped', () => {
  assert.deepEqual(Object.keys(decoders.MachineInfo({ ...small, cwd: null, brand_new: 1 }, '')).sort(), [
    'config',
    'createdAt',
    'id',
    'status',
    'template',
  ]);
});
test('a status that is not known yet is kept', () => {
  assert.equal(decoders.MachineInfo({ ...small, status: 'teleporting' }, '').status, 'teleporting');
});
test('a missing field is named', () =>
  rejects('MachineInfo', { ...small, id: undefined }, 'expected a string at id, got nothing'));
test('a field of the wrong type is named with its path', () =>
  rejects(
    'ListMachinesResponse',
    { items: [small, { ...small, config: { vcpus: '2', memory_mb: 1 } }], has_next: false },
    'expected an integer at items[1].config.vcpus, got a string',
  ));
test('a date that is none is named', () =>
  rejects(
    'MachineInfo',
    { ...small, created_at: 'yesterday' },
    'expected an RFC 3339 time at created_at, got a string',
  ));
test('an array in place of an object is refused', () =>
  rejects('MachineInfo', [], 'expected an object at the top, got an array'));
test('null in place of an object is refused', () =>
  rejects('ExecResponse', null, 'expected an object at the top, got null'));
test('an object in place of a list is refused', () =>
  rejects('MachineMetricsList', {}, 'expected an array at the top, got an object'));
test('a page without items is refused', () =>
  rejects('ListMachinesResponse', { has_next: false }, 'expected an array at items, got nothing'));
test('a bare array is one last page', () =>
  assert.deepEqual(decoders.ListMachinesResponse([small], '').hasNext, false));
test('rows hold the fields that came, and only those', () => {
  assert.deepEqual(decoders.MachineRows({ items: [{ id: 'mch_1', created_at: small.created_at }] }, ''), [
    { id: 'mch_1', createdAt: new Date(small.created_at) },
  ]);
  assert.deepEqual(decoders.MachineRows([{ status: 'running' }], ''), [{ status: 'running' }]);
});
test('metadata named like a prototype stays data', () => {
  const value = decoders.MachineInfo({ ...small, metadata: JSON.parse('{"__proto__":{"a":1}}') }, '');
  assert.deepEqual(Object.keys(value.metadata), ['__proto__']);
  assert.equal(value.a, undefined);
});

test('what is decoded is a plain object, as one that was written by hand', () => {
  const info = decoders.MachineInfo({ ...small }, '');
  assert.equal(Object.getPrototypeOf(info), Object.prototype);
  assert.equal(info.constructor, Object);
  assert.deepEqual(structuredClone(info), info);
});

test('times are those of Date, whatever their form', () => {
  const texts = ['2024-02-29T00:00:00Z', '2023-02-28T23:59:59.9Z', '2023-02-29T00:00:00Z', '1969-12-31T23:59:59.999Z'];
  texts.push('2026-01-02T03:04:05.678901Z', '2026-01-02T03:04:05.123456789Z', '2026-01-02T03:04:05.12Z');
  texts.push(
    '2026-01-02T03:04:05+02:00',
    '2026-01-02T03:04:05.5-11:30',
    '2026-01-01T24:00:00Z',
    '2000-02-29T12:00:00Z',
  );
  texts.push('0000-01-01T00:00:00Z', '0000-02-29T00:00:00Z', '0001-03-01T00:00:00.5Z', '9999-12-31T23:59:59.999Z');
  // The last and the first days of all months of four centuries.
  for (let month = 0; month < 4800; month++)
    for (const day of [-1, 0, 1])
      texts.push(new Date(Date.UTC(1800, month, day, 13, month % 60, 59, month % 1000)).toISOString());
  for (const text of texts) {
    const { createdAt } = decoders.MachineInfo({ ...small, created_at: text }, '');
    assert.equal(createdAt.getTime(), new Date(text).getTime(), text);
  }
  for (const text of [
    '2026-13-01T00:00:00Z',
    '2026-00-10T00:00:00Z',
    '2026-01-32T00:00:00Z',
    '2026-01-01T00:61:00Z',
    '',
  ]) {
    assert.ok(Number.isNaN(new Date(text).getTime()));
    rejects('MachineInfo', { ...small, created_at: text }, 'expected an RFC 3339 time at created_at, got a string');
  }
});
