package health

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rig is a Health whose clock stands still unless it is moved.
type rig struct {
	*Health
	now    time.Time
	events []string
}

func newRig(names ...string) *rig {
	r := &rig{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r.Health = New(Options{
		Names: names, Now: func() time.Time { return r.now },
		Failing: func(e Event) {
			what := "still"
			if e.First {
				what = "first"
			}
			r.events = append(r.events, fmt.Sprintf("%s %s %s %d: %s", e.Name, what, e.Cause, e.Count, e.Error))
		},
		Over: func(e Event) {
			what := "forgotten"
			if e.Proven {
				what = "over"
			}
			r.events = append(r.events, fmt.Sprintf("%s %s %s %d in %v", e.Name, what, e.Cause, e.Count, e.For))
		},
	})
	return r
}

// pass lets time pass, with a Look each second.
func (r *rig) pass(d time.Duration, each func()) {
	for range d / time.Second {
		r.now = r.now.Add(time.Second)
		if each != nil {
			each()
		}
		r.Look(make([]Waiting, len(r.backends)))
	}
}

func (r *rig) want(t *testing.T, events ...string) {
	t.Helper()
	if !slices.Equal(r.events, events) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(r.events, "\n"), strings.Join(events, "\n"))
	}
	r.events = nil
}

var refused = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// A failure is reported at once, then once a minute with a count; its end is reported too.
func TestR36AtMostOnceAMinute(t *testing.T) {
	r := newRig("a", "b")
	fail := func() { r.Failed(1, true, refused, "no luck") }
	fail()
	r.want(t, "b first refused 1: no luck")
	r.pass(59*time.Second, fail)
	r.want(t)
	r.pass(2*time.Second, fail)
	r.want(t, "b still refused 60: no luck")
	r.pass(30*time.Second, nil)
	r.want(t) // nobody knows whether it works again
	r.Well(1, false)
	r.Look(make([]Waiting, 2))
	r.want(t, "b over refused 62 in 1m1s")
	s := r.StatusOf(1)
	if len(s.Failing) != 0 || s.LastError == nil || s.LastError.Error != "no luck" || s.LastError.Count != 62 || !s.LastError.Since.IsZero() || s.Errors[Refused] != 62 {
		t.Errorf("status %+v %+v", s, s.LastError)
	}
	if s := r.StatusOf(0); s.LastError != nil || s.Errors != nil {
		t.Errorf("the other one: %+v", s)
	}
	fail() // again: a first failure
	r.want(t, "b first refused 1: no luck")
	r.pass(59*time.Second, fail)
	r.want(t)
}

// R36: what was over and comes back is told at once, or the log's last word would be that it is over; not each time, if
// it comes and goes.
func TestR36ComesBack(t *testing.T) {
	expired := error(x509.CertificateInvalidError{Reason: x509.Expired})
	r := newRig("a")
	well := func() { r.pass(calm, func() { r.Well(0, true) }) }
	r.Failed(0, true, expired, "expired")
	r.Failed(0, true, expired, "expired")
	r.want(t, "a first tls 1: expired")
	well()
	r.want(t, "a over tls 2 in 0s")
	for range maxEarly {
		r.Failed(0, true, expired, "expired")
		r.want(t, "a first tls 1: expired")
		well()
		r.want(t, "a over tls 1 in 0s")
	}
	r.Failed(0, true, expired, "expired")
	well()
	r.want(t)
	r.Failed(0, true, expired, "expired")
	r.pass(remind, func() { r.Failed(0, true, expired, "expired") })
	r.want(t, "a first tls 55: expired")
	well()
	r.want(t, "a over tls 61 in 1m0s")
	r.Failed(0, true, expired, "expired")
	r.want(t, "a first tls 1: expired")
}

// R36: what fails for another reason of the same kind is told at once, too; not each time, if they come in turn.
func TestR36AnotherReason(t *testing.T) {
	unknown, expired := error(x509.UnknownAuthorityError{}), error(x509.CertificateInvalidError{Reason: x509.Expired})
	r := newRig("a")
	r.Failed(0, true, unknown, "unknown")
	r.Failed(0, true, unknown, "unknown")
	r.want(t, "a first tls 1: unknown")
	r.Failed(0, true, expired, "expired")
	r.Failed(0, true, expired, "expired")
	r.want(t, "a still tls 2: expired")
	for range 10 {
		r.Failed(0, true, unknown, "unknown")
		r.Failed(0, true, expired, "expired")
	}
	r.want(t, "a still tls 2: unknown")
	r.pass(remind, func() { r.Failed(0, true, expired, "expired") })
	r.want(t, "a still tls 79: expired")
}

// Something that fails every other time is failing: its end is not reported before it is calm.
func TestR36Flapping(t *testing.T) {
	r := newRig("a")
	r.pass(100*time.Second, func() {
		r.Answered(0, true, 503, "SlowDown")
		r.Well(0, true)
	})
	r.want(t, "a first overloaded 1: answered 503: SlowDown", "a still overloaded 60: answered 503: SlowDown")
	r.pass(calm, func() { r.Well(0, true) })
	if len(r.events) != 1 || !strings.HasPrefix(r.events[0], "a over overloaded 100 ") {
		t.Errorf("events %q", r.events)
	}
}

// A full disk fails writes but not reads, so successful reads do not end the failure.
func TestR36ReadsAreNoNewsOfWrites(t *testing.T) {
	r := newRig("a")
	r.Answered(0, true, 507, "")
	r.want(t, "a first full 1: answered 507")
	r.pass(30*time.Second, func() { r.Well(0, false) })
	r.want(t)
	r.pass(2*time.Second, func() { r.Well(0, true) })
	r.want(t, "a over full 1 in 0s")
	r.Answered(0, true, 500, "InternalError") // nobody writes any more
	r.events = nil
	r.pass(forgotten+time.Second, func() { r.Well(0, false) })
	r.want(t, "a forgotten error 1 in 0s")
}

// A client with wrong keys does not mean that the backend fails. A series of refusals does, and so
// does a single one of what another backend accepted.
func TestR36Denied(t *testing.T) {
	r := newRig("a", "b")
	for range 100 {
		for range deniedWrites - 1 {
			r.Answered(0, true, 403, "AccessDenied")
		}
		r.Well(0, true)
	}
	for range deniedReads - 1 {
		r.Answered(0, false, 403, "")
	}
	r.pass(time.Minute, nil)
	r.want(t)
	r.Answered(0, false, 403, "")
	r.want(t, "a first denied 1: answered 403")
	r.RefusedAlone("b", true, 403)
	r.want(t, "b first denied 1: answered 403 to what another backend took")
}

// What a client is to blame for, and missing features, are not failures.
func TestR36ClientsFaults(t *testing.T) {
	r := newRig("a")
	for _, status := range []int{400, 404, 409, 412, 416, 501} {
		r.Answered(0, true, status, "")
	}
	for _, code := range []string{"NoSuchKey", "InvalidPart", "PreconditionFailed"} {
		r.Answered(0, true, 200, code)
	}
	r.want(t)
	r.Answered(0, true, 200, "InternalError")
	r.want(t, "a first error 1: answered 200: InternalError")
}

func TestR36Causes(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("cannot connect to backend %q: %w", "b", err) }
	for _, c := range []struct {
		err   error
		cause Cause
		means string
	}{
		{refused, Refused, "refuses connections"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}, Name, "resolved"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}}, Name, "DNS"},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, Unreachable, "firewall"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, Unreachable, "network"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, TLS, "not signed by a trusted authority"},
		{&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}}, TLS, "another name"},
		{&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, TLS, "expired"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, TLS, "http://"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, TLS, "does not accept the proxy's client certificate"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: unknown certificate authority")}, TLS, "does not accept the proxy's client certificate"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, TLS, "wants a client certificate"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: protocol version not supported")}, TLS, "versions of TLS"},
		{errors.New("tls: server selected unsupported protocol version 302"), TLS, "versions of TLS"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}, TLS, "no TLS connection"},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, Reset, "closes"},
		{io.EOF, Reset, "closes"},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, Timeout, "does not answer"},
		{errors.New("malformed status line"), Answer, "not an HTTP response"},
	} {
		for _, err := range []error{c.err, wrap(c.err)} {
			if cause, means := ofError(err); cause != c.cause || !strings.Contains(means, c.means) {
				t.Errorf("%v: %s, %q; want %s, %q", err, cause, means, c.cause, c.means)
			}
		}
	}
	for _, c := range Causes {
		if meanings[c] == "" {
			t.Errorf("%s has no meaning", c)
		}
	}
}

// A backend whose last request went unanswered is probed, and is silent until it answers.
func TestR36Silent(t *testing.T) {
	r := newRig("a")
	if r.Doubtful(0) {
		t.Error("doubtful from the start")
	}
	r.Failed(0, true, refused, "no luck")
	if !r.Doubtful(0) || r.StatusOf(0).Silent {
		t.Error("not doubtful after a failure, or silent before anybody asked")
	}
	r.now = r.now.Add(time.Second)
	r.Unreached(0, refused)
	if !r.Doubtful(0) || !r.StatusOf(0).Silent {
		t.Error("not silent, or asked no more")
	}
	r.now = r.now.Add(time.Second)
	r.Reached(0)
	if r.Doubtful(0) || r.StatusOf(0).Silent {
		t.Error("silent after an answer")
	}
	r.Failed(0, true, io.EOF, "closed")
	r.now = r.now.Add(time.Second)
	r.Well(0, false)
	if r.Doubtful(0) {
		t.Error("doubtful after an answer")
	}
	r.pass(calm, nil)
	r.events = nil
	r.Look([]Waiting{{Requests: 3, Longest: slowAfter}})
	r.want(t, "a first slow 1: requests without progress, or behind the other backends: 3, one of them for 2s")
	if !r.Doubtful(0) {
		t.Error("not doubtful although nothing moves")
	}
	r.now = r.now.Add(time.Second)
	r.Answered(0, true, 404, "")
	if r.Doubtful(0) {
		t.Error("doubtful although it answers, slowly")
	}
}

// Where no client asks any more, a probe that was answered ends what nobody repeats: not at once, but
// long before it is forgotten.
func TestR36ProbeEndsWhatNobodyRepeats(t *testing.T) {
	for cause, err := range map[Cause]error{Reset: io.EOF, Timeout: os.ErrDeadlineExceeded, Answer: errors.New("no response")} {
		r := newRig("a")
		r.Failed(0, true, err, "no luck")
		r.pass(30*time.Second, nil)
		r.want(t, fmt.Sprintf("a first %s 1: no luck", cause)) // no probe has been answered
		r.Failed(0, true, err, "no luck")
		r.Reached(0)
		r.now = r.now.Add(time.Second)
		r.Reached(0)
		r.pass(proven-2*time.Second, nil)
		r.want(t) // it may be chance
		r.pass(2*time.Second, nil)
		r.want(t, fmt.Sprintf("a over %s 2 in 30s", cause))

		// What answers probes and fails requests is failing.
		r.pass(3*time.Minute, func() {
			if r.now.Second()%5 == 0 {
				r.Failed(0, true, err, "no luck")
			}
			r.Reached(0)
		})
		for _, e := range r.events {
			if strings.Contains(e, "over") {
				t.Errorf("%s: %q", cause, e)
			}
		}
	}
}

// What repair finds out counts where no client asks: one write that it gets through ends an error of the
// backend's, but says nothing of clients' keys; while it is refused, nothing is forgotten.
func TestR36RepairIsNewsOfWrites(t *testing.T) {
	r := newRig("a")
	r.Wrote(0) // nothing is the matter
	r.Answered(0, true, 500, "InternalError")
	r.want(t, "a first error 1: answered 500: InternalError")
	r.pass(10*time.Second, nil)
	r.Wrote(0)
	r.pass(time.Second, nil)
	r.want(t, "a over error 1 in 0s")

	r.Answered(0, false, 500, "") // a read
	r.Wrote(0)
	r.pass(forgotten-time.Second, nil)
	r.want(t, "a first error 1: answered 500") // a minute after the last one
	r.pass(2*time.Second, nil)
	r.want(t, "a forgotten error 1 in 0s")

	r.Answered(0, true, 507, "")
	r.Refused(0, 507, "StorageFull")
	r.want(t, "a first full 1: answered 507")
	r.pass(waiting-time.Second, nil) // until repair tries again
	r.want(t, "a still full 1: answered 507: StorageFull")
	r.Refused(0, 507, "StorageFull")
	r.events = nil
	r.pass(waiting-time.Second, nil)
	if s := r.StatusOf(0); !s.Is(Full) {
		t.Errorf("forgotten: %q", r.events)
	}
	r.Wrote(0)
	r.pass(time.Second, nil)
	r.want(t, "a over full 3 in 9m59s")

	r.RefusedAlone("a", true, 403)
	r.Refused(0, 403, "AccessDenied") // repair's own keys, not the clients'
	r.want(t, "a first denied 1: answered 403 to what another backend took")
	r.Wrote(0)
	r.pass(time.Minute, nil)
	r.want(t)
}

// A success costs no memory and no lock.
func TestWellAllocatesNothing(t *testing.T) {
	r := newRig("a")
	r.backends[0].mu.Lock() // would block
	if n := testing.AllocsPerRun(100, func() { r.Well(0, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.backends[0].mu.Unlock()
}

// R36: what one backend refuses and another one takes is told, in words that lead to the cause.
func TestR36RefusedAlone(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		times  int // until it is told; 0 is never
		cause  Cause
		means  string
	}{
		{403, "RequestTimeTooSkewed", 1, Denied, "its clock and the clients' are further apart than S3 allows: which one is wrong?"},
		{403, "SignatureDoesNotMatch", 1, Denied, "it does not accept the clients' signatures: are their secret keys and its region the same as on the other backends?"},
		{403, "AccessDenied", 1, Denied, meanings[Denied]},
		{301, "PermanentRedirect", 1, Refuses, "it redirects writes to another address: are its URL and region right?"},
		{307, "TemporaryRedirect", 1, Refuses, "it redirects writes to another address: are its URL and region right?"},
		{404, "NoSuchBucket", 1, Refuses, "it lacks a bucket that another backend has"},
		{400, "AuthorizationHeaderMalformed", 1, Refuses, "it expects another region in the clients' signatures than the other backends"},
		{405, "MethodNotAllowed", refusedAlone, Refuses, meanings[Refuses]},
		{400, "", refusedAlone, Refuses, meaningOfAnswer(Refuses, 400, "")},
		{404, "", refusedAlone, Refuses, meaningOfAnswer(Refuses, 404, "")},
		{501, "NotImplemented", 1, Unsupported, meanings[Unsupported]},
		{501, "", 1, Unsupported, meanings[Unsupported]},
		{200, "NotImplemented", 1, Unsupported, meanings[Unsupported]},
		{404, "NoSuchKey", 0, "", ""},
		{409, "OperationAborted", 0, "", ""},
		{412, "PreconditionFailed", 0, "", ""},
	} {
		r, heard := newRig("a", "b"), Event{}
		r.o.Failing = func(e Event) { heard = e }
		told := 0
		for n := 1; n <= 2*refusedAlone && told == 0; n++ {
			r.Answered(1, true, c.status, c.code)
			r.RefusedAlone("b", true, c.status)
			if heard.First {
				told = n
			}
		}
		if told != c.times || heard.Cause != c.cause || heard.Means != c.means {
			t.Errorf("%d %s: told after %d: %+v", c.status, c.code, told, heard)
		}
		if want := fmt.Sprintf("answered %d: %s to what another backend took", c.status, c.code); told > 0 && c.code != "" && heard.Error != want {
			t.Errorf("error %q, want %q", heard.Error, want)
		}
	}

	// A write that is taken ends it, a refusal that clients deserve does not; those in between count anew.
	r := newRig("a")
	refuse := func() { r.Answered(0, true, 405, ""); r.RefusedAlone("a", true, 405) }
	for range 3 * refusedAlone {
		refuse()
		refuse()
		r.Well(0, true)
	}
	r.want(t)
	for range refusedAlone {
		refuse()
	}
	r.want(t, "a first refuses 1: answered 405 to what another backend took")
	r.pass(5*time.Second, func() { r.Answered(0, true, 404, "NoSuchUpload"); r.Well(0, false) })
	r.want(t)
	r.Well(0, true)
	r.pass(4*time.Second, nil)
	r.want(t, "a over refuses 1 in 0s")
	if r.backends[0].watched.Load() {
		t.Error("it is still watched")
	}
}

// R36: a feature that one backend lacks is told once for as long as clients want it, whatever else it takes.
func TestR36UnsupportedAlone(t *testing.T) {
	r := newRig("a", "b")
	for range 3 {
		r.pass(10*time.Second, func() {
			r.Answered(0, true, 501, "NotImplemented")
			r.RefusedAlone("a", true, 501)
			r.Well(0, true)
		})
	}
	r.want(t, "a first unsupported 1: answered 501: NotImplemented to what another backend took")
	r.pass(forgotten+time.Second, func() { r.Well(0, true) })
	r.want(t, "a still unsupported 29: answered 501: NotImplemented to what another backend took", "a forgotten unsupported 30 in 29s")
	if r.backends[0].watched.Load() {
		t.Error("it is still watched")
	}
}

// R36: that there is no room, and that there are too many requests, is told as that, whatever the status.
func TestR36RoomAndLoadByCode(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		cause  Cause
	}{{403, "QuotaExceeded", Full}, {400, "XMinioAdminBucketQuotaExceeded", Full}, {429, "TooManyRequests", Overloaded}, {429, "", Overloaded}} {
		r := newRig("a")
		r.Answered(0, true, c.status, c.code)
		r.RefusedAlone("a", true, c.status)
		if s := r.StatusOf(0); !s.Is(c.cause) || len(s.Failing) != 1 {
			t.Errorf("%d %s: %+v", c.status, c.code, s)
		}
	}
}
