#!/bin/sh
# Before an rpm's files are written: one of them belongs to the group akubra.
set -e
getent group akubra >/dev/null || groupadd --system akubra
getent passwd akubra >/dev/null ||
	useradd --system --gid akubra --home-dir /var/lib/akubra --no-create-home --shell /usr/sbin/nologin --comment Akubra akubra
