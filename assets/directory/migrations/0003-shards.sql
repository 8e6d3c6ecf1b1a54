-- The shard that a user's mail is on, where mail is on shards (docs/storage.md). Nothing: the one that follows from the address.
ALTER TABLE mail.users ADD COLUMN shard smallint CHECK (shard BETWEEN 1 AND 99);

-- Mail would stay where it is, and its user would not see it.
CREATE FUNCTION mail.refuse_shard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE 'the shard of % was chosen when the user was added, and mail does not move', OLD.address;
END
$$;
REVOKE ALL ON FUNCTION mail.refuse_shard() FROM PUBLIC;
CREATE TRIGGER keep_shard BEFORE UPDATE ON mail.users FOR EACH ROW
  WHEN (OLD.shard IS DISTINCT FROM NEW.shard) EXECUTE FUNCTION mail.refuse_shard();

-- As before, with the shard.
CREATE OR REPLACE FUNCTION mail.users_file(only_domains text[] DEFAULT NULL) RETURNS SETOF text
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
        'shard=' || u.shard,
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
