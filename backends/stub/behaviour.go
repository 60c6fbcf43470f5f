package stub

import "math"

// Behaviour is what a request meets. The zero value is a storage that works.
// The fields stand in the order in which they come to matter.
type Behaviour struct {
	// Continue says whether "100 Continue" is sent once the head is there.
	Continue Continue

	// ReadRate and WriteRate, in bytes a second, slow down the reading of the
	// body and the writing of the answer. A ReadRate shrinks the connection's
	// receive buffer too, for good, so that the sender feels it.
	ReadRate, WriteRate int

	// During is what happens once After bytes of the body were read; with 0
	// that is right after the head. A body that ends before is met with the
	// rest of the Behaviour alone.
	During During
	After  int64

	// Store says whether the request has its effect in the store. Only a body
	// that arrived whole ever has.
	Store Store

	// Interim are the 1xx answers sent before the final one.
	Interim []int

	// HangAfterBody waits for Unhang before the answer; Gate, unless nil, for
	// its being closed. A peer that leaves meanwhile is noticed (Request.Gone).
	HangAfterBody bool
	Gate          <-chan struct{}

	// Raw is sent instead of everything below, byte for byte, up to Cut.
	Raw []byte

	// Status, unless 0, replaces the answer's status. A 2xx keeps the headers and
	// body of the normal answer; any other one comes with S3's error document.
	Status int
	// Headers replace those of the same name, and are added otherwise, in their
	// order, repeated ones too. With a Content-Length or Transfer-Encoding
	// among them none is added.
	Headers Headers
	// Body, unless nil, replaces the answer's body.
	Body []byte
	// Chunked sends the body in chunks of at most ChunkSize; NoLength sends it
	// as HTTP/1.0 without a length, ended by closing.
	Chunked, NoLength bool
	// Spaces is the number of blanks sent before the body, a chunk and a packet
	// each (R25). It implies Chunked.
	Spaces int
	// BodyGate, unless nil, is waited for after the head and the Spaces.
	BodyGate <-chan struct{}

	// Cut is what happens in the middle of the answer, after CutAt bytes of its
	// body (not counting Spaces): NoAnswer and MidHead are before that, WholeBody
	// is after the body, but before its last chunk.
	Cut   Cut
	CutAt int64

	// Then is what becomes of the connection after a whole answer.
	Then Then
}

// ChunkSize is the size of the chunks of a chunked answer.
const ChunkSize = 8 << 10

// Continue is the way with "Expect: 100-continue".
type Continue int

// The zero value answers 100 where the head asks for it, and During does not
// come first.
const (
	ContinueIfAsked Continue = iota
	ContinueAlways
	ContinueNever
)

// During is what happens in the middle of a request's body.
type During int

// The answers given in mid-body (R9) have status 403 unless Status says
// otherwise, and store nothing.
const (
	ReadOn         During = iota
	HangThere             // read no further until Unhang, then go on
	CloseThere            // close; with bytes unread the system makes it a reset
	ResetThere            // close with a reset
	AnswerAndClose        // answer with "Connection: close", and close as above
	AnswerAndFin          // the same, but send a FIN and read until the peer closes
	AnswerAndStop         // answer, read no further until Unhang, then drain
	AnswerAndDrain        // answer, read the rest, keep the connection
)

// Store says whether a request has its effect in the store.
type Store int

// The zero value stores where the answer is to be a 2xx.
const (
	StoreByStatus Store = iota
	StoreAlways         // a failure is told, though the write was done
	StoreNever          // success is told, though nothing was done
)

// Cut is what happens in the middle of an answer.
type Cut int

// What a Cut can be.
const (
	NoCut    Cut = iota
	CutClose     // FIN
	CutReset     // RST
	CutHang      // wait for Unhang, then send the rest
)

// Special values of CutAt.
const (
	NoAnswer  int64 = -2            // before the first byte
	MidHead   int64 = -1            // after half of the head
	WholeBody int64 = math.MaxInt64 // after the body, before its last chunk
)

// Then is what becomes of a connection after a whole answer.
type Then int

// The zero value keeps the connection, unless the request says otherwise.
const (
	KeepOpen Then = iota
	SayClose      // "Connection: close", and close
	FinAfter      // close without a word: the peer's pooled connection is stale (R12)
	DropNext      // read the next request's head, and close without an answer (R12)
)

// Fails answers every request with the status, after reading it whole.
func Fails(status int) Behaviour { return Behaviour{Status: status} }

// TruncatesChunked sends chunked answers and closes before the last chunk.
func TruncatesChunked() Behaviour {
	return Behaviour{Chunked: true, Cut: CutClose, CutAt: WholeBody}
}

// ErrorIn200 answers 200, blanks, and then an error document, storing nothing
// (R25).
func ErrorIn200(code string) Behaviour {
	return Behaviour{Status: 200, Store: StoreNever, Spaces: 3, Body: errorDocument(code)}
}

// Behave sets what all later requests meet.
func (s *Server) Behave(b Behaviour) {
	s.BehaveFunc(func(*Request) Behaviour { return b })
}

// BehaveFunc sets what all later requests meet, by their heads. f may be called
// by several connections at once.
func (s *Server) BehaveFunc(f func(*Request) Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always = f
}

// BehaveNext queues what the next requests meet, one each, before what Behave
// says is heeded again.
func (s *Server) BehaveNext(b ...Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = append(s.next, b...)
}

// choose picks the Behaviour for a request, of which r is a copy.
func (s *Server) choose(r *Request) Behaviour {
	s.mu.Lock()
	if len(s.next) > 0 {
		b := s.next[0]
		s.next = s.next[1:]
		s.mu.Unlock()
		return b
	}
	f := s.always
	s.mu.Unlock()
	if f == nil {
		return Behaviour{}
	}
	return f(r)
}
