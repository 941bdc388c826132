CREATE TABLE webhooks (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  enabled    INTEGER NOT NULL,
  operations TEXT NOT NULL, -- JSON array
  url        TEXT NOT NULL,
  secret     TEXT NOT NULL, -- key of the signatures; never leaves but as one
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE webhook_deliveries (
  seq                  INTEGER PRIMARY KEY AUTOINCREMENT, -- order of the events, and so of sending
  id                   TEXT NOT NULL UNIQUE,
  webhook_id           TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  event_id             TEXT NOT NULL,
  operation            TEXT NOT NULL,
  status               TEXT NOT NULL,
  event                TEXT NOT NULL, -- the body that is sent: the same bytes every time
  delivery_status      TEXT NOT NULL,
  attempt_count        INTEGER NOT NULL DEFAULT 0,
  created_at           TEXT NOT NULL,
  next_attempt_at      INTEGER, -- Unix microseconds
  last_attempt_at      INTEGER, -- Unix microseconds
  last_response_status INTEGER,
  last_error           TEXT
) STRICT;
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, delivery_status, seq);
CREATE INDEX webhook_deliveries_by_order ON webhook_deliveries (webhook_id, seq);

CREATE TABLE webhook_attempts (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  delivery_id TEXT NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
  record      TEXT NOT NULL
) STRICT;
CREATE INDEX webhook_attempts_by_delivery ON webhook_attempts (delivery_id, seq);
