package backends

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"

	"github.com/akubra/akubra/internal/netio"
)

// tlsSocket is the socket below a TLS connection. crypto/tls does not reveal what it has read
// ahead, and peeking at the socket cannot tell a session ticket, which is not part of any response
// (RFC 8446 §4.6.1), from stray bytes. So look has crypto/tls itself read on, while Read gives it
// only what has already arrived.
//
// Only the owner of the connection may call look, and only while nobody reads or writes.
type tlsSocket struct {
	net.Conn
	sock    *netio.Socket // Conn's
	looking bool
	waits   bool               // while looking: wait for the rest of a record that has begun
	spoke   bool               // while looking: crypto/tls wanted to write an alert or the answer to a key update
	first   [len(closing)]byte // what the look read,
	nFirst  int                // so much

	// Position in the stream of records (RFC 8446 §5.1): bytes of the current header read so far,
	// then bytes left of what follows it.
	header [5]byte
	have   int
	left   int
}

func (s *tlsSocket) Read(p []byte) (n int, err error) {
	if s.looking && !(s.waits && s.inRecord()) {
		// After a timeout crypto/tls can still continue.
		if n, err = s.sock.ReceiveNow(p); n == 0 && err == nil {
			err = os.ErrDeadlineExceeded
		}
	} else {
		n, err = s.Conn.Read(p)
	}
	s.follow(p[:n])
	return n, err
}

// A look must not block, and a write might.
func (s *tlsSocket) Write(p []byte) (int, error) {
	if s.looking {
		s.spoke = true
		return 0, netio.ErrUnasked
	}
	return s.Conn.Write(p)
}

// follow records that p was read.
func (s *tlsSocket) follow(p []byte) {
	for len(p) > 0 {
		if s.left > 0 {
			n := min(s.left, len(p))
			s.left -= n
			p = p[n:]
			continue
		}
		n := copy(s.header[s.have:], p)
		s.have += n
		p = p[n:]
		if s.have == len(s.header) {
			s.have, s.left = 0, int(binary.BigEndian.Uint16(s.header[3:]))
		}
	}
}

// inRecord reports whether a record has been read only in part.
func (s *tlsSocket) inRecord() bool { return s.have > 0 || s.left > 0 }

// look returns nil if tc, the connection above s, has nothing pending: no decrypted data, nothing
// read ahead, nothing in the socket, not even part of a record or the end of the stream. With wait
// it waits for the rest of a record, until the read deadline.
func (s *tlsSocket) look(tc *tls.Conn, wait bool) error {
	s.looking, s.waits, s.spoke = true, wait, false
	n, err := tc.Read(s.first[:])
	s.looking, s.nFirst = false, n
	switch {
	case n > 0 || s.spoke:
		return netio.ErrUnasked
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case s.inRecord():
		return netio.ErrUnasked
	}
	return nil
}

// lookAtNew is look for a connection that has just been made. What arrives right after a handshake
// is most likely a session ticket, so it waits for the rest of it.
func (s *tlsSocket) lookAtNew(ctx context.Context, tc *tls.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = s.SetReadDeadline(time.Unix(1, 0)) })
	err := s.look(tc, true)
	if !stop() {
		return ctx.Err()
	}
	return err
}
