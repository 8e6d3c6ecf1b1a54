-- Who may do what, each by name and nothing by default. On Aurora both log in with tokens of IAM (rds_iam), so neither has a password.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['mail_node', 'mail_editor'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I LOGIN', name);
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
      EXECUTE format('GRANT rds_iam TO %I', name);
    END IF;
  END LOOP;
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA mail FROM PUBLIC;
GRANT USAGE ON SCHEMA mail TO mail_node, mail_editor;
GRANT EXECUTE ON FUNCTION mail.users_file(text[]), mail.revision() TO mail_node, mail_editor;

-- Nodes read the file that is theirs, once a minute, and no table.
ALTER ROLE mail_node CONNECTION LIMIT 100;
ALTER ROLE mail_node SET default_transaction_read_only = on;
ALTER ROLE mail_node SET statement_timeout = '60s';

-- mail-users changes rows. What it changed it can't take out of the audit.
GRANT SELECT, INSERT, UPDATE, DELETE ON mail.domains, mail.users, mail.aliases, mail.group_members, mail.app_passwords, mail.erasures TO mail_editor;
GRANT SELECT ON mail.audit TO mail_editor;
GRANT SELECT, UPDATE ON mail.state TO mail_editor;
ALTER ROLE mail_editor SET statement_timeout = '5min';
ALTER ROLE mail_editor SET lock_timeout = '1min';
