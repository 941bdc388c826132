-- Templates that were built. Their names are documents of kind `template`; what they are made of belongs to their builds.

CREATE TABLE template_builds (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  template_id TEXT NOT NULL,
  name        TEXT NOT NULL,
  status      TEXT NOT NULL,
  record      TEXT NOT NULL,
  artifact    TEXT -- what machines start from; only of builds that are `ready`, until nothing keeps it
) STRICT;
CREATE INDEX template_builds_by_template ON template_builds (template_id, seq);

CREATE TABLE template_build_entries (
  build_id TEXT NOT NULL REFERENCES template_builds (id) ON DELETE CASCADE,
  place    INTEGER NOT NULL,
  entry    TEXT NOT NULL,
  PRIMARY KEY (build_id, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE template_tags (
  template_id TEXT NOT NULL,
  tag         TEXT NOT NULL,
  build_id    TEXT NOT NULL,
  created_at  TEXT NOT NULL,
  PRIMARY KEY (template_id, tag)
) STRICT, WITHOUT ROWID;

-- Names that a template had before it was renamed.
CREATE TABLE template_aliases (
  name        TEXT NOT NULL PRIMARY KEY,
  template_id TEXT NOT NULL,
  created_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE template_claims (
  token_hash BLOB NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  expires_at INTEGER NOT NULL -- Unix seconds
) STRICT, WITHOUT ROWID;

-- What steps made, by the hash of all that went into them.
CREATE TABLE template_cache (
  key        TEXT NOT NULL PRIMARY KEY,
  layers     TEXT NOT NULL, -- JSON array, nearest first
  record     TEXT NOT NULL, -- the template of a whole build, else empty
  size_bytes INTEGER NOT NULL,
  used_at    INTEGER NOT NULL -- Unix microseconds
) STRICT, WITHOUT ROWID;

-- Files of build contexts.
CREATE TABLE template_blobs (
  id         TEXT NOT NULL PRIMARY KEY,
  size_bytes INTEGER NOT NULL,
  is_there   INTEGER NOT NULL,
  used_at    INTEGER NOT NULL -- Unix seconds
) STRICT, WITHOUT ROWID;
