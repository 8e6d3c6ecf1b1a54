"""What SES tells of a message that it took (https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html).

It comes by a queue that only SES's own topic writes to, so what stands there is SES's word: envelope and verdicts. Of the message
itself, which anybody may have written, nothing is believed but the line that SES put on top of it (message.py).
"""
import json
import re

PREFIX = 'mail/'
KEY = re.compile(PREFIX + '([A-Za-z0-9_-]{1,100})')
# No blanks, brackets or controls: what is left can't end an SMTP command.
ADDRESS = re.compile(r'[^\s<>\x00-\x20\x7f]+@[^\s<>@\x00-\x20\x7f]+')


class Notice:
    """
    text        the notification, JSON
    bucket      where its object must be
    Raises ValueError when it is none of a stored message.
    """

    def __init__(self, text, bucket):
        try:
            document = json.loads(text)
            mail, receipt = document['mail'], document['receipt']
            key = KEY.fullmatch(receipt['action']['objectKey'])
            self.recipients = list(dict.fromkeys(map(address, receipt['recipients'])))
            if document['notificationType'] != 'Received' or not key or receipt['action']['bucketName'] != bucket:
                raise ValueError('it is none of a message in our bucket')
            self.id = key[1]
            self.key = key[0]
            self.message_id = str(mail['messageId'])
            self.sender = sender(mail['source'])
            self.verdicts = {
                name: str((receipt.get(f'{name}Verdict') or {}).get('status', 'NONE')).upper()
                for name in ('spam', 'virus', 'spf', 'dkim', 'dmarc')
            }
            self.dmarc_policy = str(receipt.get('dmarcPolicy', 'none')).lower()
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'it lacks {error}') from error
        if not self.recipients:
            raise ValueError('it has no recipients')

    @property
    def refused_for(self):
        """Why nobody may get it: SES has answered its sender already, so it can only be set aside. None when nothing is wrong."""
        if self.verdicts['virus'] == 'FAIL':
            return 'virus'
        if self.verdicts['dmarc'] == 'FAIL' and self.dmarc_policy == 'reject':
            return 'dmarc'
        return None

    @property
    def junk(self):
        return self.verdicts['spam'] == 'FAIL' or (self.verdicts['dmarc'] == 'FAIL' and self.dmarc_policy == 'quarantine')


def address(text):
    if not ADDRESS.fullmatch(text):
        raise ValueError(f'{text!r} is no address')
    return text


def sender(text):
    """Empty for notices, and for what is no address."""
    return text if ADDRESS.fullmatch(text) else ''
