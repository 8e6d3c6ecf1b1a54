#!/usr/bin/python3 -B
"""begin-handshakes.py SOURCE HOST PORT COUNT: sends the first packet of COUNT handshakes and never the third. Prints how the host
answered, as JSON: accepted (SYN and ACK), refused (RST), and the rest, which it did not answer."""
import json
import socket
import struct
import sys
import time

source, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
SYN, RST, ACK = 0x02, 0x04, 0x10
FIRST_PORT = 20000


def checksum(data):
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(own_port):
    header = struct.pack('!HHLLBBHHH', own_port, port, own_port, 0, 5 << 4, SYN, 65535, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(host) + struct.pack('!BBH', 0, socket.IPPROTO_TCP, len(header))
    return header[:16] + struct.pack('!H', checksum(pseudo + header)) + header[18:]


wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
wire.bind((source, 0))
for number in range(count):
    wire.sendto(syn(FIRST_PORT + number), (host, 0))

answers = {}
wire.settimeout(0.2)
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        packet = wire.recv(65535)
    except TimeoutError:
        continue
    segment = packet[(packet[0] & 15) * 4:]
    from_port, own_port = struct.unpack('!HH', segment[:4])
    if socket.inet_ntoa(packet[12:16]) == host and from_port == port:
        answers.setdefault(own_port, segment[13])
accepted = sum(flags & (SYN | RST) == SYN for flags in answers.values())
refused = sum(flags & RST == RST for flags in answers.values())
print(json.dumps({'accepted': accepted, 'refused': refused, 'unanswered': count - accepted - refused}))
