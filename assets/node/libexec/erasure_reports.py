"""What nodes say in S3 about people who are to be erased (docs/erasure.md). A report is a new object; none is read, replaced or deleted."""
import base64
import hashlib
import json
import os

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

FOLDER = 'erasure'
# The next run is a quarter of an hour later.
TIMES = Config(connect_timeout=3, read_timeout=20, retries={'mode': 'standard', 'total_max_attempts': 3})


class Reports:
    def __init__(self, bucket, folder):
        """`folder` has what was said last, in a file for each person."""
        self.bucket = bucket
        self.folder = folder

    def tell(self, reports):
        """Stores those that say something new; returns how many."""
        reports = list(reports)
        self.forget({report['subject'] for report in reports})
        news = [report for report in reports if self.said(report['subject']) != facts(report)]
        if news:
            s3 = boto3.client('s3', config=TIMES)
            for report in news:
                self.put(s3, report)
                self.note(report)
        return len(news)

    def put(self, s3, report):
        body = (json.dumps(report) + '\n').encode()
        name = report['at'].replace('-', '').replace(':', '')
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        try:
            s3.put_object(
                Bucket=self.bucket,
                Key=f'{FOLDER}/{report["subject"]}/{report["queue"]}/{name}.json',
                Body=body,
                # S3 compares it with what it received and keeps it.
                ChecksumAlgorithm='SHA256',
                ChecksumSHA256=checksum,
                IfNoneMatch='*',
                ContentType='application/json',
            )
        except ClientError as error:
            # The answer to an earlier try was lost: nobody else has this queue at this moment.
            if error.response['Error']['Code'] != 'PreconditionFailed':
                raise

    def said(self, subject):
        try:
            with open(f'{self.folder}/{subject}', encoding='ascii') as file:
                return json.load(file)
        except (FileNotFoundError, ValueError):
            return None

    def note(self, report):
        path = f'{self.folder}/{report["subject"]}'
        with open(f'{path}.new', 'w', encoding='ascii') as file:
            json.dump(facts(report), file)
        os.rename(f'{path}.new', path)

    def forget(self, but):
        for name in os.listdir(self.folder):
            if name not in but:
                os.unlink(f'{self.folder}/{name}')


def facts(report):
    """All but when it was looked."""
    return {key: value for key, value in report.items() if key != 'at'}
