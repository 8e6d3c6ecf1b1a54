"""For daemons that Postfix hands messages over to: as much of LMTP (RFC 2033) as Postfix's client speaks with XFORWARD (https://www.postfix.org/XFORWARD_README.html)."""
import asyncio
import re

# Without 8BITMIME and SMTPUTF8 Postfix would convert the message, or return it.
CAPABILITIES = ['node', 'PIPELINING', '8BITMIME', 'SMTPUTF8', 'ENHANCEDSTATUSCODES', 'SIZE 0', 'XFORWARD ADDR IDENT']
GREETING = '\r\n'.join([*(f'250-{name}' for name in CAPABILITIES[:-1]), f'250 {CAPABILITIES[-1]}'])
OK = '250 2.0.0 Ok'
LATER = '451 4.3.0 Not done yet'
# Parameters of MAIL and RCPT.
PARAMETERS = '((?: [A-Za-z0-9-]+(?:=[^ ]*)?)*)'
# Bytes. A message is in memory three times over, so few of the large ones at once.
LARGE = 4 << 20
LARGE_AT_ONCE = 2


class LmtpServer:
    def __init__(self, deliver, resting):
        """
        deliver   (queue id, sender, copies, client, data): resolves to whether it is done; raises nothing
        resting   whether it is not worth trying now
        """
        self.deliver = deliver
        self.resting = resting
        self.large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def serve(self, reader, writer):
        try:
            if self.resting():
                # Postfix then leaves the other copies alone for a moment, too.
                await reply(writer, '421 4.3.2 Away for a moment')
                return
            await reply(writer, '220 node LMTP')
            await Session(self, reader, writer).run()
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # Postfix is gone, and has the message
        finally:
            writer.close()


class Session:
    def __init__(self, server, reader, writer):
        self.server = server
        self.reader = reader
        self.writer = writer
        self.forward = {}
        self.reset()

    def reset(self):
        self.sender = None
        self.size = 0
        self.copies = []

    async def run(self):
        while True:
            line = (await self.reader.readuntil(b'\r\n')).decode('utf-8', 'surrogateescape')[:-2]
            verb, _, rest = line.partition(' ')
            verb = verb.upper()
            if verb == 'DATA':
                await self.data()
            elif verb == 'QUIT':
                await reply(self.writer, '221 2.0.0 Bye')
                return
            else:
                await reply(self.writer, self.command(verb, rest))

    def command(self, verb, rest):
        if verb == 'LHLO':
            self.reset()
            return GREETING
        if verb == 'XFORWARD':
            for name, _, value in (attribute.partition('=') for attribute in rest.split(' ')):
                self.forward[name.upper()] = None if value.upper() == '[UNAVAILABLE]' else xtext(value)
            return OK
        if verb == 'RSET':
            self.reset()
            return OK
        if verb == 'NOOP':
            return OK
        found = re.fullmatch(f'FROM:<(.*?)>{PARAMETERS}', rest, re.IGNORECASE)
        if verb == 'MAIL' and found:
            self.reset()
            self.sender = found[1]
            size = re.search(' SIZE=([0-9]+)', found[2], re.IGNORECASE)
            self.size = int(size[1]) if size else 0
            return OK
        found = re.fullmatch(f'TO:<(.+?)>{PARAMETERS}', rest, re.IGNORECASE)
        if verb == 'RCPT' and self.sender is not None and found:
            self.copies.append(found[1])
            return OK
        # Never 5xx: nothing that a copy meets with here may end its life.
        return '451 4.5.1 Not now, or not known'

    async def data(self):
        if not self.copies:
            await reply(self.writer, '451 4.5.1 No recipients')
            return
        if self.size > LARGE:
            async with self.server.large:
                await self.receive()
        else:
            await self.receive()

    async def receive(self):
        await reply(self.writer, '354 Go ahead')
        data = await self.reader.readuntil(b'\r\n.\r\n')
        # Lines that begin with a dot got one more.
        data = data[:-3].removeprefix(b'.').replace(b'\r\n..', b'\r\n.')
        queue_id, client = self.forward.get('IDENT'), self.forward.get('ADDR')
        stored = await self.server.deliver(queue_id, self.sender, self.copies, client, data)
        answer = '250 2.0.0 Done' if stored else LATER
        for _ in self.copies:
            self.writer.write(f'{answer}\r\n'.encode())
        await self.writer.drain()
        self.forward = {}
        self.reset()


async def reply(writer, text):
    writer.write(f'{text}\r\n'.encode())
    await writer.drain()


def xtext(value):
    """https://www.rfc-editor.org/rfc/rfc3461#section-4"""
    return re.sub(r'\+([0-9A-F]{2})', lambda found: chr(int(found[1], 16)), value)
