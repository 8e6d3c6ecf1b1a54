"""A message as the journal keeps it: what SMTP said about it, then the message as Postfix accepted it."""
import datetime
import hashlib
import re

DOMAIN = 'journal.invalid'
# enable_long_queue_ids: seconds, four digits for the microseconds, "z", the file's number.
DIGITS = '0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz'
# What pickup(8) writes at the top of mail that comes by the command sendmail; nothing in it is the sender's.
LOCAL = re.compile(rb'Received: by [^ ]+ \(Postfix, from userid [0-9]+\)\r\n\tid ([0-9A-Za-z]+);')
QUEUE_ID = re.compile(f'[{DIGITS}]{{6,}}[{DIGITS}]{{4}}z[{DIGITS}]+')
# S3 takes 2 KB of metadata.
TAGS_MAX = 100


class Message:
    """
    queue_id    long queue id of the Postfix that accepted it; None for mail that came by the command sendmail
    sender      address of MAIL FROM, empty for notices
    copies      addresses that Postfix made of the recipients (etc/postfix/journal.pcre)
    client      address of whoever sent it, or None
    data        the message, lines end with CRLF
    """

    def __init__(self, queue_id, sender, copies, client, data):
        if queue_id is None and (local := LOCAL.match(data)):
            queue_id = local[1].decode()
        if not QUEUE_ID.fullmatch(queue_id or ''):
            raise ValueError(f'no long queue id, got {queue_id!r}')
        self.queue_id = queue_id
        self.sender = sender
        self.recipients = sorted({recipient for recipient in map(recipient_of, copies) if recipient})
        self.client = client
        self.data = data

    @property
    def arrival(self):
        """When Postfix accepted it, by its clock."""
        seconds = 0
        for character in self.queue_id.rpartition('z')[0][:-4]:
            seconds = seconds * len(DIGITS) + DIGITS.index(character)
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)

    def content(self):
        lines = [
            f'X-Journal-Queue-Id: {self.queue_id}',
            f'X-Journal-Arrival: {self.arrival:%Y-%m-%dT%H:%M:%SZ}',
            *([f'X-Journal-Client: {self.client}'] if self.client else []),
            f'X-Journal-From: <{self.sender}>',
            *(f'X-Journal-To: <{recipient}>' for recipient in self.recipients),
        ]
        return ''.join(f'{line}\r\n' for line in lines).encode(errors='surrogateescape') + self.data

    def key(self, content):
        """The same for the same message, on whatever node and however often it is tried."""
        return f'journal/{self.arrival:%Y/%m/%d/%H}/{self.queue_id}-{hashlib.sha256(content).hexdigest()[:16]}.eml.zst'

    def metadata(self, tags_max=TAGS_MAX):
        tags = [tag(recipient) for recipient in self.recipients]
        return {
            'from': tag(self.sender),
            'to': ','.join(tags[:tags_max]),
            'recipients': str(len(tags)),
            'message-size': str(len(self.data)),
        }


def recipient_of(copy):
    """The recipient that a copy is for; None when its name did not fit into an address."""
    local, _, domain = copy.rpartition('@')
    if len(local) > 1 and local.startswith('"') and local.endswith('"'):
        # Quoted anew, with the quotes that it had itself.
        local = re.sub(r'\\(.)', r'\1', local[1:-1])
    if domain == DOMAIN:
        return local if '@' in local else None
    return f'{local}@{domain.removesuffix(f".{DOMAIN}")}'


def tag(address):
    """Finds the messages of an address that one knows, in metadata that anybody may see who may list the bucket."""
    return hashlib.sha256(address.lower().encode(errors='surrogateescape')).hexdigest()[:16]
