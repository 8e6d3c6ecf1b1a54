"""The ring file and the home of a user; the same rule as etc/dovecot/home.lua and agent/src/ring/home.ts."""
import functools
import os

RING = '/run/mail-platform/ring'
# Users whose shard the directory says (libexec/directory/sync).
CHOSEN = '/etc/dovecot/shards'
MASK = (1 << 64) - 1


def read_ring(path=RING):
    """The file's keys; `node`, `was` and `leaving` are lists, `shards` has the address of each shard's node. Empty when there is no file."""
    ring = {'node': [], 'was': [], 'leaving': []}
    try:
        with open(path, encoding='ascii') as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        key, _, value = line.partition('\t')
        if key in ('node', 'was', 'leaving'):
            ring[key].append(value)
        elif key == 'shard':
            name, _, address = value.partition('\t')
            ring.setdefault('shards', {})[name] = address
        else:
            ring[key] = value
    return ring


def score(user, node):
    value = 0xCBF29CE484222325
    # ASCII only, as Lua's string.lower.
    for byte in node.encode() + b'\0' + user.encode().lower():
        value = (value ^ byte) * 0x100000001B3 & MASK
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return value ^ value >> 33


def home_of(user, nodes):
    """The node with the highest score, the lower address of equals; None when there is no node."""
    return min(nodes, key=lambda node: (-score(user, node), node), default=None)


def home_in(ring, user, nodes):
    """The home among these nodes. With shards the user has one of them, whichever nodes there are, and the home is the node that has it."""
    if 'shards' not in ring:
        return home_of(user, nodes)
    address = ring['shards'].get(shard_of(user, ring['shards']))
    return address if address in nodes else None


def shard_of(user, names):
    """The user's shard: that of the directory, which may be none of these names, or the one of them that follows from the address."""
    try:
        found = os.stat(CHOSEN)
    except FileNotFoundError:
        return home_of(user, names)
    return chosen(CHOSEN, (found.st_ino, found.st_mtime_ns)).get(user.lower()) or home_of(user, names)


@functools.lru_cache(maxsize=1)
def chosen(path, _stamp):
    with open(path, encoding='utf-8') as file:
        return dict(line.rstrip('\n').split(':') for line in file)


def serves(ring, user):
    """Whether this node may open the user's mailbox."""
    if ring.get('state') != 'serving' or home_in(ring, user, ring['node']) != ring['self']:
        return False
    return ring.get('settled') == 'yes' or home_in(ring, user, ring['was']) == ring['self']
