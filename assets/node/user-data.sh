#!/bin/bash
# First boot of a node: write its environment, fetch the bundle, run it. What is between @ signs is filled in when the
# stack is synthesised. Running it again gives the same result.
set -euo pipefail
umask 022

install -d /etc/mail-platform
cat >/etc/mail-platform/env.new <<'END_OF_ENVIRONMENT'
@ENVIRONMENT@
END_OF_ENVIRONMENT
mv -f /etc/mail-platform/env.new /etc/mail-platform/env
# shellcheck source=/dev/null
set -a && . /etc/mail-platform/env && set +a
@LIFETIME@

# The route to S3 and the role's credentials may come some seconds after the first process.
rm -rf /opt/mail-platform.new /opt/mail-platform.zip
for attempt in {1..90}; do
  aws s3 cp --only-show-errors 's3://@BUNDLE@' /opt/mail-platform.zip && break
  [ "$attempt" -lt 90 ] || { echo 'mail-platform: could not fetch s3://@BUNDLE@' >&2 && exit 1; }
  sleep 1
done
python3 -m zipfile -e /opt/mail-platform.zip /opt/mail-platform.new

# Complete or not there: a half unpacked bundle never gets the name that units refer to.
rm -rf /opt/mail-platform && mv /opt/mail-platform.new /opt/mail-platform
rm -f /opt/mail-platform.zip
exec bash /opt/mail-platform/@SCRIPT@
