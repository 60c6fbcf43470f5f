// Package link is a long, narrow way to a backend, in this process: a relay of TCP connections with a delay, a
// rate and a queue that all of them share, for each direction, loss, and cuts of which nobody is told. All of
// that can be changed while it runs. It needs no rights.
//
// It is made so that its connections behave as TCP's do over a real link: each begins with a small window that
// doubles with each round trip, up to what the link takes; its sender has small segments, so that the system
// sets no more memory aside for what was written than over a real link; and a packet that is lost is there a
// round trip late, with all that the connection has sent after it. Loss does not make it slower beyond that:
// so it is with BBR, and not with CUBIC or Reno.
package link

import (
	"cmp"
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Direction is one direction of the way.
type Direction struct {
	Delay time.Duration
	Rate  int64 // bytes a second; 0 is no limit
	// Queue is how many bytes of all connections wait before the rate takes them; who sends more has to wait.
	// 0 is 256 KiB.
	Queue int
	// Loss is the share of packets that are lost.
	Loss float64
}

const (
	segment     = 1448           // bytes of a packet
	firstWindow = 10 * segment   // RFC 6928
	leastWindow = 64 << 10       // of what a window grows up to
	parcelSize  = firstWindow    // bytes that go together
	mostWindow  = int64(4 << 20) // where no rate says what the link takes
	mostParcels = 1 << 10        // on their way on one connection: more than the window has room for
	usualQueue  = 256 << 10
)

// Link is a relay to one address. Any goroutine may call its methods.
type Link struct {
	target string
	ln     net.Listener
	there  lane
	back   lane

	mu    sync.Mutex
	up    chan struct{}    // closed while the link is whole
	conns map[net.Conn]int // their numbers; 0: on the far side
	born  int              // connections so far
	lost  int              // the last one of those that were forgotten
	ended chan struct{}
	done  sync.WaitGroup
}

// lane is one direction.
type lane struct {
	is      atomic.Pointer[Direction]
	mu      sync.Mutex
	free    time.Time // when its rate is
	carried atomic.Int64
}

// New listens on a port of its own, and relays to target, and back, until Close.
func New(target string, there, back Direction) (*Link, error) {
	config := net.ListenConfig{Control: limitSegments}
	config.SetMultipathTCP(false) // its sockets have no filters (drop)
	ln, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Link{target: target, ln: ln, up: make(chan struct{}), ended: make(chan struct{}), conns: map[net.Conn]int{}}
	l.Set(there, back)
	close(l.up)
	l.done.Go(l.accept)
	return l, nil
}

// Set changes what the way is like. What is on its way already arrives as it would have.
func (l *Link) Set(there, back Direction) {
	there.Queue, back.Queue = cmp.Or(there.Queue, usualQueue), cmp.Or(back.Queue, usualQueue)
	l.there.is.Store(&there)
	l.back.is.Store(&back)
}

// Is tells what the way is like.
func (l *Link) Is() (there, back Direction) { return *l.there.is.Load(), *l.back.is.Load() }

// Addr is where to connect to.
func (l *Link) Addr() string { return l.ln.Addr().String() }

// Carried is how many bytes have gone to the target, and from it.
func (l *Link) Carried() (there, back int64) { return l.there.carried.Load(), l.back.carried.Load() }

// Cut stops everything, of which neither side is told: connections stay as they are, and new ones get no
// answer; on Linux the system does not acknowledge any more what the near side sends. Mend ends it.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wholeLocked() {
		l.up = make(chan struct{})
		l.dropLocked(true, 0)
	}
}

// dropLocked has the system throw away what comes from the near side, of all connections after number, or take it
// again.
func (l *Link) dropLocked(on bool, number int) {
	for c, n := range l.conns {
		if n > number {
			dropOf(c, on)
		}
	}
	dropOf(l.ln, on)
}

func dropOf(socket any, on bool) {
	if raw, err := socket.(syscall.Conn).SyscallConn(); err == nil { //nolint:forcetypeassert // both are of package net
		drop(raw, on)
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
	l.dropLocked(false, l.lost)
	close(l.up)
}

// Whole reports whether it is not cut.
func (l *Link) Whole() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wholeLocked()
}

func (l *Link) wholeLocked() bool {
	select {
	case <-l.up:
		return true
	default:
		return false
	}
}

// Flap cuts the link and mends it, each for a time between least and most, until stop is closed or the link is. It
// begins and ends with a whole one.
func (l *Link) Flap(least, most time.Duration, stop <-chan struct{}) {
	t := time.NewTimer(0)
	defer t.Stop()
	<-t.C
	defer l.Mend(false)
	for {
		for _, turn := range []func(){func() { l.Mend(false) }, l.Cut} {
			turn()
			t.Reset(least + time.Duration(rand.Float64()*float64(most-least))) //nolint:gosec // no secret
			select {
			case <-t.C:
			case <-stop:
				return
			case <-l.ended:
				return
			}
		}
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

// hold reports whether a connection can be used. Close ends it.
func (l *Link) hold(c net.Conn, near bool) (number int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ended:
		_ = c.Close()
		return 0, false
	default:
	}
	if near {
		l.born++
		number = l.born
		if !l.wholeLocked() { // it has come just before the cut
			dropOf(c, true)
		}
	}
	l.conns[c] = number
	return number, true
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
		if number, ok := l.hold(c, true); ok {
			l.done.Go(func() { l.relay(c, number) })
		}
	}
}

// relay carries one connection.
func (l *Link) relay(near net.Conn, number int) {
	defer l.drop(near)
	l.pass(number)
	far, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	if _, ok := l.hold(far, false); !ok {
		return
	}
	defer l.drop(far)
	for _, c := range []net.Conn{near, far} { // what waits is to wait here
		_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)  //nolint:forcetypeassert // of net.Listen and net.Dial
		_ = c.(*net.TCPConn).SetWriteBuffer(64 << 10) //nolint:forcetypeassert // the same
	}
	var both sync.WaitGroup
	both.Go(func() { l.carry(near, far, &l.there, &l.back, number) })
	both.Go(func() { l.carry(far, near, &l.back, &l.there, number) })
	both.Wait()
}

// parcel is what arrives at some time.
type parcel struct {
	data []byte
	at   time.Time
	err  error
}

// flow is what one connection has sent in one direction.
type flow struct {
	mu     sync.Mutex
	freed  sync.Cond
	under  int64 // bytes that the other side has not acknowledged
	window int64
}

// begin waits until the window has room, and returns how much.
func (f *flow) begin() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.under >= f.window {
		f.freed.Wait()
	}
	return f.window - f.under
}

func (f *flow) sent(n int) {
	f.mu.Lock()
	f.under += int64(n)
	f.mu.Unlock()
}

// acknowledged makes room, and the window larger.
func (f *flow) acknowledged(n int, most int64) {
	f.mu.Lock()
	f.under -= int64(n)
	f.window = min(f.window+int64(n), most)
	f.mu.Unlock()
	f.freed.Signal()
}

// carry moves bytes from one side to the other, by a lane; what acknowledges them comes by the opposite one.
func (l *Link) carry(from, to net.Conn, lane, opposite *lane, number int) {
	f := &flow{window: firstWindow}
	f.freed.L = &f.mu
	parcels := make(chan parcel, mostParcels)
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
				n := len(p.data)
				back := opposite.is.Load().Delay
				time.AfterFunc(back, func() { f.acknowledged(n, lane.window(back)) })
			}
			if p.err != nil {
				l.end(to, p.err)
				return
			}
		}
		l.end(from, io.ErrClosedPipe)
		f.acknowledged(math.MaxInt32, math.MaxInt64) // who waits for room is to see that
		for range parcels {
			continue
		}
	})
	var last time.Time
	for {
		buf := make([]byte, min(parcelSize, f.begin()))
		n, err := from.Read(buf)
		l.pass(number)
		f.sent(n)
		at := lane.take(n).Add(lane.is.Load().Delay)
		if lane.loses(n) { // it is known a round trip later, or so, and comes again
			at = at.Add(lane.is.Load().Delay + opposite.is.Load().Delay)
		}
		if at.Before(last) {
			at = last
		}
		last = at
		select {
		case parcels <- parcel{buf[:n], at, err}:
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

// window is how large that of a connection becomes: twice what is on its way at that rate, as BBR has it.
func (l *lane) window(back time.Duration) int64 {
	d := l.is.Load()
	if d.Rate <= 0 {
		return mostWindow
	}
	return max(2*int64((d.Delay+back).Seconds()*float64(d.Rate)), leastWindow)
}

// loses reports whether one of the packets of n bytes is lost.
func (l *lane) loses(n int) bool {
	loss := l.is.Load().Loss
	return loss > 0 && rand.Float64() < 1-math.Pow(1-loss, math.Ceil(float64(n)/segment)) //nolint:gosec // no secret
}

// take is when n bytes have gone that come now. It waits while the queue is full, each for those before it.
func (l *lane) take(n int) time.Time {
	l.carried.Add(int64(n))
	l.mu.Lock()
	defer l.mu.Unlock()
	now, d := time.Now(), l.is.Load()
	if d.Rate <= 0 {
		return now
	}
	if full := d.takes(d.Queue); l.free.Sub(now) > full {
		time.Sleep(l.free.Sub(now) - full)
		now = time.Now()
	}
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(d.takes(n))
	return l.free
}

// takes is how long n bytes take at the rate.
func (d *Direction) takes(n int) time.Duration {
	return time.Duration(float64(n) / float64(d.Rate) * float64(time.Second))
}
