package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// locks are what storages say where a version is locked.
var locks = map[string]struct {
	status        int
	code, message string
}{
	"as AWS":       {403, "AccessDenied", "Access Denied"},
	"as versitygw": {403, "AccessDenied", "Access Denied because object protected by object lock."},
	"as MinIO":     {400, "InvalidRequest", "Object is WORM protected and cannot be overwritten"},
}

func errorBody(code, message string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>")
}

// listAnswer is what a storage says of versions: a code and a message of each that it keeps.
func listAnswer(kept ...string) stub.Behaviour {
	var b strings.Builder
	b.WriteString("<DeleteResult>")
	for _, k := range kept {
		f := strings.SplitN(k, " ", 3) // id, code, message
		fmt.Fprintf(&b, "<Error><Key>k</Key><VersionId>%s</VersionId><Code>%s</Code><Message>%s</Message></Error>", f[0], f[1], f[2])
	}
	b.WriteString("</DeleteResult>")
	return stub.Behaviour{Status: 200, Body: []byte(b.String())}
}

// A locked version that one backend keeps was not deleted by another one that does not know
// it, and so says yes, whichever of them is first.
func TestR28R35LockedVersionIsNotDeleted(t *testing.T) {
	t.Parallel()
	for name, lock := range locks {
		for _, log := range []bool{false, true} {
			for _, first := range []int{0, 1} {
				for _, chunked := range []bool{false, true} {
					t.Run(fmt.Sprint(name, first, log, chunked), func(t *testing.T) {
						t.Parallel()
						setups := []setup{decidedBy, patient}
						if log {
							setups = append(setups, logged)
						}
						r := newRig(t, 2, setups...)
						gate := make(chan struct{})
						refuses := stub.Behaviour{Status: lock.status, Body: errorBody(lock.code, lock.message), Chunked: chunked}
						says := []*stub.Behaviour{{Status: 204}, &refuses}
						says[1-first].Gate = gate
						for i, s := range r.stores {
							s.Behave(*says[i])
						}
						answers := make(chan *stub.Answer, 1)
						go func() { answers <- r.dial().Do(requestFor("DELETE", "/b/k?versionId=x")) }()
						r.legsEnded([]string{OutcomePositive, OutcomeNegative}[first], 1)
						close(gate)
						a := testkit.Receive(t, "an answer", answers)
						wantStatus(t, a, lock.status)
						if !strings.Contains(string(a.Body), lock.message) {
							t.Errorf("answer is %q", a.Body)
						}
						r.settled()
						if e := r.journal.newest("b", "k"); e.Seq != 0 && !e.Unacknowledged {
							t.Errorf("in the journal: %+v", e)
						}
					})
				}
			}
		}
	}
}

// patient is a setup in which a primary, and whoever is waited for like one, is given time.
func patient(o *Options, _ *limiter.Options) { o.PrimaryWait = time.Hour }

// Nobody is waited for for ever, nor does another refusal than a lock's count.
func TestR28DeletedVersion(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		other  stub.Behaviour
		status int
	}{
		"the other one hangs":            {stub.Behaviour{HangAfterBody: true}, 204},
		"the other one has no such":      {stub.Behaviour{Status: 404, Body: errorBody("NoSuchVersion", "")}, 204},
		"the other one takes no such id": {stub.Behaviour{Status: 400, Body: errorBody("InvalidArgument", "Invalid version id specified")}, 204},
		"the other one has other keys":   {stub.Behaviour{Status: 403, Body: errorBody("InvalidAccessKeyId", "")}, 204},
		"the other one says yes":         {stub.Behaviour{Status: 204}, 204},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, decidedBy, func(o *Options, _ *limiter.Options) { o.PrimaryWait = 20 * time.Millisecond })
			r.stores[0].Behave(tt.other)
			r.stores[1].Behave(stub.Behaviour{Status: 204})
			wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/k?versionId=x")), tt.status)
			if tt.other.HangAfterBody {
				r.awaitHeld(0)
			}
			r.stores[0].Unhang()
			r.settled()
		})
	}
}

// A backend that does not know the version has none of it left: the delete is acknowledged without its yes, also
// where WriteAck asks for more than one. Where it was not asked, or gave no answer, nobody knows.
func TestR28R3DeletedVersionForSeveral(t *testing.T) {
	t.Parallel()
	none := stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer}
	deleted := stub.Behaviour{Status: 204}
	for name, unknown := range unknownVersion {
		for _, tt := range []struct {
			ack    string
			says   [3]stub.Behaviour
			status int
		}{
			{AckFirst, [3]stub.Behaviour{unknown, deleted, unknown}, 204},
			{AckQuorum, [3]stub.Behaviour{unknown, deleted, unknown}, 204},
			{AckQuorum, [3]stub.Behaviour{unknown, deleted, none}, 204},
			{AckQuorum, [3]stub.Behaviour{none, deleted, none}, 503},
			{AckQuorum, [3]stub.Behaviour{unknown, unknown, unknown}, unknown.Status},
			{AckAll, [3]stub.Behaviour{unknown, deleted, unknown}, 204},
			{AckAll, [3]stub.Behaviour{deleted, unknown, deleted}, 204},
			{AckAll, [3]stub.Behaviour{unknown, deleted, none}, 503},
			{AckAll, [3]stub.Behaviour{unknown, deleted, stub.Fails(503)}, 503},
			{AckAll, [3]stub.Behaviour{unknown, unknown, unknown}, unknown.Status},
		} {
			t.Run(fmt.Sprint(name, tt.ack, tt.status), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 3, decidedBy, func(o *Options, _ *limiter.Options) { o.WriteAck = tt.ack })
				for i, s := range r.stores {
					s.Behave(tt.says[i])
				}
				wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/k?versionId=x")), tt.status)
				r.settled()
				if e := r.journal.newest("b", "k"); e.Seq != 0 && e.Unacknowledged != (tt.status != 204) {
					t.Errorf("in the journal: %+v", e)
				}
			})
		}
	}
}

// Of a list with versions the client is told what the one says that knows them.
func TestR24R28ListOfVersions(t *testing.T) {
	t.Parallel()
	const worm = " InvalidRequest Object is WORM protected"
	for name, tt := range map[string]struct {
		given []int // backends that gave v0, v1, …
		named []string
		says  [2]stub.Behaviour
		first int // who answers first
		want  int // whose answer it is
		acked bool
	}{
		"locked, and not known to the first":    {nil, []string{"x"}, [2]stub.Behaviour{listAnswer(), listAnswer("x" + worm)}, 0, 1, false},
		"locked, and not known to the other":    {nil, []string{"x"}, [2]stub.Behaviour{listAnswer(), listAnswer("x" + worm)}, 1, 1, false},
		"denied by the one":                     {nil, []string{"x"}, [2]stub.Behaviour{listAnswer("x AccessDenied Access Denied"), listAnswer()}, 1, 0, false},
		"one locked, one not":                   {nil, []string{"x", "y"}, [2]stub.Behaviour{listAnswer(), listAnswer("y" + worm)}, 0, 1, false},
		"the first takes no such ids":           {nil, []string{"x", "y"}, [2]stub.Behaviour{listAnswer("x InvalidArgument -", "y NoSuchVersion -"), listAnswer()}, 0, 1, true},
		"who gave it has deleted it":            {[]int{1}, []string{"v1"}, [2]stub.Behaviour{listAnswer("v1 AccessDenied -"), listAnswer()}, 0, 1, true},
		"who gave it keeps it":                  {[]int{1}, []string{"v1"}, [2]stub.Behaviour{listAnswer(), listAnswer("v1 InternalError -")}, 0, 1, false},
		"a list without versions: the first is": {nil, []string{""}, [2]stub.Behaviour{listAnswer(), listAnswer(" AccessDenied -")}, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, patient)
			for _, b := range tt.given {
				r.e.versions.Put(fmt.Sprint("b/v", b), b)
			}
			gate := make(chan struct{})
			for i, s := range r.stores {
				b := tt.says[i]
				b.Headers = stub.H("X-Store", fmt.Sprint(i))
				if i != tt.first && tt.named[0] != "" {
					b.Gate = gate
				}
				s.Behave(b)
			}
			var list strings.Builder
			for _, id := range tt.named {
				list.WriteString("<Object><Key>k</Key>")
				if id != "" {
					list.WriteString("<VersionId>" + id + "</VersionId>")
				}
				list.WriteString("</Object>")
			}
			answers := make(chan *stub.Answer, 1)
			go func() { answers <- r.dial().Do(postDelete("<Delete>" + list.String() + "</Delete>")) }()
			r.legsEnded(OutcomePositive, 1)
			close(gate)
			a := testkit.Receive(t, "an answer", answers)
			wantStatus(t, a, 200)
			if got := a.Headers.Get("X-Store"); got != fmt.Sprint(tt.want) && tt.named[0] != "" {
				t.Errorf("answered as by %s, want %d: %s", got, tt.want, a.Body)
			}
			r.settled()
			e := r.journal.newest("b", "k")
			if acked := e.Seq != 0 && !e.Unacknowledged; acked != tt.acked && tt.named[0] != "" {
				t.Errorf("acknowledged %t: %+v", acked, e)
			}
		})
	}
}
