"""Postfix's policy protocol (https://www.postfix.org/SMTPD_POLICY_README.html), on the socket that systemd passes."""
import asyncio
import os
import socket
import sys

PASS = 'DUNNO'


async def listen(answer, unit):
    """A server that answers each request; `answer` is a coroutine that makes the action of its attributes.
    Ends the program when it was not started by that socket unit."""
    if os.environ.get('LISTEN_FDS') != '1':
        sys.exit(f'is started by {unit}')

    async def serve(reader, writer):
        attributes = {}
        try:
            while line := (await reader.readline()).decode('utf-8', 'replace'):
                name, separator, value = line.rstrip('\n').partition('=')
                if separator:
                    attributes[name] = value
                    continue
                writer.write(f'action={await answer(attributes)}\n\n'.encode())
                await writer.drain()
                attributes = {}
        except (OSError, ValueError):
            pass  # Postfix is gone, or no Postfix
        finally:
            writer.close()

    return await asyncio.start_unix_server(serve, sock=socket.socket(fileno=3))
