-- `record` and `body` columns hold JSON written by the machine room.

CREATE TABLE machines (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT, -- order of creation; lists page by it
  id       TEXT NOT NULL UNIQUE,
  status   TEXT NOT NULL,
  template TEXT NOT NULL,
  record   TEXT NOT NULL
) STRICT;
CREATE INDEX machines_by_status ON machines (status, seq);
CREATE INDEX machines_by_template ON machines (template, seq);

-- One row a top-level key of `metadata`, so that filters need no scan. `value` is canonical JSON.
CREATE TABLE machine_metadata (
  key   TEXT NOT NULL,
  value TEXT NOT NULL,
  seq   INTEGER NOT NULL REFERENCES machines (seq) ON DELETE CASCADE,
  PRIMARY KEY (key, value, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX machine_metadata_by_machine ON machine_metadata (seq);

CREATE TABLE documents (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  kind    TEXT NOT NULL, -- snapshot, pool, template, layer
  id      TEXT NOT NULL UNIQUE,
  subject TEXT NOT NULL, -- machine of a snapshot; empty otherwise
  record  TEXT NOT NULL
) STRICT;
CREATE INDEX documents_by_kind ON documents (kind, seq);
CREATE INDEX documents_by_subject ON documents (kind, subject, seq);

CREATE TABLE idempotency_keys (
  scope       TEXT NOT NULL,
  key         TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  body        TEXT NOT NULL,
  kept_since  INTEGER NOT NULL, -- Unix seconds
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (kept_since);

CREATE TABLE events (
  seq               INTEGER PRIMARY KEY AUTOINCREMENT,
  id                TEXT NOT NULL UNIQUE,
  occurred_at       INTEGER NOT NULL, -- Unix microseconds
  operation         TEXT NOT NULL,
  status            TEXT NOT NULL,
  machine_id        TEXT,
  snapshot_id       TEXT,
  source_machine_id TEXT,
  target_machine_id TEXT,
  record            TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_machine ON events (machine_id, seq);
CREATE INDEX events_by_snapshot ON events (snapshot_id, seq);
CREATE INDEX events_by_operation ON events (operation, seq);
CREATE INDEX events_by_time ON events (occurred_at);
