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

// tlsSocket is the socket below a TLS connection. crypto/tls does not tell what it has
// read ahead, and a peek at the socket cannot tell a session ticket, which is nobody's
// answer (RFC 8446 §4.6.1), from stray bytes. So look has crypto/tls itself read on,
// while Read gives it only what is there already.
//
// Only who holds the connection may call look, while nobody reads or writes.
type tlsSocket struct {
	net.Conn
	sock    *netio.Socket // Conn's
	looking bool
	waits   bool    // looking, and the rest of a record that has begun is waited for
	spoke   bool    // looking, crypto/tls wanted to write: an alert, or an answer to a key update
	first   [1]byte // what it gave, if anything

	// Where in the stream of records (RFC 8446 §5.1) Read is: so many bytes of a
	// header, then so many left of what follows it.
	header [5]byte
	have   int
	left   int
}

func (s *tlsSocket) Read(p []byte) (n int, err error) {
	if s.looking && !(s.waits && s.inRecord()) {
		// A timeout is what crypto/tls can go on after.
		if n, err = s.sock.ReceiveNow(p); n == 0 && err == nil {
			err = os.ErrDeadlineExceeded
		}
	} else {
		n, err = s.Conn.Read(p)
	}
	s.follow(p[:n])
	return n, err
}

// A look must not wait, as a write may have to.
func (s *tlsSocket) Write(p []byte) (int, error) {
	if s.looking {
		s.spoke = true
		return 0, netio.ErrUnasked
	}
	return s.Conn.Write(p)
}

// follow notes that p was read.
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

// inRecord reports whether only a part of a record was read.
func (s *tlsSocket) inRecord() bool { return s.have > 0 || s.left > 0 }

// look returns nil if tc, which is above s, has nothing to give: neither decrypted, nor
// read ahead, nor in the socket, be it a part of a record or the peer's end. With wait
// it waits for the rest of a record, until the read deadline.
func (s *tlsSocket) look(tc *tls.Conn, wait bool) error {
	s.looking, s.waits, s.spoke = true, wait, false
	n, err := tc.Read(s.first[:])
	s.looking = false
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

// lookAtNew is look for a connection that has just been made. What comes right behind a
// handshake is most likely a session ticket, so that the rest of it is waited for.
func (s *tlsSocket) lookAtNew(ctx context.Context, tc *tls.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = s.SetReadDeadline(time.Unix(1, 0)) })
	err := s.look(tc, true)
	if !stop() {
		return ctx.Err()
	}
	return err
}
