"""How long S3 is waited for. The message is tried again by Postfix: here it is only for a lost connection or a moment of throttling."""
from botocore.config import Config

TIMES = Config(connect_timeout=3, read_timeout=20, retries={'mode': 'standard', 'total_max_attempts': 2}, max_pool_connections=20)
