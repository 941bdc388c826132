-- Snapshots that were deleted, for nodes that were not there then: their copies go when they are back.
CREATE TABLE deleted_snapshots (
  id          text PRIMARY KEY,
  deleted_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Where templates are built and kept, and which nodes have copies of all of them.
CREATE TABLE template_nodes (
  node       text PRIMARY KEY,                 -- tag
  is_home    boolean NOT NULL,
  copied_at  timestamptz                       -- when a copy was last found to be whole
);
CREATE UNIQUE INDEX template_home ON template_nodes (is_home) WHERE is_home;

-- Addresses of the cluster's own parts, which no machine reaches: those that nodes tell, and those of gateways and of this database
-- as gateways see them.
ALTER TABLE nodes ADD COLUMN addresses jsonb NOT NULL DEFAULT '[]';
CREATE TABLE addresses (
  address  text PRIMARY KEY,
  told_at  timestamptz NOT NULL
);
