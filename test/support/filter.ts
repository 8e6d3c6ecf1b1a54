/** Of rspamd's controller, on a node. */
export const CONTROLLER = '/run/rspamd/controller.sock';

/** https://spamassassin.apache.org/gtube/ */
export const GTUBE = 'XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X';

/** https://www.eicar.org/download-anti-malware-testfile/, in two parts so that no scanner takes this file for one. */
export const EICAR = ['X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR', '-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*'].join('');

/** Waits on a node until rspamd answers: its first start takes 12 s of a processor, which a busy machine may not have. */
export const RSPAMD_ANSWERS = `for i in {1..600}; do curl -sf --unix-socket ${CONTROLLER} http://localhost/ping && test -S /run/rspamd/milter.sock && exit; sleep 0.3; done; journalctl -u rspamd -n 10 -o cat; exit 1`;

/** Waits on a node until ClamAV answers. */
export const CLAMD_ANSWERS = 'for i in {1..120}; do test -S /run/clamav/clamd.ctl && exit; sleep 0.5; done; exit 1';

/** Gives a node signatures of viruses: one, that of the test virus. */
export const INSTALL_SIGNATURE =
  `install -d /var/lib/clamav; printf 'Eicar-Test-Signature:0:*:%s\\n' ${Buffer.from(EICAR).toString('hex')} >/var/lib/clamav/eicar.ndb; ` +
  'chmod 0644 /var/lib/clamav/eicar.ndb';
