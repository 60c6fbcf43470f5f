// Package http1 parses HTTP/1.1 (RFC 9112): heads, fields, framing. It returns spans of the bytes
// that it is given, which it neither keeps nor changes. Only a ChunkReader reads on its own.
//
// CutField, which parses a request's fields, forgives nothing (R8); Answer.Parse tolerates what
// backends are known to send.
package http1
