"""Opens the way to the store for two seconds, stops every process of the machine but this one for four, and then writes as
one of them would on waking. Prints what became of the write and of a new connection."""
import os
import signal
import socket
import time

PORT = 20049  # where the kernel's NFS client finds the store


def control(request):
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect('/run/mail-platform/control.sock')
        asked.sendall(f'{request}\n'.encode())
        return asked.makefile().read().strip()


def alive(milliseconds):
    return control(f'alive {int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000) + milliseconds}')


def attempt(action):
    try:
        action()
        return 'passes'
    except (ConnectionError, TimeoutError):
        return 'refused'


store = socket.create_server(('127.0.0.1', PORT))
print('open', alive(2000))
connection = socket.create_connection(('127.0.0.1', PORT), timeout=2)
accepted, _ = store.accept()
print('before', attempt(lambda: connection.sendall(b'write')), accepted.recv(100).decode())

os.kill(-1, signal.SIGSTOP)
try:
    time.sleep(4.5)
    # The kernel takes the bytes; they must not arrive.
    attempt(lambda: connection.sendall(b'write'))
    accepted.settimeout(0.5)
    try:
        arrived = accepted.recv(100).decode()
    except (ConnectionError, TimeoutError):
        arrived = ''
    print('after', repr(arrived), attempt(lambda: socket.create_connection(('127.0.0.1', PORT), timeout=2)))
finally:
    os.kill(-1, signal.SIGCONT)
print('late', alive(-1000).split()[0])
