"""Dovecot's sessions, as its own list has them."""

WHO = ('doveadm', '-f', 'tab', 'who', '-1')


def open_sessions(listed):
    """Process, user and service of the sessions in the output of WHO that have a mailbox open here; what is only passed on has a dest_ip.
    Raises KeyError or ValueError on another list than that."""
    rows = [line.split('\t') for line in listed.splitlines()]
    column = {name: index for index, name in enumerate(rows[0])} if rows else {}
    for row in rows[1:]:
        if row[column['dest_ip']] == '' and not row[column['service']].endswith('-login'):
            yield int(row[column['pid']]), row[column['username']], row[column['service']]
