"""A message as SES stored it, and as Postfix gets it: without what could be taken for our own words, and with those."""
import ipaddress
import re

# What SES says in headers stands in its notice too, where nobody else can write. `Return-Path` is Dovecot's to add.
OURS = re.compile(rb'(x-inbound-verdict|x-ses-(spam|virus)-verdict|return-path)$', re.IGNORECASE)
RESULTS = re.compile(rb'authentication-results$', re.IGNORECASE)
LINES = re.compile(rb'[^\n]+\n?(?:[ \t][^\n]*\n?)*')
NAME = re.compile(rb'([!-9;-~]+)[ \t]*:')
# The top line of SES: from HELO (NAME [ADDRESS]) by inbound-smtp.REGION.amazonaws.com with SMTP id MESSAGE ID …
RECEIVED = re.compile(
    r'from (\S+) \((?:(\S+) )?\[(?:IPv6:)?([0-9A-Fa-f:.]+)\]\)\s+by inbound-smtp\.[a-z0-9.-]+\s+with E?SMTPS?A? id (\S+)', re.IGNORECASE
)
RESULT = {'PASS': 'pass', 'FAIL': 'fail', 'GRAY': 'none', 'PROCESSING_FAILED': 'temperror'}


class Message:
    def __init__(self, data):
        # A bare LF would be the end of a line for some, and not for others.
        self.fields, self.body = split(re.sub(rb'(?<!\r)\n', b'\r\n', data))

    def client(self, message_id):
        """(name, address, HELO) of who brought it to SES, None where SES does not say. Only the line that names SES's own id is SES's."""
        for name, whole in self.fields[:3]:
            if name.lower() != b'received':
                continue
            found = RECEIVED.match(re.sub(r'\s+', ' ', value_of(whole)).strip())
            if not found or found[4].rstrip(';') != message_id:
                return None
            try:
                return found[2] if host(found[2]) else None, ipaddress.ip_address(found[3]), found[1] if host(found[1]) else None
            except ValueError:
                return None
        return None

    def for_postfix(self, notice, hostname):
        results = '; '.join(
            f'{name}={RESULT.get(notice.verdicts[name], "none")}{detail}'
            for name, detail in (('spf', f' smtp.mailfrom={quoted(notice.sender)}' if notice.sender else ''), ('dkim', ''), ('dmarc', ''))
        )
        added = [f'Authentication-Results: {hostname}; {results}\r\n']
        if notice.junk:
            added.append('X-Inbound-Verdict: junk\r\n')
        kept = [whole for name, whole in self.fields if not OURS.match(name) and not (RESULTS.match(name) and claims(value_of(whole), hostname))]
        return ''.join(added).encode() + b''.join(kept) + self.body


def split(data):
    """Fields of the header as (name, whole), and the rest from the empty line on. What is no field has no name: readers differ on what it ends."""
    end = 0 if data.startswith(b'\r\n') else data.find(b'\r\n\r\n') + 2
    head = data[:end] if end != 1 else data
    fields = [(found[1] if (found := NAME.match(lines)) else b'', lines) for lines in LINES.findall(head)]
    return fields, data[len(head) :]


def claims(value, hostname):
    """Whether the results claim to be ours or SES's (RFC 8601, 5)."""
    # Comments and the version may stand around the name.
    name = re.sub(r'\([^()]*\)', ' ', value).split(';')[0].split()
    return bool(name) and name[0].strip('"').lower() in (hostname.lower(), 'amazonses.com')


def value_of(whole):
    return whole.partition(b':')[2].decode('ascii', 'replace')


def host(text):
    return bool(text) and re.fullmatch(r'[A-Za-z0-9._\[\]:-]{1,255}', text) is not None


def quoted(address):
    return address if re.fullmatch(r'[A-Za-z0-9.!#$&*+/=?^_{|}~@-]+', address) else '"' + re.sub(r'["\\]', '', address) + '"'
