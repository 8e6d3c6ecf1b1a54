"""
Seals what is stored, so that it is opened by a key of each of our addresses in its envelope, and by nothing else: who destroys
these keys destroys the message, also where a lock keeps the object (docs/journal.md, "A sealed journal").

Keys are in a bucket of their own. This adds pairs and reads public halves; it can't read private ones, replace or delete any.
"""
import base64
import hashlib
import os
import re
import subprocess
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from message import tag
from times import TIMES

# Seconds after which a public half is read again: it may be another one, when a person was erased and is there anew.
GOOD_FOR = 3600
# Half of the metadata that S3 takes says whose keys open it: of each recipient one at most, and the sender's.
TAGS_MAX = 50
MAPS = os.environ.get('MAIL_MAPS', '/etc/postfix/maps')


class Names:
    """Addresses that are somebody's here, as Postfix has them from the directory (libexec/directory/sync)."""

    FILES = (f'{MAPS}/mailboxes', f'{MAPS}/aliases')

    def __init__(self):
        self.stamps = None
        self.names = set()

    def __contains__(self, address):
        return address in self.names

    def look(self):
        """Whether they are others than before."""
        found = [os.stat(path) for path in self.FILES]
        stamps = [(stat.st_mtime_ns, stat.st_ino) for stat in found]
        if stamps == self.stamps:
            return False
        names = set()
        for path in self.FILES:
            with open(path, encoding='utf-8') as file:
                names.update(line.partition(' ')[0] for line in file)
        self.names, self.stamps = names, stamps
        return True


class Seal:
    def __init__(self, bucket, domains):
        """`domains` are ours, the primary one first."""
        self.bucket = bucket
        self.domains = domains
        self.s3 = boto3.client('s3', config=TIMES)
        self.names = Names()
        # Public halves of those who are there, and until when they are good.
        self.recipients = {}

    def close(self, message, body):
        """The body, sealed, and its metadata."""
        if self.names.look():
            self.recipients = {owner: found for owner, found in self.recipients.items() if self.is_here(owner)}
        owners = sorted({owner for owner in map(self.owner, (message.sender, *message.recipients)) if owner})
        found = {tag(owner): self.recipient_of(owner) for owner in owners}
        recipients = {name: recipient for name, recipient in found.items() if recipient}
        if not recipients:
            # Nobody's who is known here: a catch-all's, what a user's filter sends on for an outsider, a mistyped name.
            domain = '@' + (owners[0].rpartition('@')[2] if owners else self.domains[0])
            recipients = {tag(domain): self.recipient_of(domain)}
        options = [f'--recipient={recipient}' for recipient in recipients.values()]
        keys = ','.join(list(recipients)[: TAGS_MAX + 1])
        return run(['age', '--encrypt', *options], body), {**message.metadata(TAGS_MAX), 'keys': keys, 'keys-bucket': self.bucket}

    def owner(self, address):
        """Whose an address is: one of ours, in lower case and without a detail. None for those of others."""
        local, _, domain = address.lower().rpartition('@')
        return f'{local.partition("+")[0]}@{domain}' if domain in self.domains else None

    def is_here(self, owner):
        return owner.startswith('@') or owner in self.names

    def recipient_of(self, owner):
        """The public half of a key; None when there is none for an address that is nobody's."""
        name = tag(owner)
        # Who is not here any more gets no new one: what came before is theirs, and what comes after they were erased is not.
        if not self.is_here(owner):
            return self.read(name)
        cached, until = self.recipients.get(owner, (None, 0))
        if until > time.monotonic():
            return cached
        try:
            recipient = self.read(name)
        except (BotoCoreError, ClientError):
            if cached:
                return cached
            raise
        recipient = recipient or self.make(name)
        self.recipients[owner] = recipient, time.monotonic() + GOOD_FOR
        return recipient

    def read(self, name):
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=f'public/{name}')['Body'].read().decode('ascii').strip()
        except ClientError as error:
            if error.response['Error']['Code'] == 'NoSuchKey':
                return None
            raise

    def make(self, name):
        pair = run(['age-keygen'])
        recipient = re.search(rb'^# public key: (age1[a-z0-9]+)$', pair, re.MULTILINE)[1].decode()
        # First, so that nothing is sealed for a key that nobody has. It stays, and opens nothing, when another node's is taken.
        self.put(f'private/{name}/{recipient}', pair)
        # No secret, so that nodes need no right to decrypt in this bucket.
        self.put(f'public/{name}', f'{recipient}\n'.encode(), ServerSideEncryption='AES256')
        taken = self.read(name)
        if taken is None:
            raise OSError(f'the key public/{name} was just destroyed')
        return taken

    def put(self, key, body, **more):
        """Adds an object; what is there already stays."""
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        try:
            answer = self.s3.put_object(
                Bucket=self.bucket, Key=key, Body=body, ChecksumAlgorithm='SHA256', ChecksumSHA256=checksum, IfNoneMatch='*', **more
            )
        except ClientError as error:
            if error.response['Error']['Code'] == 'PreconditionFailed':
                return
            raise
        if answer.get('ChecksumSHA256') != checksum:
            raise OSError(f'S3 confirms the checksum {answer.get("ChecksumSHA256")} of a key, expected {checksum}')


def run(command, content=b''):
    done = subprocess.run(command, input=content, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise OSError(f'{command[0]}: {done.stderr.decode(errors="replace").strip()}')
    return done.stdout
