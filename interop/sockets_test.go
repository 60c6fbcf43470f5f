package interop

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// socket is one end of a connection, as the kernel shows it.
type socket struct {
	local, remote int // ports
	state         string
	unread        bool // it has bytes that its process has not read
	unsent        bool // or bytes that the other end's kernel has not taken
}

const (
	established = "01"
	closeWait   = "08" // the other end has closed, this one has not
)

// sockets lists those of 127.0.0.1 that a server at one of these addresses has, on
// either end.
func sockets(t *testing.T, addrs ...string) []socket {
	t.Helper()
	var ports []int
	for _, addr := range addrs {
		ports = append(ports, port(addr))
	}
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []socket
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 || !strings.Contains(fields[1], ":") {
			continue
		}
		unsent, unread, _ := strings.Cut(fields[4], ":")
		s := socket{hexPort(fields[1]), hexPort(fields[2]), fields[3], strings.Trim(unread, "0") != "", strings.Trim(unsent, "0") != ""}
		if s.remote != 0 && (slices.Contains(ports, s.local) || slices.Contains(ports, s.remote)) {
			all = append(all, s)
		}
	}
	return all
}

func port(addr string) int {
	n, _ := strconv.Atoi(addr[strings.LastIndexByte(addr, ':')+1:])
	return n
}

func hexPort(addr string) int {
	n, _ := strconv.ParseInt(addr[strings.LastIndexByte(addr, ':')+1:], 16, 32)
	return int(n)
}

// awaitArrival waits until n requests are under way in the proxy and all that their
// clients have sent has gone as far as it can: what a frozen store does not take
// stays where it is.
func (w *world) awaitArrival(t *testing.T, p *proxy, n int, frozen *store) {
	t.Helper()
	p.await(t, fmt.Sprintf("%d requests are in flight", n), func(s status) bool {
		// The other store may have refused some already, as of parts of uploads that
		// are not its own.
		return s.InFlight == n || frozen != nil && s.InFlight >= n*3/4
	})
	var last []socket
	still := 0 // looks at which nothing had moved
	p.process.await(t, "all has arrived", func(context.Context) bool {
		now := sockets(t, p.addr, w.stores[0].addr, w.stores[1].addr)
		slices.SortFunc(now, func(a, b socket) int { return cmp.Or(a.local-b.local, a.remote-b.remote) })
		if still++; !slices.Equal(now, last) {
			still = 0
		}
		last = now
		return still >= 3 && (frozen != nil || !slices.ContainsFunc(now, func(s socket) bool {
			return s.state == established && (s.unread || s.unsent)
		}))
	})
}

// awaitQuiet waits until a store does nothing any more about connections that have
// ended: it holds none of them, and no file that it was writing.
func (s *store) awaitQuiet(t *testing.T) {
	t.Helper()
	var last string
	s.process.await(t, s.String()+" is quiet", func(context.Context) bool {
		last = ""
		for _, k := range sockets(t, s.addr) {
			if k.local == port(s.addr) && (k.state == closeWait || k.unread) {
				last = fmt.Sprintf("%+v", k)
				return false
			}
		}
		last = s.writing(t)
		return last == ""
	}, &last)
}

// writing is a file of objects that the store has open.
func (s *store) writing(t *testing.T) string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", s.process.cmd.Process.Pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name, err := os.Readlink(filepath.Join(dir, f.Name()))
		if err != nil || !strings.HasPrefix(name, s.dir+"/") || s.kind == minio && !strings.Contains(name, ".minio.sys/tmp") {
			continue // closed meanwhile, or no object
		}
		if info, err := os.Stat(filepath.Join(dir, f.Name())); err == nil && info.Mode().IsRegular() {
			return name
		}
	}
	return ""
}
