"""Makes moto's DynamoDB atomic: its server checks a condition and writes in two steps, and serves each request in a
thread, so two conditional writes can both win. Python loads this file by PYTHONPATH before moto_server runs."""

import threading

try:
    from moto.dynamodb.responses import DynamoHandler
except ImportError:  # another Python than moto's, such as a wrapper
    pass
else:
    one_at_a_time = threading.Lock()
    call_action = DynamoHandler.call_action

    def call_action_alone(self):
        with one_at_a_time:
            return call_action(self)

    DynamoHandler.call_action = call_action_alone
