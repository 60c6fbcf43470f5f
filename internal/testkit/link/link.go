// Package link is a long, narrow way to a backend, in this process: a relay of TCP connections with a delay, a
// rate that all of them share, a queue, and cuts of which nobody is told. It needs no rights. It loses no
// packets: what TCP makes of loss is seen over a real link only.
package link

import (
	"io"
	"net"
	"sync"
	"time"
)

// Options describe the way.
type Options struct {
	Delay time.Duration // each direction
	Rate  int64         // bytes a second, each direction; 0 is no limit
	// Queue is how many bytes wait before the rate takes them; who sends more has to wait. 0 is 256 KiB.
	Queue int
}

// Link is a relay to one address. Any goroutine may call its methods.
type Link struct {
	o      Options
	target string
	ln     net.Listener
	there  lane
	back   lane

	mu    sync.Mutex
	up    chan struct{} // closed while the link is whole
	conns map[net.Conn]struct{}
	born  int // connections so far
	lost  int // the last one of those that were forgotten
	ended chan struct{}
	done  sync.WaitGroup
}

// lane is one direction: when its rate is free again.
type lane struct {
	mu   sync.Mutex
	free time.Time
}

// New listens on a port of its own, and relays to target until Close.
func New(target string, o Options) (*Link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if o.Queue == 0 {
		o.Queue = 256 << 10
	}
	l := &Link{o: o, target: target, ln: ln, up: make(chan struct{}), ended: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(l.up)
	l.done.Go(l.accept)
	return l, nil
}

// Addr is where to connect to.
func (l *Link) Addr() string { return l.ln.Addr().String() }

// Cut stops everything, of which neither side is told: connections stay as they are, and new ones get no
// answer. Mend ends it.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wholeLocked() {
		l.up = make(chan struct{})
	}
}

// Mend makes it whole again. With forgetful, a middlebox has forgotten the connections: they stay silent
// for good.
func (l *Link) Mend(forgetful bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wholeLocked() {
		return
	}
	if forgetful {
		l.lost = l.born
	}
	close(l.up)
}

func (l *Link) wholeLocked() bool {
	select {
	case <-l.up:
		return true
	default:
		return false
	}
}

// Close ends it, with every connection.
func (l *Link) Close() {
	_ = l.ln.Close()
	l.mu.Lock()
	close(l.ended)
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.done.Wait()
}

// pass waits until the link lets something of a connection pass.
func (l *Link) pass(number int) {
	for {
		l.mu.Lock()
		up, lost := l.up, number <= l.lost
		l.mu.Unlock()
		if lost {
			<-l.ended
			return
		}
		select {
		case <-up:
		case <-l.ended:
			return
		}
		l.mu.Lock()
		still := up == l.up && number > l.lost
		l.mu.Unlock()
		if still {
			return
		}
	}
}

func (l *Link) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ended:
		_ = c.Close()
		return false
	default:
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Link) drop(c net.Conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	_ = c.Close()
}

func (l *Link) accept() {
	for {
		c, err := l.ln.Accept()
		if err != nil {
			return
		}
		if l.hold(c) {
			l.mu.Lock()
			l.born++
			number := l.born
			l.mu.Unlock()
			l.done.Go(func() { l.relay(c, number) })
		}
	}
}

// relay carries one connection.
func (l *Link) relay(near net.Conn, number int) {
	defer l.drop(near)
	l.pass(number)
	far, err := net.Dial("tcp", l.target)
	if err != nil || !l.hold(far) {
		return
	}
	defer l.drop(far)
	for _, c := range []net.Conn{near, far} { // what waits is to wait here
		_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)  //nolint:forcetypeassert // of net.Listen and net.Dial
		_ = c.(*net.TCPConn).SetWriteBuffer(64 << 10) //nolint:forcetypeassert // the same
	}
	var both sync.WaitGroup
	both.Go(func() { l.carry(near, far, &l.there, number) })
	both.Go(func() { l.carry(far, near, &l.back, number) })
	both.Wait()
}

// parcel is what arrives at some time.
type parcel struct {
	data []byte
	at   time.Time
	err  error
}

const parcelSize = 16 << 10

// carry moves bytes from one side to the other.
func (l *Link) carry(from, to net.Conn, lane *lane, number int) {
	parcels := make(chan parcel, max(l.o.Queue/parcelSize, 1))
	gone := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		defer close(gone)
		for p := range parcels {
			time.Sleep(time.Until(p.at))
			l.pass(number)
			if len(p.data) > 0 {
				if _, err := to.Write(p.data); err != nil {
					break
				}
			}
			if p.err != nil {
				l.end(to, p.err)
				return
			}
		}
		l.end(from, io.ErrClosedPipe)
		for range parcels {
			continue
		}
	})
	for {
		buf := make([]byte, parcelSize)
		n, err := from.Read(buf)
		l.pass(number)
		at := lane.take(n, l.o.Rate)
		select {
		case parcels <- parcel{buf[:n], at.Add(l.o.Delay), err}:
		case <-gone:
			err = io.ErrClosedPipe
		}
		if err != nil {
			break
		}
	}
	close(parcels)
	sending.Wait()
}

// end passes on how a side has ended: in the ordinary way, or by a reset.
func (l *Link) end(c net.Conn, err error) {
	tcp := c.(*net.TCPConn) //nolint:forcetypeassert // as above
	if err == io.EOF {
		_ = tcp.CloseWrite()
		return
	}
	_ = tcp.SetLinger(0)
	_ = tcp.Close()
}

// take is when n bytes have gone that come now.
func (l *lane) take(n int, rate int64) time.Time {
	now := time.Now()
	if rate <= 0 {
		return now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return l.free
}
