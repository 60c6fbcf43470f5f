package stub

import "math"

// Behaviour is how the stub treats a request. The zero value works properly. The fields are in the
// order in which they take effect.
type Behaviour struct {
	// Continue says whether "100 Continue" is sent after the head has arrived.
	Continue Continue

	// ReadRate and WriteRate, in bytes a second, slow down reading the body and writing the
	// response. A ReadRate also shrinks the connection's receive buffer for good, so that the
	// sender notices.
	ReadRate, WriteRate int

	// During happens once After bytes of the body have been read; 0 means right after the head. If
	// the body ends before that, only the rest of the Behaviour applies.
	During During
	After  int64

	// Store says whether the request takes effect in the store. Only a body that arrived completely
	// ever does.
	Store Store

	// Interim are the 1xx responses sent before the final one.
	Interim []int

	// HangAfterBody waits for Unhang before the response; Gate, unless nil, is waited for until it
	// is closed. A peer that leaves meanwhile is noticed (Request.Gone).
	HangAfterBody bool
	Gate          <-chan struct{}

	// Raw is sent instead of everything below, byte for byte, up to Cut.
	Raw []byte

	// Status, unless 0, replaces the response's status. A 2xx keeps the headers and body of the
	// normal response; any other status comes with S3's error document.
	Status int
	// Headers replace those of the same name and are otherwise added, in their order, including
	// repeated ones. If they contain a Content-Length or Transfer-Encoding, none is added.
	Headers Headers
	// Body, unless nil, replaces the response's body.
	Body []byte
	// Chunked sends the body in chunks of at most ChunkSize; NoLength sends it as HTTP/1.0 without
	// a length, ended by closing the connection.
	Chunked, NoLength bool
	// Spaces is the number of spaces sent before the body, each in a chunk and a packet of its own
	// (R25). It implies Chunked.
	Spaces int
	// BodyGate, unless nil, is waited for after the head and the Spaces.
	BodyGate <-chan struct{}

	// Cut is what happens in the middle of the response, after CutAt bytes of its body (not
	// counting Spaces). NoAnswer and MidHead come before that; WholeBody is after the body but
	// before its last chunk.
	Cut   Cut
	CutAt int64

	// Then is what happens to the connection after a complete response.
	Then Then
}

// ChunkSize is the size of the chunks of a chunked response.
const ChunkSize = 8 << 10

// Continue is how "Expect: 100-continue" is treated.
type Continue int

// The zero value sends 100 if the head asks for it, unless During comes first.
const (
	ContinueIfAsked Continue = iota
	ContinueAlways
	ContinueNever
)

// During is what happens in the middle of a request's body.
type During int

// Responses given in the middle of a body (R9) have status 403 unless Status is set, and store
// nothing.
const (
	ReadOn         During = iota
	HangThere             // read no further until Unhang, then continue
	CloseThere            // close; with bytes unread the system makes it a reset
	ResetThere            // close with a reset
	AnswerAndClose        // answer with "Connection: close", and close as above
	AnswerAndFin          // the same, but send a FIN and read until the peer closes
	AnswerAndStop         // answer, read no further until Unhang, then drain
	AnswerAndDrain        // answer, read the rest, keep the connection
)

// Store says whether a request takes effect in the store.
type Store int

// The zero value stores if the response is to be a 2xx.
const (
	StoreByStatus Store = iota
	StoreAlways         // reports a failure although the write was done
	StoreNever          // reports success although nothing was done
)

// Cut is what happens in the middle of a response.
type Cut int

// The values of Cut.
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

// Then is what happens to a connection after a complete response.
type Then int

// The zero value keeps the connection, unless the request says otherwise.
const (
	KeepOpen Then = iota
	SayClose      // "Connection: close", and close
	FinAfter      // close without announcing it: the peer's pooled connection is stale (R12)
	DropNext      // read the next request's head, and close without an answer (R12)
)

// Fails answers every request with the status, after reading all of it.
func Fails(status int) Behaviour { return Behaviour{Status: status} }

// TruncatesChunked sends chunked responses and closes before the last chunk.
func TruncatesChunked() Behaviour {
	return Behaviour{Chunked: true, Cut: CutClose, CutAt: WholeBody}
}

// ErrorIn200 answers with 200, spaces and then an error document, and stores nothing (R25).
func ErrorIn200(code string) Behaviour {
	return Behaviour{Status: 200, Store: StoreNever, Spaces: 3, Body: errorDocument(code)}
}

// Behave sets the behaviour for all later requests.
func (s *Server) Behave(b Behaviour) {
	s.BehaveFunc(func(*Request) Behaviour { return b })
}

// BehaveFunc sets the behaviour for all later requests as a function of their heads. Several
// connections may call f at once.
func (s *Server) BehaveFunc(f func(*Request) Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always = f
}

// BehaveNext queues behaviours for the next requests, one each. They take precedence over Behave.
func (s *Server) BehaveNext(b ...Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = append(s.next, b...)
}

// choose picks the Behaviour for a request; r is a copy of it.
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
