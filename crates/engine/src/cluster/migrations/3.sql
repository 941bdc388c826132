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
