package body

import "time"

// Sizes and times found by measuring; each names its entry in bench/NOTES.md. Those that concern
// the client's connection (how much is read first, how long to wait for more) are in the engine's
// sizes.go.
const (
	// lazyStart is how much of a body must arrive before the readers start, unless the client makes
	// the writer wait: small objects need a single write per backend. See "Launching the legs of a
	// small body as soon as the client pauses", which was slower.
	lazyStart = 64 << 10

	// MinGathered is the smallest body worth a pipe's system calls when it arrives without waiting:
	// "Gathering from 40 KiB on".
	MinGathered = 40 << 10

	// gatherTime is how long a message may take to arrive while its readers wait, each occupying a
	// slot of the limiter, if the client never pauses for long: "Gathering in a pipe what comes
	// without a pause".
	gatherTime = 20 * time.Millisecond

	// MinSpliced is how much of a body must be left for pipes to be worth their system calls if it
	// has not all arrived: "Pipes for large bodies: splice and tee", and "Pipes with a goroutine a
	// backend from 32 KiB on".
	MinSpliced = 256 << 10

	// MinHeld is the smallest send whose end may be held back until a packet is full. It is large
	// enough that a full packet goes out first, whose acknowledgement releases the end if nothing
	// follows for a while: a TCP packet holds less than 64 KiB (RFC 791 §3.1). "Packets of large
	// bodies are filled across steps", and the same for large responses.
	MinHeld = 64 << 10

	// SendPiece is the most that one write hands to a socket; after each write the ring's room is
	// free again. "Writes of up to 256 KiB instead of 64 KiB"; larger ones were slower ("A ring of
	// 1 MiB for large bodies").
	SendPiece = 256 << 10

	// nearlyFull is so little room that writing a small chunk might have to wait for more.
	nearlyFull = 1 << 10

	// TLSPiece is the same over TLS, where a write that times out ruins the connection. It is one
	// record (RFC 8446 §5.1), so that any progress of a slow backend is a finished write (R11). It
	// was not measured.
	TLSPiece = 16 << 10

	// ShortMessage is the largest message that the kernel takes and delivers in one piece. It is
	// gone by the time anybody could ask, so it needs no guard. It was not measured.
	ShortMessage = 16 << 10

	// tail is the most that is read rather than moved in one go on the way through pipes: a rest
	// smaller than the server's buffer always goes through that buffer. It was not measured.
	tail = 64 << 10
)
