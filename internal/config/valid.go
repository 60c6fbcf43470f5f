package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// parseBackend accepts scheme://host[:port], optionally followed by a slash: the client's request
// target is sent unchanged (R2).
func parseBackend(s string) (*url.URL, error) {
	switch {
	case s == "":
		return nil, errors.New("it is empty")
	case strings.ContainsAny(s, " \t"):
		return nil, errors.New("a space is not allowed")
	case strings.Contains(s, ","):
		return nil, errors.New("a comma is not allowed; each backend is an element of the list")
	case bareIPv6.MatchString(s):
		return nil, errors.New("an IPv6 address stands in brackets, as in http://[::1]:9000")
	case schemeless(s):
		return nil, fmt.Errorf("it has no scheme, as in http://%s or https://%s", s, s)
	}
	u, err := url.Parse(s)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok && !strings.Contains(s, "@") {
			return nil, ue.Err
		}
		return nil, errors.New("it is not a URL") // quotes nothing, because there may be a password
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the scheme is neither http nor https")
	case u.User != nil:
		return nil, errors.New("a user name and password are not allowed")
	case u.Host == "" && u.Path != "":
		return nil, errors.New("it has no host; two slashes come before it")
	case u.Path != "" && u.Path != "/":
		return nil, errors.New("a path is not allowed")
	case u.RawQuery != "" || u.ForceQuery:
		return nil, errors.New("a query is not allowed")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return nil, errors.New("a fragment is not allowed")
	case !validHost(u.Hostname()) || shortAddress(u.Hostname()):
		return nil, errors.New("the host is neither a host name nor an IP address")
	case u.Port() == "" && strings.HasSuffix(u.Host, ":"), u.Port() != "" && !validPort(u.Port(), 1):
		return nil, errors.New(decimally(u.Port(), "the port is not from 1 to 65535"))
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// bareIPv6 matches an IPv6 address that stands where a host does, without brackets.
var bareIPv6 = regexp.MustCompile(`^([A-Za-z]+://)?[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*/?$`)

// schemeless reports whether s is a URL without its scheme: host or host:port. url.Parse would take
// the host for a scheme or a path.
func schemeless(s string) bool {
	s = strings.TrimSuffix(s, "/")
	if s == "" || strings.ContainsAny(s, "/@?# ") {
		return false
	}
	if host, port, err := net.SplitHostPort(s); err == nil {
		return validHost(host) && validPort(port, 1)
	}
	return validHost(s)
}

// shortAddress reports whether a host merely looks like an IP address: some systems take 127.1 for
// an address, others for a name.
func shortAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && endsInNumber.MatchString(host)
}

var endsInNumber = regexp.MustCompile(`(^|\.)(\d+|0[xX][0-9a-fA-F]*)$`)

// backendAddress is the address that is dialed, in a canonical spelling.
func backendAddress(u *url.URL) string {
	return net.JoinHostPort(hostSpelling(u.Hostname()), backendPort(u))
}

func backendPort(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// hostSpelling is a canonical spelling of a host, as far as that is known without asking anybody:
// all names of this machine's loopback are the same.
func hostSpelling(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		if addr.IsUnspecified() || addr == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || addr == netip.IPv6Loopback() {
			return "localhost"
		}
		return addr.String()
	}
	return host
}

// ownAddress reports whether a request to the backend u would reach the listener at listen and so
// loop. local are this machine's addresses and names.
func ownAddress(listen string, u *url.URL, local []string) bool {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" || port != backendPort(u) {
		return false
	}
	backend := hostSpelling(u.Hostname())
	if allAddresses(host) {
		addr, err := netip.ParseAddr(backend)
		return backend == "localhost" || err == nil && addr.IsLoopback() || slices.Contains(local, backend)
	}
	return hostSpelling(host) == backend
}

// localNames are this machine's addresses and names.
func localNames() (names []string) {
	addrs, _ := net.InterfaceAddrs() // what is unknown is not compared
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			names = append(names, hostSpelling(n.IP.String()))
		}
	}
	if name, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(name, ".")
		names = append(names, hostSpelling(name), hostSpelling(short))
	}
	return names
}

// sameBackend reports whether a and b are two spellings of one backend's URL.
func sameBackend(a, b string) bool {
	ua, errA := parseBackend(a)
	ub, errB := parseBackend(b)
	return errA == nil && errB == nil && ua.Scheme == ub.Scheme && backendAddress(ua) == backendAddress(ub)
}

// validAlgorithm reports whether name may be that of a congestion control (Linux's
// TCP_CA_NAME_MAX).
func validAlgorithm(name string) bool { return algorithmName.MatchString(name) }

var algorithmName = regexp.MustCompile(`^[a-z0-9_-]{1,15}$`)

func validAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	return err == nil && (host == "" || validHost(host)) && validPort(port, 0)
}

// sameAddress reports whether two listeners would conflict.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return unmapped(hostA) == unmapped(hostB) || allAddresses(hostA) || allAddresses(hostB)
}

// unmapped is a canonical spelling of a host that is listened on. What localhost is depends on the machine.
func unmapped(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String()
	}
	return strings.ToLower(host)
}

func allAddresses(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || host == "0" || err == nil && addr.Unmap().IsUnspecified()
}

func validPort(port string, least uint64) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n >= least && isDecimal(port) // :080 and :80 would not look like one address
}

func validHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || hostName.MatchString(host) && len(host) <= 253
}

// validDomain rejects IP addresses: there is no bucket.127.0.0.1.
func validDomain(domain string) bool {
	_, err := netip.ParseAddr(domain)
	return err != nil && validHost(domain)
}

// validBucket reports whether name can be a bucket's, on any backend.
func validBucket(name string) bool { return bucketName.MatchString(name) }

var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$`)

// hostName has labels of up to 63 characters. DNS does not allow underscores, but they occur.
var hostName = regexp.MustCompile(`^` + label + `(\.` + label + `)*$`)

const label = `[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?`

// ownHeaders must not be added: they are hop-by-hop (R2), frame a message, or say where it goes.
var ownHeaders = []string{
	"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade", "expect", "host", "content-length",
}

var token = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func validToken(s string) bool { return token.MatchString(s) }

// validHeaderValue reports whether s may be a header value (RFC 9110 §5.5).
func validHeaderValue(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == strings.Trim(s, " \t")
}
