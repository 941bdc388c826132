-- Everything that a cluster knows. Gateways hold nothing that is not here, and nodes hold the rest.

CREATE TABLE nodes (
  id            text PRIMARY KEY,
  tag           text NOT NULL UNIQUE,          -- first digits of the ids that the node makes
  name          text NOT NULL,
  url           text NOT NULL,
  instance      text NOT NULL,                 -- the process
  version       text NOT NULL,
  epoch         bigint NOT NULL DEFAULT 0,     -- how often the node was given up
  lost          boolean NOT NULL DEFAULT false,
  draining      boolean NOT NULL DEFAULT false,
  drain_until   timestamptz,
  heard_at      timestamptz,                   -- last heartbeat, by the clock of this database
  beats         bigint NOT NULL DEFAULT 0,
  clock_off_ms  bigint NOT NULL DEFAULT 0,
  capacity      jsonb NOT NULL DEFAULT '{}',
  pools         jsonb NOT NULL DEFAULT '{}',
  joined_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Machines, snapshots and volumes as their nodes last told: what is shown while a node does not answer, and for good after it was
-- given up. A snapshot stands here once for each node that holds a copy.
CREATE TABLE things (
  id        text NOT NULL,
  node      text NOT NULL,                     -- tag
  kind      text NOT NULL,
  seq       bigint NOT NULL,                   -- place in the order of creation
  info      jsonb NOT NULL,
  owner     text,                              -- whose key made it
  given_up  boolean NOT NULL DEFAULT false,    -- it counts as ended, whatever the node says later
  PRIMARY KEY (id, node)
);
CREATE INDEX things_of_node ON things (node, kind, seq DESC);
CREATE INDEX things_of_owner ON things (owner) WHERE kind = 'machine';

CREATE TABLE keys (
  name        text PRIMARY KEY,
  digest      bytea NOT NULL UNIQUE,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  revoked_at  timestamptz,
  quota       jsonb NOT NULL DEFAULT '{}'
);

-- One row a key of a create: the node that makes (or made) the machine.
CREATE TABLE claims (
  owner        text NOT NULL,
  key          text NOT NULL,
  fingerprint  bytea NOT NULL,
  node         text NOT NULL,                  -- tag
  attempt      integer NOT NULL DEFAULT 1,
  machine      text,                           -- once it is made
  ended        boolean NOT NULL DEFAULT false, -- somebody ended it: the key makes no other one
  made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (owner, key)
);
CREATE INDEX claims_by_age ON claims (made_at);
CREATE INDEX claims_of_machine ON claims (machine);

-- Names of machines that are being made: no two creates of one name at once.
CREATE TABLE names (
  name    text PRIMARY KEY,
  holder  text NOT NULL,
  until   timestamptz NOT NULL
);
