// Package text has the few helpers for text that several rooms of the proxy need: sizes
// in bytes as people write them, the known name nearest to a mistyped one, what keeps a
// log's line or a terminal whole, and request targets without their secrets (R37).
//
// Everything in it is a pure function of its arguments, may be called from any goroutine,
// and knows no other package of the project.
package text
