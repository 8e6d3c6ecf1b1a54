"""Makes moto's DynamoDB atomic: its server checks a condition and writes in two steps, and serves each request in a
thread, so two conditional writes can both win. Also logs what is put into tables, for tests, a line of JSON each:
{"at": milliseconds since 1970, "item": …} in the file that DYNAMODB_LOG names. Python loads this file by PYTHONPATH
before moto_server runs."""

import json
import os
import threading
import time

try:
    from moto.dynamodb.responses import DynamoHandler
except ImportError:  # another Python than moto's, such as a wrapper
    pass
else:
    one_at_a_time = threading.Lock()
    call_action = DynamoHandler.call_action
    log = os.environ.get('DYNAMODB_LOG')

    def call_action_alone(self):
        with one_at_a_time:
            answer = call_action(self)
            if log and answer[0] == 200 and self.headers.get('X-Amz-Target', '').endswith('.PutItem'):
                with open(log, 'a', encoding='utf-8') as file:
                    file.write(json.dumps({'at': time.time() * 1000, 'item': self.body['Item']}) + '\n')
            return answer

    DynamoHandler.call_action = call_action_alone
