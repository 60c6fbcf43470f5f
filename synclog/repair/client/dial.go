package client

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// dialer makes connections that always end in a reset, also at the end of a killed
// process: there are storages that take a FIN, or a close_notify of TLS, in the middle of
// an object for its end, and store the part (R31). Whoever closes a connection of an HTTP
// transport does not tell whether something is on it; for an idle one a reset does no harm.
type dialer struct {
	net.Dialer
	tls *tls.Config // may be nil
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			_ = nc.Close()
			return nil, err
		}
	}
	return nc, nil
}

// dialTLS shakes hands as well, within the timeout.
func (d *dialer) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	config := d.tls.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	tc := tls.Client(nc, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return resetTLS{tc}, nil
}

// resetTLS is a TLS connection that is closed below its records. That it is no *tls.Conn
// any more keeps the transport from HTTP/2, which is not spoken here.
type resetTLS struct{ *tls.Conn }

func (c resetTLS) Close() error {
	_ = c.SetDeadline(time.Unix(1, 0)) // a Read or Write under way ends
	return c.NetConn().Close()
}
