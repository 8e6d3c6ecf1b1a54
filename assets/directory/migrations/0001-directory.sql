-- Users, aliases, groups, app passwords and domains of the mail system; docs/directory.md says what each means. The tables hold what
-- the users file holds (assets/node/libexec/directory/users.awk), and mail.users_file() writes that file for nodes.

CREATE SCHEMA mail;

CREATE DOMAIN mail.address AS text CHECK (
  VALUE ~ '^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$'
  AND length(split_part(VALUE, '@', 1)) <= 64
);

-- No password and nothing that can be used as one (RFC 5803 has the parts, C1 the 100 000 rounds).
CREATE DOMAIN mail.verifier AS text CHECK (
  VALUE ~ '^\{SCRAM-SHA-256\}[1-9][0-9]{5,8},[A-Za-z0-9+/]+=*,[A-Za-z0-9+/]{43}=,[A-Za-z0-9+/]{43}=$'
);

CREATE DOMAIN mail.protocols AS text[] CHECK (
  cardinality(VALUE) > 0 AND VALUE <@ ARRAY['imap', 'pop3', 'smtp', 'sieve']
);

CREATE TABLE mail.domains (
  name text PRIMARY KEY CHECK (name = lower(name) AND length(name) <= 253),
  -- No user of a disabled domain logs in; mail is taken.
  enabled boolean NOT NULL,
  second_factor boolean NOT NULL
);

CREATE TABLE mail.users (
  address mail.address PRIMARY KEY,
  domain text GENERATED ALWAYS AS (split_part(address, '@', 2)) STORED REFERENCES mail.domains (name),
  verifier mail.verifier NOT NULL,
  -- Nothing: as large as everybody's.
  quota text CHECK (quota ~ '^[1-9][0-9]*[KMGT]$'),
  enabled boolean NOT NULL,
  second_factor boolean NOT NULL,
  -- Nothing: all.
  protocols mail.protocols
);

-- Mail to the alias goes to the user, who may send from it. Several users may have it.
CREATE TABLE mail.aliases (
  alias mail.address NOT NULL,
  address mail.address NOT NULL REFERENCES mail.users,
  PRIMARY KEY (alias, address)
);
CREATE INDEX ON mail.aliases (address);

-- Mail to the group goes to its members; none of them sends from it.
CREATE TABLE mail.group_members (
  group_address mail.address NOT NULL,
  address mail.address NOT NULL REFERENCES mail.users,
  PRIMARY KEY (group_address, address)
);
CREATE INDEX ON mail.group_members (address);

CREATE TABLE mail.app_passwords (
  address mail.address NOT NULL REFERENCES mail.users,
  id text NOT NULL CHECK (id ~ '^[a-z2-7]{4}$'),
  name text NOT NULL CHECK (name ~ '^[A-Za-z0-9._-]{1,40}$'),
  protocols mail.protocols NOT NULL,
  verifier mail.verifier NOT NULL,
  PRIMARY KEY (address, id),
  UNIQUE (address, name)
);

-- Whose mail is erased (docs/erasure.md): SHA-256 of the address, since when, and when it is due; never while it is on hold.
CREATE TABLE mail.erasures (
  subject text PRIMARY KEY CHECK (subject ~ '^[0-9a-f]{64}$'),
  since timestamptz NOT NULL,
  due timestamptz
);

-- One row, which every change locks until it is committed: changes come one after the other, nobody reads a number
-- behind which an older change is still to come, and nodes see by it that there is something new.
CREATE TABLE mail.state (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  revision bigint NOT NULL DEFAULT 0
);
INSERT INTO mail.state DEFAULT VALUES;

CREATE TABLE mail.audit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Who the database let in, and who the command says that it was.
  role text NOT NULL DEFAULT session_user,
  operator text NOT NULL DEFAULT coalesce(nullif(current_setting('mail.operator', true), ''), session_user),
  client inet DEFAULT inet_client_addr(),
  action text NOT NULL,
  what text NOT NULL,
  -- Whom it is about: an address, a domain, or an erasure's subject.
  whom text NOT NULL,
  before jsonb,
  after jsonb
);
CREATE INDEX ON mail.audit (whom);

-- A row as the audit keeps it: that a verifier changed, not to what.
CREATE FUNCTION mail.audited(changed jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN changed ? 'verifier' THEN
      changed - 'verifier' || jsonb_build_object('verifier', left(encode(sha256(convert_to(changed ->> 'verifier', 'UTF8')), 'hex'), 8))
    ELSE changed
  END
$$;

CREATE FUNCTION mail.record_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = mail, pg_temp AS $$
DECLARE
  before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN audited(to_jsonb(OLD)) END;
  after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN audited(to_jsonb(NEW)) END;
  changed jsonb := coalesce(after, before);
BEGIN
  INSERT INTO audit (action, what, whom, before, after)
  VALUES (lower(TG_OP), TG_TABLE_NAME, coalesce(changed ->> 'address', changed ->> 'name', changed ->> 'subject'), before, after);
  -- An erasure tells nobody whose it is, so the audit must not either.
  IF TG_TABLE_NAME = 'erasures' AND TG_OP = 'INSERT' THEN
    UPDATE audit SET whom = NEW.subject, before = NULL, after = NULL
    WHERE encode(sha256(convert_to(whom, 'UTF8')), 'hex') = NEW.subject;
  END IF;
  RETURN NULL;
END
$$;

CREATE FUNCTION mail.count_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = mail, pg_temp AS $$
BEGIN
  UPDATE state SET revision = revision + 1;
  RETURN NULL;
END
$$;

CREATE FUNCTION mail.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE 'TRUNCATE would not be audited; use DELETE';
END
$$;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['domains', 'users', 'aliases', 'group_members', 'app_passwords', 'erasures'] LOOP
    EXECUTE format('CREATE TRIGGER record AFTER INSERT OR UPDATE OR DELETE ON mail.%I FOR EACH ROW EXECUTE FUNCTION mail.record_change()', name);
    EXECUTE format('CREATE TRIGGER count BEFORE INSERT OR UPDATE OR DELETE ON mail.%I FOR EACH STATEMENT EXECUTE FUNCTION mail.count_change()', name);
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON mail.%I FOR EACH STATEMENT EXECUTE FUNCTION mail.refuse()', name);
  END LOOP;
END
$$;

-- The users file, a line each, for these domains (all of them without): in one statement, so of one moment.
CREATE FUNCTION mail.users_file(only_domains text[] DEFAULT NULL) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = mail, pg_temp AS $$
  WITH chosen AS (
    SELECT * FROM domains WHERE only_domains IS NULL OR name = ANY (only_domains)
  ), lines AS (
    SELECT 1 AS part, d.name AS place,
      '@' || d.name || ':::::::' || concat_ws(' ',
        CASE WHEN NOT d.enabled THEN 'login=none' END,
        CASE WHEN d.second_factor THEN 'login=second-factor' END) AS line
    FROM chosen d
    UNION ALL
    SELECT 2, u.address,
      u.address || ':' || u.verifier || '::::::' || concat_ws(' ',
        'userdb_quota_storage_size=' || u.quota,
        'aliases=' || a.list,
        'groups=' || g.list,
        'protocols=' || array_to_string(u.protocols::text[], '+'),
        CASE WHEN NOT u.enabled THEN 'login=none' END,
        CASE WHEN u.second_factor THEN 'login=second-factor' END,
        p.list)
    FROM users u
    JOIN chosen d ON d.name = u.domain
    LEFT JOIN (
      SELECT address, string_agg(alias, ',' ORDER BY alias) AS list FROM aliases
      WHERE split_part(alias, '@', 2) IN (SELECT name FROM chosen) GROUP BY address
    ) a ON a.address = u.address
    LEFT JOIN (
      SELECT address, string_agg(group_address, ',' ORDER BY group_address) AS list FROM group_members
      WHERE split_part(group_address, '@', 2) IN (SELECT name FROM chosen) GROUP BY address
    ) g ON g.address = u.address
    LEFT JOIN (
      SELECT address, string_agg('app_password=' || concat_ws(',', id, name, array_to_string(protocols::text[], '+'),
        substr(verifier, length('{SCRAM-SHA-256}') + 1)), ' ' ORDER BY id) AS list
      FROM app_passwords GROUP BY address
    ) p ON p.address = u.address
    UNION ALL
    SELECT 3, subject,
      '#erased ' || subject || ' ' || to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' ' ||
        coalesce(to_char(due AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'held')
    FROM erasures
  )
  SELECT line FROM lines ORDER BY part, place COLLATE "C"
$$;

CREATE FUNCTION mail.revision() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = mail, pg_temp AS $$
  SELECT revision FROM state
$$;
