// Package text has small helpers for text that several packages need: sizes in bytes as people
// write them, the known name nearest to a mistyped one, escaping for log lines and terminals, and
// request targets without their secrets (R37).
//
// Everything in it is a pure function of its arguments, may be called from any goroutine, and
// imports no other package of the project.
package text
