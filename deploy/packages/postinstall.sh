#!/bin/sh
# After the files are there. dpkg says "configure" and the version that was there before, if
# any; rpm 1 for an installation, 2 for an upgrade.
set -e

upgrade=
case "$1" in
configure)
	upgrade=$2
	getent passwd akubra >/dev/null ||
		adduser --quiet --system --group --home /var/lib/akubra --no-create-home --gecos Akubra akubra
	# The configuration has keys in it. Later its owner and mode are the administrator's.
	if [ -z "$upgrade" ]; then
		for file in /etc/akubra /etc/akubra/akubra.yaml; do
			dpkg-statoverride --list "$file" >/dev/null || chown root:akubra "$file"
		done
	fi
	;;
1) ;;
2) upgrade=yes ;;
*) exit 0 ;;
esac

# As systemd would make them: here for commands before the first start, and for other starters.
[ -e /var/lib/akubra ] || install -d -o akubra -g akubra -m 0700 /var/lib/akubra
[ -e /var/log/akubra ] || install -d -o akubra -g akubra -m 0750 /var/log/akubra

if [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload || true
	if [ -n "$upgrade" ]; then
		# akubra.socket stays: whoever connects meanwhile waits for the new proxy.
		systemctl try-restart akubra.service ||
			echo "akubra: cannot restart: see journalctl -u akubra" >&2
	fi
fi
if [ -z "$upgrade" ]; then
	echo "akubra: name the backends in /etc/akubra/akubra.yaml, then: systemctl enable --now akubra.socket akubra.service"
fi
