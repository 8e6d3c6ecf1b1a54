"""What of Postfix's queue waits for the journal: as metrics, and as a bound (https://www.postfix.org/SMTPD_POLICY_README.html)."""
import asyncio
import json
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from message import DOMAIN

LOOK = 60  # seconds between two looks
FULL = '452 4.3.1 Too much mail waits for the journal; try again later'
PASS = 'DUNNO'


class Backlog:
    def __init__(self, bytes_max, say):
        self.bytes_max = bytes_max
        self.say = say
        self.count = 0
        self.bytes = 0
        self.arrival = None

    @property
    def age(self):
        """Seconds since the oldest arrived."""
        return max(0, time.time() - self.arrival) if self.arrival else 0

    @property
    def full(self):
        return self.bytes > self.bytes_max

    async def watch(self):
        while True:
            was_full = self.full
            try:
                await self.look()
            except (OSError, ValueError, KeyError) as error:
                # At a boot Postfix starts after this.
                self.say(f"can't look into the queue: {error}", 5)
            if self.full and not was_full:
                self.say(f'{self.count} messages, {self.bytes} bytes, wait for the journal: no more mail comes in', 2)
            elif was_full and not self.full:
                self.say('mail comes in again', 5)
            await asyncio.sleep(LOOK)

    async def look(self):
        count, size, arrival = 0, 0, None
        # One JSON object a line (postqueue(1)), each with all recipients that wait.
        process = await asyncio.create_subprocess_exec('postqueue', '-j', stdout=asyncio.subprocess.PIPE, limit=64 << 20)
        async for line in process.stdout:
            message = json.loads(line)
            if any(recipient['address'].endswith(DOMAIN) for recipient in message['recipients']):
                count += 1
                size += message['message_size']
                arrival = min(arrival or message['arrival_time'], message['arrival_time'])
        if await process.wait() != 0:
            raise OSError(f'postqueue ended with {process.returncode}')
        self.count, self.bytes, self.arrival = count, size, arrival

    def try_again(self):
        """Has Postfix try what waits now: by itself it would take as long again as it has waited."""
        self.trying = asyncio.ensure_future(self.flush())

    async def flush(self):
        try:
            process = await asyncio.create_subprocess_exec('postqueue', '-f')
            await process.wait()
        except OSError as error:
            self.say(f"can't run postqueue: {error}", 4)

    async def serve(self, reader, writer):
        try:
            while line := await reader.readline():
                if line == b'\n':
                    writer.write(f'action={FULL if self.full else PASS}\n\n'.encode())
                    await writer.drain()
        except (OSError, ValueError):
            pass  # Postfix is gone
        finally:
            writer.close()


class Metrics:
    def __init__(self, cluster, backlog, say):
        self.cluster = cluster
        self.backlog = backlog
        self.say = say
        self.stored = 0
        self.cloudwatch = boto3.client('cloudwatch', config=Config(connect_timeout=3, read_timeout=10))

    async def publish(self):
        while True:
            await asyncio.sleep(60)
            stored, self.stored = self.stored, 0
            try:
                await asyncio.to_thread(self.put, stored)
            except (BotoCoreError, ClientError) as error:
                self.stored += stored
                self.say(f'metrics: {error}', 4)

    def put(self, stored):
        values = [
            ('JournalStored', 'Count', stored),
            ('JournalWaiting', 'Count', self.backlog.count),
            ('JournalWaitingBytes', 'Bytes', self.backlog.bytes),
            ('JournalAge', 'Seconds', self.backlog.age),
        ]
        self.cloudwatch.put_metric_data(
            Namespace='MailPlatform',
            MetricData=[
                {'MetricName': name, 'Dimensions': [{'Name': 'Cluster', 'Value': self.cluster}], 'Unit': unit, 'Value': value}
                for name, unit, value in values
            ],
        )
