-- Warm pools of the cluster.
CREATE TABLE pools (
  id        text PRIMARY KEY,
  terms     jsonb NOT NULL,                    -- as its owner wants it
  resolved  jsonb NOT NULL                     -- what its template means
);

-- The share of each node, as the node was last told.
CREATE TABLE pool_shares (
  pool     text NOT NULL,
  node     text NOT NULL,                      -- tag
  terms    jsonb NOT NULL,
  refused  boolean NOT NULL DEFAULT false,     -- it cannot hold the pool: it does not have the template
  told_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (pool, node)
);

-- What one gateway does for all, for as long as it says so.
CREATE TABLE duties (
  duty    text PRIMARY KEY,
  holder  text NOT NULL,
  until   timestamptz NOT NULL
);
