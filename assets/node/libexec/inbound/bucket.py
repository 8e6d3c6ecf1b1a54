"""The bucket of inbound mail: what SES stored (mail/), who works on it (claims/), and what nobody gets (quarantine/)."""
import email.utils
import json
import os

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

TIMES = Config(connect_timeout=3, read_timeout=60, retries={'mode': 'standard', 'total_max_attempts': 3}, max_pool_connections=20)


class Taken(Exception):
    """Somebody else may be at it."""

    def __init__(self, seconds):
        super().__init__(f'for {seconds:.0f} s more')
        self.seconds = seconds


class Done(Exception):
    """Postfix has it, or it was set aside."""


class Bucket:
    def __init__(self, name, patience):
        """
        patience    seconds after which a claim of somebody who said nothing more is no longer respected
        """
        self.name = name
        self.patience = patience
        self.s3 = boto3.client('s3', config=TIMES)

    def claim(self, id):
        """
        Claims a message for this node, for `patience` seconds. Returns a word that only this claim has. Raises Taken, or Done.

        Conditional writes make it one claim at a time; both times that are compared are those of S3's clock.
        """
        word = os.urandom(8).hex()
        for _ in range(5):
            if self.put_claim(id, {'words': [word]}, IfNoneMatch='*'):
                return word
            there = self.s3.get_object(Bucket=self.name, Key=f'claims/{id}')
            claim = json.loads(there['Body'].read())
            if claim.get('done'):
                raise Done
            now = email.utils.parsedate_to_datetime(there['ResponseMetadata']['HTTPHeaders']['date'])
            left = self.patience - (now - there['LastModified']).total_seconds()
            if left > 0 and not claim.get('free'):
                raise Taken(left)
            # Those before may still have handed it to Postfix, and that would count.
            if self.put_claim(id, {'words': [*claim['words'][-20:], word]}, IfMatch=there['ETag']):
                return word
        raise Taken(1)

    def release(self, id, word):
        """Gives a claim up after which Postfix has certainly nothing: the next one need not wait."""
        there = self.s3.get_object(Bucket=self.name, Key=f'claims/{id}')
        claim = json.loads(there['Body'].read())
        if not claim.get('done') and claim['words'][-1] == word:
            self.put_claim(id, {'words': claim['words'], 'free': True}, IfMatch=there['ETag'])

    def finish(self, id, word):
        """Says for good that the message needs nothing more. Whether the word is one of a claim."""
        for _ in range(5):
            try:
                there = self.s3.get_object(Bucket=self.name, Key=f'claims/{id}')
            except ClientError as error:
                # Who may not list a bucket is not told that there is no such object.
                if error.response['Error']['Code'] in ('NoSuchKey', 'AccessDenied'):
                    return False
                raise
            claim = json.loads(there['Body'].read())
            if word not in claim['words']:
                return False
            if claim.get('done') or self.put_claim(id, {'words': claim['words'], 'done': True}, IfMatch=there['ETag']):
                return True
        raise OSError(f'the claim of {id} changes all the time')

    def read(self, key):
        return self.s3.get_object(Bucket=self.name, Key=key)['Body'].read()

    def remove(self, key):
        self.s3.delete_object(Bucket=self.name, Key=key)

    def set_aside(self, reason, id, text, why, data=None):
        """Keeps what nobody gets: the message, and SES's notice of it with what was wrong. Twice is as once."""
        if data is not None:
            self.s3.put_object(Bucket=self.name, Key=f'quarantine/{reason}/{id}.eml', Body=data, ContentType='message/rfc822')
        told = json.dumps({'why': why, 'notice': text}).encode()
        self.s3.put_object(Bucket=self.name, Key=f'quarantine/{reason}/{id}.json', Body=told, ContentType='application/json')

    def put_claim(self, id, claim, **condition):
        """Whether the condition was met."""
        body = json.dumps(claim).encode()
        try:
            self.s3.put_object(Bucket=self.name, Key=f'claims/{id}', Body=body, ContentType='application/json', **condition)
        except ClientError as error:
            # 409: another conditional write is under way.
            if error.response['Error']['Code'] in ('PreconditionFailed', 'ConditionalRequestConflict'):
                return False
            raise
        return True
