//! Random options: whatever is given, a check answers with a request or with an error that names something, and never
//! panics, since a panic ends the instance of the whole module.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use nullspace::core::error::{Error, Kind};
use nullspace::core::options::{Fields, Value};
use nullspace::core::{egress, exec, lease, machine, warm_pool};
use nullspace::surface::{self, Scope};

use crate::support::Nowhere;

const ROUNDS: u32 = 1_500;

/// xorshift64*: good enough to mix names and values, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn pick<'a, V>(&mut self, from: &'a [V]) -> &'a V {
        &from[self.next() as usize % from.len()]
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.next() % if depth == 0 { 5 } else { 7 } {
            0 => Value::Null,
            1 => Value::Bool(self.next().is_multiple_of(2)),
            2 => Value::Number(*self.pick(&NUMBERS)),
            3 => Value::Text((*self.pick(&TEXTS)).to_owned()),
            4 => {
                Value::Opaque((*self.pick(&["a function", "a Map", "undefined", "a AbortSignal"])).to_owned())
            }
            5 => Value::List((0..self.next() % 4).map(|_| self.value(depth - 1)).collect()),
            _ => self.object(depth - 1),
        }
    }

    fn object(&mut self, depth: u32) -> Value {
        let count = self.next() % 4;
        Value::Object(
            (0..count)
                .map(|_| ((*self.pick(&NAMES)).to_owned(), self.value(depth)))
                .collect(),
        )
    }
}

const NUMBERS: [f64; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    22.0,
    60.0,
    512.0,
    65_536.0,
    4_294_967_296.0,
    9_007_199_254_740_992.0,
    1e308,
    f64::MIN_POSITIVE,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];
const TEXTS: [&str; 24] = [
    "",
    " ",
    "\0",
    "a=b",
    "é",
    "🦀",
    "..",
    "/",
    "/data",
    "//workspace/.nullspace/",
    "10.0.0.0/8",
    "10.0.0.0/99",
    "::/0",
    "custom",
    "allow_all",
    "hibernate",
    "pause",
    "running",
    "desktop",
    ":0",
    "ssh-ed25519 A",
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:0é",
    "http",
];
const NAMES: [&str; 52] = [
    "template",
    "vcpus",
    "memoryMb",
    "diskMb",
    "timeout",
    "timeoutAction",
    "onTimeout",
    "autoResume",
    "ephemeral",
    "cwd",
    "envs",
    "metadata",
    "idempotencyKey",
    "network",
    "egress",
    "mode",
    "allowCidrs",
    "denyCidrs",
    "allowDomains",
    "denyDomains",
    "secrets",
    "hosts",
    "env",
    "baseUrlEnv",
    "rateLimit",
    "kbitPerSec",
    "pps",
    "burst",
    "internetAccess",
    "warmPool",
    "warmPoolMode",
    "snapshotId",
    "volumes",
    "ref",
    "mountPath",
    "subpath",
    "desktop",
    "resolution",
    "args",
    "shell",
    "background",
    "state",
    "query",
    "limit",
    "fields",
    "minReady",
    "maxReady",
    "requestTimeout",
    "signal",
    "from",
    "port",
    "id",
];

fn check(seed: u64) -> (u32, u32) {
    let mut random = Random(seed | 1);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let options = random.object(3);
        let argument = random.value(1);
        let some = Some(&options);
        let any = |fields: Result<Fields<'_>, Error>, read: &dyn Fn(&Fields<'_>) -> Result<(), Error>| {
            fields.and_then(|fields| read(&fields))
        };
        let results = [
            any(machine::create_fields(&options), &|fields| {
                machine::create(fields, &Nowhere).map(drop)
            }),
            any(machine::list_fields(&options), &|fields| {
                machine::list(fields).map(drop)
            }),
            exec::run(&argument, some).map(drop),
            exec::code_run(&argument, some).map(drop),
            exec::wait(some).map(drop),
            lease::keep_alive(some).map(drop),
            egress::update(&options).map(drop),
            warm_pool::wait(some).map(drop),
        ];
        let argument = [Some(argument), Some(random.value(1)), Some(random.value(1))];
        // Some of the table in each round: all of it is walked many times over.
        let first = random.next() as usize % surface::ALL.len();
        let table = surface::ALL
            .iter()
            .cycle()
            .skip(first)
            .take(8)
            .flat_map(|operation| {
                [Scope::Class, Scope::Handle]
                    .map(|scope| operation.request(scope, &["mch_1"], &argument, some).map(drop))
            });
        for result in results.into_iter().chain(table) {
            match result {
                Ok(()) => taken += 1,
                Err(error) => {
                    refused += 1;
                    assert_eq!(
                        error.kind,
                        Kind::InvalidRequest,
                        "seed {seed}, round {round}: {options:?}"
                    );
                    let named = error.message.contains('`') || error.message.contains("change something");
                    assert!(named, "seed {seed}, round {round}: {}", error.message);
                }
            }
        }
    }
    (taken, refused)
}

#[test]
fn no_options_panic() {
    let fresh = RandomState::new().build_hasher().finish();
    println!("fresh seed: {fresh}");
    for seed in [1, 3, fresh] {
        let (taken, refused) = check(seed);
        // A generator that makes nothing valid, or nothing wrong, would show little.
        assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
    }
}
