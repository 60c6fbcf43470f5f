package engine

import (
	"bytes"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// R25: an answer that comes late begins early.

func pulsing(o *Options, _ *limiter.Options) { o.answerPulse = 5 * time.Millisecond }

const (
	copyResult = xml.Header + `<CopyObjectResult><ETag>&quot;e&quot;</ETag></CopyObjectResult>`
	partResult = xml.Header + `<CopyPartResult><ETag>&quot;e&quot;</ETag></CopyPartResult>`
)

// document checks that body is one as parsers want it, and returns its element.
func document(t *testing.T, body []byte) (root, code string) {
	t.Helper()
	if !bytes.HasPrefix(body, []byte("<?xml")) && bytes.Contains(body, []byte("<?xml")) {
		t.Fatalf("something stands before the declaration: %q", body)
	}
	if bytes.Count(body, []byte("<?xml")) > 1 {
		t.Fatalf("two declarations: %q", body)
	}
	var doc struct {
		XMLName xml.Name
		Code    string
	}
	if err := xml.Unmarshal(body, &doc); err != nil {
		t.Fatalf("%v: %q", err, body)
	}
	return doc.XMLName.Local, doc.Code
}

// waits reads the head of an answer that is late, and the declaration and some white
// space of its body.
func waits(t *testing.T, c *stub.Client) *stub.Answer {
	t.Helper()
	a, err := c.ReadHeadTo("")
	testkit.MustDo(t, err)
	wantStatus(t, a, 200)
	if a.Length >= 0 {
		t.Fatalf("its length is %d", a.Length)
	}
	want := xml.Header + "   "
	if got, err := c.ReadSome(a, len(want)); string(got) != want || err != nil {
		t.Fatalf("it begins with %q, %v", got, err)
	}
	return a
}

func TestR25LateAnswerBeginsEarly(t *testing.T) {
	t.Parallel()
	begun := func(b stub.Behaviour, gate chan struct{}) stub.Behaviour {
		b.Status, b.Spaces, b.BodyGate = 200, 2, gate
		return b
	}
	silent := func(b stub.Behaviour, gate chan struct{}) stub.Behaviour {
		b.Gate = gate
		return b
	}
	errorDoc := []byte(xml.Header + "<Error><Code>InternalError</Code><Message>m</Message></Error>")
	for _, tt := range []struct {
		name    string
		request func(r *rig) (request string, to []int) // and the stores that it goes to
		late    func(stub.Behaviour, chan struct{}) stub.Behaviour
		answer  stub.Behaviour
		root    string
		code    string
	}{
		{"copy", copyOf, begun, stub.Behaviour{Body: []byte(copyResult)}, "CopyObjectResult", ""},
		{"copy, silent", copyOf, silent, stub.Behaviour{Body: []byte(copyResult)}, "CopyObjectResult", ""},
		{"copy, no declaration", copyOf, silent, stub.Behaviour{Body: []byte("\n<CopyObjectResult/>")}, "CopyObjectResult", ""},
		{"copy, an error", copyOf, begun, stub.Behaviour{Store: stub.StoreNever, Body: errorDoc}, "Error", "InternalError"},
		{"copy, refused", copyOf, silent, stub.Fails(403), "Error", "AccessDenied"},
		{"copy, refused without a document", copyOf, silent, stub.Behaviour{Status: 502, Body: []byte("<html>no</html>")}, "Error", "BadGateway"},
		{"copy, broken off", copyOf, begun, stub.Behaviour{Store: stub.StoreNever, Cut: stub.CutClose, CutAt: 0}, "Error", "ServiceUnavailable"},
		{"copy of a part", partCopyOf, begun, stub.Behaviour{Body: []byte(partResult)}, "CopyPartResult", ""},
		{"copy of a part, refused", partCopyOf, silent, stub.Fails(412), "Error", "PreconditionFailed"},
		{"completion", completion, begun, stub.Behaviour{}, "CompleteMultipartUploadResult", ""},
		{"completion, silent", completion, silent, stub.Behaviour{}, "CompleteMultipartUploadResult", ""},
		{"completion, an error", completion, begun, stub.Behaviour{Store: stub.StoreNever, Body: errorDoc}, "Error", "InternalError"},
		{"completion, no answer", completion, silent, stub.Behaviour{Store: stub.StoreNever, Cut: stub.CutClose, CutAt: stub.NoAnswer}, "Error", "ServiceUnavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, pulsing, logged)
			request, to := tt.request(r)
			gate := make(chan struct{})
			for _, i := range to {
				r.stores[i].Behave(tt.late(tt.answer, gate))
			}
			r.log.mu.Lock()
			before := len(r.log.access)
			r.log.mu.Unlock()
			c := r.dial()
			c.Send(request)
			a := waits(t, c)
			close(gate)
			testkit.MustDo(t, c.ReadBody(a))
			root, code := document(t, a.Body)
			if root != tt.root || code != tt.code && code != "SlowDown" {
				t.Errorf("it is %s %s: %q", root, code, a.Body)
			}
			r.settled()
			r.log.mu.Lock()
			logs := r.log.access[before:]
			r.log.mu.Unlock()
			if len(logs) != 1 || logs[0].Status != 200 || logs[0].BytesOut != int64(len(a.Body)) {
				t.Errorf("the access log says %+v of %d bytes", logs, len(a.Body))
			}
			for _, s := range r.stores {
				s.Behave(stub.Behaviour{})
			}
			wantStatus(t, c.Do(requestFor("GET", "/")), 200) // on the same connection
			if tt.code == "" && len(to) == 1 && tt.name == "completion" && len(r.journal.owing()) != 1 {
				t.Errorf("owed: %+v", r.journal.owing())
			}
		})
	}
}

func copyOf(r *rig) (string, []int) {
	for _, s := range r.stores {
		s.Put("/b/src", []byte("source"))
	}
	return copyRequest("/b/k", "/b/src"), []int{0, 1}
}

func partCopyOf(r *rig) (string, []int) {
	id, owner := r.initiate("/b/k")
	r.stores[owner].Put("/b/src", []byte("source"))
	return copyRequest("/b/k?partNumber=1&uploadId="+id, "/b/src"), []int{owner}
}

func completion(r *rig) (string, []int) {
	id, owner := r.initiate("/b/k")
	etag := r.uploadPart("/b/k", id, 1, "part")
	return completeRequest("/b/k", id, etag), []int{owner}
}

// What comes in time has its own status, length and headers, also where it comes in two.
func TestR25AnswerInTimeIsAsItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2) // with the pulse of everyday
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{Status: 200, Headers: stub.H("x-amz-version-id", "v"), Body: []byte(copyResult)})
	}
	a := r.dial().Do(copyRequest("/b/k", "/b/src"))
	wantStatus(t, a, 200)
	if a.Length != int64(len(copyResult)) || a.Headers.Get("x-amz-version-id") != "v" {
		t.Errorf("the head is %s", a.RawHead)
	}
	for _, s := range r.stores {
		s.Behave(stub.Fails(412))
	}
	wantStatus(t, r.dial().Do(copyRequest("/b/k", "/b/src")), 412)
}

// The head of the only backend goes on, but for the length of what it announces.
func TestR25HeadOfTheOnlyBackend(t *testing.T) {
	t.Parallel()
	// With the pulse of everyday the backend's head has 20 s to come, and the client has it a second later.
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) {
		o.AdditionalResponseHeaders = map[string]string{"X-Added": "a"}
	})
	request, to := completion(r)
	gate := make(chan struct{})
	r.stores[to[0]].Behave(stub.Behaviour{Headers: stub.H("x-amz-version-id", "v", "Server", "s"), Spaces: 1, BodyGate: gate})
	c := r.dial()
	c.Send(request)
	a, err := c.ReadHeadTo("")
	testkit.MustDo(t, err)
	wantStatus(t, a, 200)
	if a.Length >= 0 {
		t.Errorf("its length is %d", a.Length)
	}
	if a.Headers.Get("x-amz-version-id") != "v" || a.Headers.Get("Server") != "s" || a.Headers.Get("X-Added") != "a" {
		t.Errorf("the head is %s", a.RawHead)
	}
	close(gate)
	testkit.MustDo(t, c.ReadBody(a))
}

// R20: the journal has the write before its answer's end goes out, not before its head.
func TestR20LateAnswerEndsAfterTheIntent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, pulsing)
	request, _ := copyOf(r)
	first, second := gated(t, r.stores[0]), gated(t, r.stores[1])
	asked, goOn := make(chan struct{}), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(letGo)
	hold := func([]Promise) {
		select {
		case asked <- struct{}{}:
			<-goOn
		case <-goOn:
		}
	}
	r.journal.promise.Store(&hold)
	c := r.dial()
	c.Send(request)
	a := waits(t, c)
	first()
	testkit.Receive(t, "who asks", asked)
	begun, read := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for err == nil && !bytes.Contains(a.Body, []byte("<Copy")) {
			_, err = c.ReadSome(a, 1)
		}
		close(begun)
		if err == nil {
			err = c.ReadBody(a)
		}
		read <- err
	}()
	select {
	case <-begun:
		t.Fatal("it went on before the journal had it")
	case <-time.After(50 * time.Millisecond): // time enough if it were on its way
	}
	letGo()
	testkit.MustDo(t, within(t, read))
	if root, _ := document(t, a.Body); root != "CopyObjectResult" {
		t.Errorf("body %q", a.Body)
	}
	if list := r.journal.owing(); len(list) != 1 || !list[0].Open || string(list[0].Key) != "k" {
		t.Errorf("owed: %+v", list)
	}
	second()
	r.settled()

	// What cannot be written down is no success.
	r.journal.broken.Store(true)
	first, second = gated(t, r.stores[0]), gated(t, r.stores[1])
	c = r.dial()
	c.Send(request)
	a = waits(t, c)
	first()
	testkit.MustDo(t, c.ReadBody(a))
	if root, code := document(t, a.Body); root != "Error" || code != "ServiceUnavailable" {
		t.Errorf("body %q", a.Body)
	}
	second()
	r.settled()
}

// A client that leaves while it waits does not end the write, nor leave anything behind.
func TestR25ClientLeavesALateAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, pulsing)
	request, _ := copyOf(r)
	first, second := gated(t, r.stores[0]), gated(t, r.stores[1])
	c := r.dial()
	c.Send(request)
	waits(t, c)
	c.Reset()
	r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	first()
	r.stores[1].Down()
	second()
	list := r.settledOwing()
	if len(list) != 1 || list[0].Owed != 0b10 || string(list[0].Key) != "k" {
		t.Fatalf("owed: %+v", list)
	}
}

// An HTTP/1.0 client cannot read chunks: the connection's end is the body's.
func TestR25LateAnswerToAnOldClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, pulsing)
	request, _ := copyOf(r)
	request = strings.Replace(request, "HTTP/1.1", "HTTP/1.0", 1)
	first, second := gated(t, r.stores[0]), gated(t, r.stores[1])
	c := r.dial()
	c.Send(request)
	a := waits(t, c)
	if a.Framing != stub.Unframed || a.Headers.Get("Connection") != "close" {
		t.Fatalf("the head is %s", a.RawHead)
	}
	first()
	second()
	testkit.MustDo(t, c.ReadBody(a))
	if root, _ := document(t, a.Body); root != "CopyObjectResult" {
		t.Errorf("body %q", a.Body)
	}
	r.settled()
}

// The same over TLS.
func TestR25LateAnswerOverTLS(t *testing.T) {
	t.Parallel()
	cert := httptest.NewTLSServer(nil) // it has one
	cert.Close()
	r := newRig(t, 2, pulsing, func(o *Options, _ *limiter.Options) {
		o.TLS = &tls.Config{Certificates: cert.TLS.Certificates}
	})
	request, _ := copyOf(r)
	first, second := gated(t, r.stores[0]), gated(t, r.stores[1])
	c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own
	testkit.MustDo(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, strings.Replace(request, "\r\n", "\r\nConnection: close\r\n", 1)); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for buf := make([]byte, 4<<10); !bytes.Contains(got, []byte("?>\n")); {
		n, err := c.Read(buf)
		if got = append(got, buf[:n]...); err != nil {
			t.Fatal(err)
		}
	}
	first()
	second()
	rest, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if !bytes.Contains(rest, []byte("CopyObjectResult>\r\n0\r\n\r\n")) {
		t.Fatalf("it goes on with %q", rest)
	}
	r.settled()
}

// A backend's white space is progress (R11): an answer may take as long as it likes.
func TestR11WhiteSpaceIsProgress(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.ConnectionTimeout = timeout })
	request, to := completion(r)
	// It is under way for longer than that, but there is something every 50 ms.
	r.stores[to[0]].Behave(stub.Behaviour{Spaces: 60, WriteRate: 120})
	begun := time.Now()
	a := r.dial().Do(request)
	wantStatus(t, a, 200)
	if root, _ := document(t, bytes.TrimLeft(a.Body, " ")); root != "CompleteMultipartUploadResult" {
		t.Fatalf("body %q", a.Body)
	}
	if took := time.Since(begun); took <= timeout {
		t.Errorf("it took no longer than %v", took)
	}
	r.settled()
}
