"""Hands a message to Postfix, over a socket that is for this alone (inbound/master.cf)."""
import smtplib
import socket

SOCKET = '/var/spool/postfix/public/inbound'
# Postfix brings it back when it has the message for good (main.cf). The domain is nobody's (RFC 2606).
DOMAIN = 'inbound.invalid'


class Later(Exception):
    """Postfix has nothing of it and may take it another time."""


class Unknown(Exception):
    """Postfix was sent the end of the message and did not answer: it may have it."""


class Refused(Exception):
    """Postfix will never take it."""


class LocalSmtp(smtplib.SMTP):
    def _get_socket(self, host, port, timeout):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(SOCKET)
        return connection


def offer(notice, client, token, data, set_aside, last_moment):
    """
    Offers the message to Postfix for those of its recipients whom it knows.

    client       (name, address, HELO) of who brought it to SES, or None
    token        local part of the recipient that comes back when Postfix has the message
    set_aside    is called with those who are refused, and Postfix's words, before the others get it
    last_moment  says whether the end of the message may still be sent
    Returns whether Postfix has the message. Raises Later, Refused or Unknown.
    """
    smtp = None
    try:
        smtp = LocalSmtp('inbound', 25, timeout=120)
        hello(smtp, client)
        options = 'BODY=8BITMIME' + ('' if all(map(str.isascii, [notice.sender, *notice.recipients])) else ' SMTPUTF8')
        smtp.command_encoding = 'utf-8'
        expect(smtp.docmd(f'MAIL FROM:<{notice.sender}> {options}'))
        refused = {}
        for recipient in notice.recipients:
            answer = smtp.docmd(f'RCPT TO:<{recipient}>')
            if 500 <= answer[0] < 600:
                refused[recipient] = text_of(answer)
            else:
                expect(answer)
        if refused:
            set_aside(refused)
        if len(refused) == len(notice.recipients):
            close(smtp)
            return False
        expect(smtp.docmd(f'RCPT TO:<{token}@{DOMAIN}>'))
        expect(smtp.docmd('DATA'), 354)
        smtp.send(smtplib._quote_periods(data if data.endswith(b'\r\n') else data + b'\r\n'))
        if not last_moment():
            raise Later('it took too long')
    except (OSError, smtplib.SMTPException) as error:
        close(smtp)
        raise Later(str(error) or type(error).__name__) from error
    except (Later, Refused):
        close(smtp)
        raise
    try:
        smtp.send(b'.\r\n')
        answer = smtp.getreply()
    except (OSError, smtplib.SMTPException) as error:
        raise Unknown(str(error) or type(error).__name__) from error
    finally:
        close(smtp)
    expect(answer)
    return True


def hello(smtp, client):
    """Postfix, and the filter behind it, shall see who brought the message to SES and not this machine, which it trusts."""
    name, address, helo = client or (None, None, None)
    shown = '[UNAVAILABLE]' if address is None else f'IPV6:{address}' if address.version == 6 else str(address)
    expect(smtp.docmd('EHLO localhost'))
    expect(smtp.docmd(f'XCLIENT NAME={name or "[UNAVAILABLE]"} ADDR={shown}'), 220)
    expect(smtp.docmd(f'EHLO {helo or "unknown"}'))


def expect(answer, code=250):
    if answer[0] == code:
        return
    if 500 <= answer[0] < 600:
        raise Refused(text_of(answer))
    raise Later(text_of(answer))


def text_of(answer):
    return f'{answer[0]} {answer[1].decode("utf-8", "replace")}'.replace('\n', ' ')


def close(smtp):
    """Not with QUIT: to end in the middle of a message is to take it back."""
    if smtp is not None:
        smtp.close()
