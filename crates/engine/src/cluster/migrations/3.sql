-- Lifecycle events of all nodes. Rows are added under one lock, so their order is that in which they are seen.
CREATE TABLE events (
  seq                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id                 text NOT NULL UNIQUE,
  occurred_at        bigint NOT NULL,          -- Unix microseconds
  operation          text NOT NULL,
  status             text NOT NULL,
  machine_id         text,
  snapshot_id        text,
  source_machine_id  text,
  target_machine_id  text,
  record             text NOT NULL
);
CREATE INDEX events_by_machine ON events (machine_id, seq);
CREATE INDEX events_by_snapshot ON events (snapshot_id, seq);
CREATE INDEX events_by_operation ON events (operation, seq);
CREATE INDEX events_by_time ON events (occurred_at);

-- The last event that was read of each node.
CREATE TABLE event_cursors (
  node  text PRIMARY KEY,                      -- tag
  seq   bigint NOT NULL
);

CREATE TABLE webhooks (
  seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id          text NOT NULL UNIQUE,
  enabled     boolean NOT NULL,
  operations  jsonb NOT NULL,
  url         text NOT NULL,
  secret      text NOT NULL,                   -- key of the signatures; never leaves but as one
  created_at  text NOT NULL,
  updated_at  text NOT NULL
);

CREATE TABLE webhook_deliveries (
  seq                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- order of the events, and so of sending
  id                    text NOT NULL UNIQUE,
  webhook_id            text NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  event_id              text NOT NULL,
  operation             text NOT NULL,
  status                text NOT NULL,
  event                 text NOT NULL,         -- the body that is sent: the same bytes every time
  delivery_status       text NOT NULL,
  attempt_count         integer NOT NULL DEFAULT 0,
  created_at            text NOT NULL,
  next_attempt_at       bigint,                -- Unix microseconds
  last_attempt_at       bigint,                -- Unix microseconds
  last_response_status  integer,
  last_error            text,
  claimed_until         timestamptz            -- whoever sends it is gone after that
);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (webhook_id, delivery_status, seq);

CREATE TABLE webhook_attempts (
  seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  delivery_id  text NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
  record       text NOT NULL
);
CREATE INDEX webhook_attempts_by_delivery ON webhook_attempts (delivery_id, seq);
