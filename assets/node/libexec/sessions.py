"""Dovecot's sessions, as its own list has them."""

WHO = ('doveadm', '-f', 'tab', 'who', '-1')


def _rows(listed):
    rows = [line.split('\t') for line in listed.splitlines()]
    column = {name: index for index, name in enumerate(rows[0])} if rows else {}
    for row in rows[1:]:
        if row[column['dest_ip']] == '' and not row[column['service']].endswith('-login'):
            yield {name: row[index] for name, index in column.items()}


def open_sessions(listed):
    """Process, user and service of the sessions in the output of WHO that have a mailbox open here; what is only passed on has a dest_ip.
    Raises KeyError or ValueError on another list than that."""
    for row in _rows(listed):
        yield int(row['pid']), row['username'], row['service']


def own_sessions(listed):
    """User of each of them that is the user's own: who reads folders that the user shares comes from a node's loopback (sharing/)."""
    return (row['username'] for row in _rows(listed) if row['ip'] != '127.0.0.1')
