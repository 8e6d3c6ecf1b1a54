"""The journal's bucket. Objects are written once and never over another."""
import base64
import hashlib
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

import zstd
from times import TIMES

REST = 5  # seconds


class Away(Exception):
    """No message can be stored now, not only this one."""


class JournalBucket:
    def __init__(self, name, seal=None):
        """`seal` closes what is stored (seal.py)."""
        self.name = name
        self.seal = seal
        self.s3 = boto3.client('s3', config=TIMES)
        # So that what could not be delivered while nobody listened is tried soon after a start, too.
        self.away = True
        self.rests_until = 0

    @property
    def resting(self):
        """Whether it was away just now, so that it is not worth the way to try."""
        return time.monotonic() < self.rests_until

    def store(self, message):
        """Stores the message; says under which key. Raises Away, or ClientError for a fault with this message alone."""
        content = message.content()
        key = message.key(content)
        body, metadata = zstd.compress(content), message.metadata()
        if self.seal:
            # A fault there is this message's alone: others have keys that are known.
            body, metadata = self.seal.close(message, body)
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        try:
            how = self.put(key, body, checksum, metadata)
        except (BotoCoreError, ClientError) as error:
            if concerns_all(error):
                self.away = True
                self.rests_until = time.monotonic() + REST
                raise Away(error) from error
            raise
        self.away = False
        return f'{key}, {len(body)} bytes{how}'

    def put(self, key, body, checksum, metadata):
        try:
            answer = self.s3.put_object(
                Bucket=self.name,
                Key=key,
                Body=body,
                # S3 compares it with what it received and keeps it.
                ChecksumAlgorithm='SHA256',
                ChecksumSHA256=checksum,
                IfNoneMatch='*',
                # Not message/rfc822 with an encoding: some clients would unpack it, and its digest would be another.
                ContentType='application/zstd',
                Metadata=metadata,
            )
        except ClientError as error:
            # The answer to an earlier try was lost. The name has the content's digest in it.
            if error.response['Error']['Code'] == 'PreconditionFailed':
                return ', was there already'
            raise
        if answer.get('ChecksumSHA256') != checksum:
            raise Away(f'S3 confirms the checksum {answer.get("ChecksumSHA256")}, expected {checksum}')
        return ''


def concerns_all(error):
    """Whether other messages would meet with the same: no answer, a fault of S3, too many requests, no leave, no bucket."""
    status = error.response['ResponseMetadata'].get('HTTPStatusCode', 0) if isinstance(error, ClientError) else 0
    return status == 0 or status >= 500 or status in (301, 403, 404, 429)
