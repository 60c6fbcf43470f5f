// Package http1 reads what HTTP/1.1 says (RFC 9112): heads, fields, framing. What it gives
// are spans of the bytes that it was given; it waits for nothing and owns nothing.
//
// Everything here is pure, and may be called from any goroutine.
package http1
