package text

import (
	"net"
	"net/netip"
)

// Dialable returns the address to connect to for a listener at addr, which may mean all addresses.
func Dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip, _ := netip.ParseAddr(host); err != nil || host != "" && !ip.IsUnspecified() {
		return addr
	}
	return net.JoinHostPort("127.0.0.1", port)
}
