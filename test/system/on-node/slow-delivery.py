"""Delivers a message to the user given, by LMTP as Postfix does, and waits between RCPT and DATA: until /tmp/go-on is there,
after it has made /tmp/let-in. Prints what the server says to the end of the message, or "closed"."""
import os
import socket
import sys
import time

lmtp = socket.socket(socket.AF_UNIX)
lmtp.settimeout(20)
lmtp.connect('/run/dovecot/postfix-lmtp')
answers = lmtp.makefile('r')


def ask(line):
    lmtp.sendall(f'{line}\r\n'.encode())
    while True:
        answer = answers.readline()
        if not answer or answer[3:4] != '-':
            return answer.strip() or 'closed'


try:
    answers.readline()
    for line in ('LHLO test', 'MAIL FROM:<>', f'RCPT TO:<{sys.argv[1]}>'):
        answer = ask(line)
        if not answer.startswith('250'):
            sys.exit(f'{line}: {answer}')
    open('/tmp/let-in', 'w').close()
    while not os.path.exists('/tmp/go-on'):
        time.sleep(0.1)
    answer = ask('DATA')
    print(ask('Subject: late\r\n\r\nlate\r\n.') if answer.startswith('354') else answer)
except OSError:
    print('closed')
