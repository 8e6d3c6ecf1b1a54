"""Makes moto's DynamoDB atomic: its server checks a condition and writes in two steps, and serves each request in a
thread, so two conditional writes can both win. Also logs what is put into tables, for tests, a line of JSON each:
{"at": milliseconds since 1970, "item": …} in the file that DYNAMODB_LOG names. And has its EC2 do with volumes what EC2
does: one attachment, in the instance's zone, which ends with the instance. Python loads this file by PYTHONPATH before
moto_server runs."""

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

try:
    from moto.ec2.exceptions import EC2ClientError
    from moto.ec2.models import instances
    from moto.ec2.models.elastic_block_store import EBSBackend
except ImportError:
    pass
else:
    one_attachment = threading.Lock()
    asked = threading.local()
    make_instance = instances.Instance.__init__
    random_instance_id = instances.random_instance_id
    terminate = instances.Instance.terminate
    attach_volume = EBSBackend.attach_volume

    def make_instance_with_id(self, *arguments, **more):
        """An instance gets the id that its client token is: instances of the local cluster have theirs already."""
        asked.id = more.get('client_token')
        make_instance(self, *arguments, **more)

    def instance_id():
        return asked.id if str(asked.id).startswith('i-') else random_instance_id()

    def terminate_and_detach(self, *arguments, **more):
        before = terminate(self, *arguments, **more)
        for volume in self.ec2_backend.volumes.values():
            if volume.attachment and volume.attachment.instance.id == self.id:
                volume.attachment = None
        return before

    def attach_once(self, volume_id, instance_id, *arguments, **more):
        with one_attachment:
            volume, instance = self.get_volume(volume_id), self.get_instance(instance_id)
            if volume.attachment:
                raise EC2ClientError('VolumeInUse', f'{volume_id} is already attached to an instance')
            if volume.zone.name != instance._placement.zone:
                raise EC2ClientError('InvalidVolume.ZoneMismatch', f'{volume_id} is not in the zone of {instance_id}')
            return attach_volume(self, volume_id, instance_id, *arguments, **more)

    instances.Instance.__init__ = make_instance_with_id
    instances.random_instance_id = instance_id
    instances.Instance.terminate = terminate_and_detach
    EBSBackend.attach_volume = attach_once
