-- Asked by sync of the database, with psql: `revision N`, the number of the last change, and the lines of the users file for
-- the domains of this cluster if N is not :known. Both of one moment.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT mail.revision() AS now, mail.revision()::text = :'known' AS same \gset
\echo revision :now
\if :same
\else
SELECT mail.users_file(string_to_array(:'domains', ' '));
\endif
COMMIT;
