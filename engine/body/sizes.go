package body

import "time"

// The sizes and times that were found by measuring, each with its entry in bench/NOTES.md.
// Those of a client's connection (how much is read at first, how long is waited for more)
// stand beside it.
const (
	// LazyStart is how much of a body is waited for before the readers start, unless the
	// client keeps it waiting: small objects need a single write per backend. "Launching
	// the legs of a small body as soon as the client pauses" is what was lost otherwise.
	LazyStart = 64 << 10

	// MinGathered is the smallest body that is worth a pipe's system calls when nothing
	// has to be waited for: "Gathering from 40 KiB on".
	MinGathered = 40 << 10

	// GatherTime is how long a message may take to arrive while its readers wait for it,
	// each in a slot of the limiter, where the client never pauses for long: "Gathering in
	// a pipe what comes without a pause".
	GatherTime = 20 * time.Millisecond

	// MinSpliced is how much of a body has to be left for pipes to be worth their system
	// calls where not all of it is there: "Pipes for large bodies: splice and tee", and
	// "Pipes with a goroutine a backend from 32 KiB on".
	MinSpliced = 256 << 10

	// MinHeld is how much goes out at once for its end to be held back until a packet is
	// full: a full one goes out before it for sure, whose acknowledgement lets it go if
	// nothing follows for a while. A TCP packet holds less than 64 KiB (RFC 791 §3.1).
	// "Packets of large bodies are filled across steps", and the same of large answers.
	MinHeld = 64 << 10

	// SendPiece is the most that one write hands to a socket: the ring's room is free
	// again after each. "Writes of up to 256 KiB instead of 64 KiB"; larger ones were lost
	// ("A ring of 1 MiB for large bodies").
	SendPiece = 256 << 10

	// TLSPiece is the same over TLS, where a write that times out spoils the connection:
	// it is one record (RFC 8446 §5.1), so that any progress of a slow backend is a
	// finished write (R11). It was not measured.
	TLSPiece = 16 << 10

	// ShortMessage is one that the kernel takes and hands over in a piece: it has gone by
	// the time that anybody asks, and needs no guard. It was not measured.
	ShortMessage = 16 << 10

	// tail is the most that is read at a time, rather than moved, of what comes in pipes:
	// less than the server's buffer is always read by way of that. It was not measured.
	tail = 64 << 10
)
