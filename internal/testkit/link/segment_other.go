//go:build !unix

package link

import "syscall"

func limitSegments(_, _ string, _ syscall.RawConn) error { return nil }
