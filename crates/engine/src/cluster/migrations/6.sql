-- Ports that gateways serve on, to which no webhook is sent.
CREATE TABLE gateway_ports (
  port     integer PRIMARY KEY,
  told_at  timestamptz NOT NULL
);
