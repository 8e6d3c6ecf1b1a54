"""Runs home.lua's own function over test vectors (standard input), in the Lua library that Dovecot has; prints differences.
The Python twin is held to the same."""
import ctypes
import ctypes.util
import json
import sys
import tempfile

sys.path.insert(0, '/opt/mail-platform/libexec')
import ring as rule  # noqa: E402
from ring import home_in, home_of, read_ring  # noqa: E402

lua = ctypes.CDLL(ctypes.util.find_library('lua5.4') or 'liblua5.4.so.0')
lua.luaL_newstate.restype = ctypes.c_void_p
lua.lua_tolstring.restype = ctypes.c_char_p
state = ctypes.c_void_p(lua.luaL_newstate())
lua.luaL_openlibs(state)


def call(text):
    failed = lua.luaL_loadstring(state, text.encode()) or lua.lua_pcallk(state, 0, 1, 0, ctypes.c_long(0), None)
    result = lua.lua_tolstring(state, -1, None)
    lua.lua_settop(state, 0)
    if failed:
        sys.exit(result)
    return result.decode()


def quoted(text):
    """A Lua string with these bytes of UTF-8."""
    return '"' + ''.join(f'\\{byte:03}' for byte in text.encode()) + '"'


call(open('/etc/dovecot/home.lua', encoding='utf-8').read() + '\nreturn ""')


def differences_with_shards(vector):
    """With the ring file that the agent would write."""
    user, expected = vector['user'], vector['home'] or ''
    lines = [('version', '1'), ('self', '10.0.0.1'), ('state', 'serving'), ('settled', 'yes')]
    lines += [('node', node) for node in vector['nodes']]
    lines += [('shard', f'{shard["name"]}\t{shard.get("address", "")}') for shard in vector['shards']]
    with tempfile.NamedTemporaryFile('w') as file, tempfile.NamedTemporaryFile('w') as chosen:
        file.write(''.join(f'{key}\t{value}\n' for key, value in lines))
        file.flush()
        # As libexec/directory/sync writes it: what is in front must not be taken for the user.
        chosen.write(f'm{user.lower()}:shard-9\n' + (f'{user.lower()}:{vector["shard"]}\n' if 'shard' in vector else ''))
        chosen.flush()
        by_lua = call(
            f'script_init({{ shards = "{chosen.name}" }}) local ring = read_ring("{file.name}") '
            f'return home_in(ring, string.lower({quoted(user)}), ring.node) or ""'
        )
        ring = read_ring(file.name)
        rule.CHOSEN = chosen.name
        by_python = home_in(ring, user, ring['node']) or ''
    if not by_lua == by_python == expected:
        print(f'{vector}: Lua {by_lua!r}, Python {by_python!r}')


vectors = json.load(sys.stdin)
for vector in vectors:
    if 'shards' in vector:
        differences_with_shards(vector)
        continue
    user, nodes = vector['user'], vector['nodes']
    listed = ', '.join(quoted(node) for node in nodes)
    by_lua = call(f'return home_of(string.lower({quoted(user)}), {{ {listed} }})')
    if not by_lua == home_of(user, nodes) == vector['home']:
        print(f'{user} on {nodes}: expected {vector["home"]}, Lua {by_lua}, Python {home_of(user, nodes)}')
print(f'{len(vectors)} vectors')
