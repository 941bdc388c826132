-- Ports that gateways serve on, to which no webhook is sent.
CREATE TABLE gateway_ports (
  port     integer PRIMARY KEY,
  told_at  timestamptz NOT NULL
);

-- Builds of templates and the ends of their logs, for when the node that built is gone.
CREATE TABLE template_builds (
  id        text PRIMARY KEY,
  node      text NOT NULL,                     -- tag
  status    text NOT NULL,                     -- as the node lists it
  snapshot  text NOT NULL,
  told_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
