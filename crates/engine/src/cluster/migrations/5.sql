-- Whether the node told of it. A machine that lived for less than a heartbeat is written down by the gateway that made it, and no
-- node tells that it is gone.
ALTER TABLE things ADD COLUMN told boolean NOT NULL DEFAULT true;

-- Machines that count against the quota of a key.
CREATE VIEW living AS
  SELECT owner, id, (info->'config'->>'vcpus')::bigint AS vcpus, (info->'config'->>'memory_mb')::bigint AS memory_mb
  FROM things WHERE kind = 'machine' AND owner IS NOT NULL AND NOT given_up AND info->>'status' <> 'error'
    AND (told OR seq > (extract(epoch FROM clock_timestamp() - interval '1 minute') * 1000000)::bigint);

-- Creates on their way, of keys that have a quota: they count until the machine is written down, or nothing came of them.
CREATE TABLE creating (
  owner      text NOT NULL,
  key        text NOT NULL,                    -- idempotency key, or one that the gateway made
  vcpus      bigint NOT NULL,
  memory_mb  bigint NOT NULL,
  until      timestamptz NOT NULL,             -- whoever began it has ended
  PRIMARY KEY (owner, key)
);

-- Creates of a key in the minute that began then.
CREATE TABLE creates (
  owner  text PRIMARY KEY,
  since  timestamptz NOT NULL,
  count  bigint NOT NULL
);
