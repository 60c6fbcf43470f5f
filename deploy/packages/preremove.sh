#!/bin/sh
# Before the files go. dpkg says "remove", rpm 0; at an upgrade nothing stops here.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl --no-reload disable --now akubra.socket akubra-admin.socket akubra.service || true
	fi
	;;
esac
