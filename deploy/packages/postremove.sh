#!/bin/sh
# After the files have gone. Only dpkg knows "purge".
set -e
case "$1" in
remove | purge | 0)
	if [ -d /run/systemd/system ]; then
		systemctl --system daemon-reload || true
	fi
	;;
esac
if [ "$1" = purge ]; then
	rm -rf /var/log/akubra
	# The journal knows which acknowledged writes a backend still lacks: nobody else does. So it
	# is not the package's to delete, and its owner stays.
	for left in /var/lib/akubra /etc/akubra; do
		rmdir "$left" 2>/dev/null || true
		[ ! -e "$left" ] || echo "akubra: left as it is: $left. To delete it: rm -r $left"
	done
fi
