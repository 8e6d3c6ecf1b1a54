"""Kills adopt-queue before each of its steps, runs it again, and counts what it moves; prints the number of steps."""
import collections
import os
import shutil
import subprocess
import sys

ADOPT = '/opt/mail-platform/libexec/adopt-queue'
BASE = '/var/tmp/adoption'
DEAD, LIVE = f'{BASE}/dead', f'{BASE}/live'
FOLDERS = 'incoming active deferred hold maildrop defer bounce trace corrupt flush saved pid private public'.split()

# Names as Postfix makes them; the second letter is the folder under deferred/ and defer/ that belongs to each.
MESSAGES = {
    '4jXFbD176Czpqr6': ('deferred/2', 0o700),
    '4jXFbD0cRWzpqr1': ('deferred/1', 0o700),
    '4jXFbD0wxnzpqr2': ('active', 0o700),
    '4jXFbD0m34zpqr4': ('incoming', 0o700),
    '4jXFbK3tlQzpqrs': ('maildrop', 0o744),
    '4jXFbK3tlRzpqrt': ('hold', 0o700),
}
LOGS = {'4jXFbD176Czpqr6': 'defer/2', '4jXFbD0wxnzpqr2': 'bounce'}
UNFINISHED = '4jXFbK3tlSzpqrv'


def put(path, text, mode):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='ascii') as file:
        file.write(text)
    os.chmod(path, mode)


def prepare(unfinished):
    shutil.rmtree(BASE, ignore_errors=True)
    for folder in FOLDERS:
        os.makedirs(f'{DEAD}/{folder}')
        os.makedirs(f'{LIVE}/{folder}')
    for number, (name, (folder, mode)) in enumerate(MESSAGES.items()):
        put(f'{DEAD}/{folder}/{name}', f'message {name}\n' * (100_000 if number == 0 else 1), mode)
    for name, folder in LOGS.items():
        put(f'{DEAD}/{folder}/{name}', f'log {name}\n', 0o600)
    if unfinished:
        put(f'{DEAD}/incoming/{UNFINISHED}', 'message that was never acknowledged\n', 0o600)


def messages(queue):
    """How often each message is there, whole and ready to be delivered."""
    count = collections.Counter()
    for where, _, names in os.walk(queue):
        for name in names:
            path = f'{where}/{name}'
            with open(path, encoding='ascii') as file:
                text = file.read()
            expected = f'message {name}\n' * (100_000 if name == next(iter(MESSAGES)) else 1)
            if text == expected and os.stat(path).st_mode & 0o100:
                count[name] += 1
    return count


def adopt(stop_before=0):
    environment = {'MAIL_ADOPT_STOP_BEFORE': str(stop_before)}
    return subprocess.run([ADOPT, DEAD, LIVE], env=environment, stdout=subprocess.DEVNULL, check=False).returncode


def check(what, condition):
    if not condition:
        sys.exit(f'step {step}: {what}: dead {dict(messages(DEAD))}, live {dict(messages(LIVE))}')


for unfinished in (False, True):
    step = 0
    while True:
        step += 1
        prepare(unfinished)
        status = adopt(step)
        check('a message is in neither queue', set(messages(DEAD)) | set(messages(LIVE)) == set(MESSAGES))
        if status == 0:
            break
        check('was not killed', status == -9)
        check('fails the second time', adopt() == 0)
        check('is not whole', messages(LIVE) == {name: 1 for name in MESSAGES})
        check('still has messages', not messages(DEAD))
        for log, folder in LOGS.items():
            check('lost a log', os.path.exists(f'{LIVE}/{folder}/{log}'))
    check('removed what was not finished', os.path.exists(f'{DEAD}/incoming/{UNFINISHED}') == unfinished)
    check('left folders', unfinished or not os.path.exists(DEAD))
    print(f'{step - 1} steps')
shutil.rmtree(BASE)
