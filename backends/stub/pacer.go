package stub

import (
	"net"
	"time"
)

// pacesASecond is how many pieces a slowed second is divided into.
const pacesASecond = 50

// pacer slows one direction of a connection down to a rate. Only the connection's goroutine uses
// it.
type pacer struct {
	nc   *net.TCPConn
	down <-chan struct{}
	rate int // bytes a second; 0 means full speed
	free time.Time
	late time.Duration // how late the last wait ended, so that a busy machine does not lower the rate
}

func (p *pacer) Read(b []byte) (int, error) {
	if p.rate > 0 && len(b) > p.piece() {
		b = b[:p.piece()]
	}
	n, err := p.nc.Read(b)
	p.pace(n)
	return n, err
}

func (p *pacer) Write(b []byte) (n int, err error) {
	for p.rate > 0 && len(b)-n > p.piece() {
		m, err := p.nc.Write(b[n : n+p.piece()])
		n += m
		if err != nil {
			return n, err
		}
		p.pace(m)
	}
	m, err := p.nc.Write(b[n:])
	p.pace(m)
	return n + m, err
}

func (p *pacer) piece() int { return max(1, p.rate/pacesASecond) }

// pace waits for as long as n bytes take at the rate.
func (p *pacer) pace(n int) {
	if p.rate <= 0 || n <= 0 {
		return
	}
	if now := time.Now().Add(-p.late); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	wait := time.NewTimer(time.Until(p.free))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-p.down:
	}
	p.late = max(0, time.Since(p.free))
}
