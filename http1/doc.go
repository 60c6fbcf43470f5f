// Package http1 reads what HTTP/1.1 says (RFC 9112): heads, fields, framing. What it gives
// are spans of the bytes that it was given, which it neither keeps nor changes. Only a
// ChunkReader reads for itself.
//
// CutField, which reads a request's fields, forgives nothing (R8); Answer.Parse bears what
// backends are known to send.
package http1
