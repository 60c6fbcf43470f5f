package engine

import (
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

// R25: a write that S3 answers without a body is not done where a body says that it is not, however it is framed.
func TestR25ErrorInAnAnswerWithoutABody(t *testing.T) {
	t.Parallel()
	const doc = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<Error><Code>InternalError</Code><Message>a &amp; b</Message></Error>`
	framed := map[string]stub.Behaviour{
		"chunked":        stub.ErrorIn200("InternalError"),
		"with a length":  {Status: 200, Store: stub.StoreNever, Body: []byte(doc)},
		"no declaration": {Status: 200, Store: stub.StoreNever, Body: []byte("<Error><Code>InternalError</Code></Error>")},
		"in two writes":  {Raw: []byte("HTTP/1.1 200 OK\r\nContent-Length: " + "41\r\n\r\n" + "<Error><Code>InternalError</Code></Error>")},
	}
	formType, form := formOf("f", "content", "key", "k")
	requests := map[string]string{
		"PUT":         putRequest("/b/k", "content"),
		"DELETE":      requestFor("DELETE", "/b/k"),
		"of a bucket": putRequest("/b", ""),
		"of tags":     putRequest("/b/k?tagging", "<Tagging/>"),
		"by form":     formRequest("/b", formType, form),
	}
	for framing, behaviour := range framed {
		for kind, request := range requests {
			t.Run(framing+", "+kind, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2)
				r.stores[0].Behave(behaviour)
				wantStatus(t, r.dial().Do(request), map[bool]int{true: 204, false: 200}[kind == "DELETE"])
				list := r.settled()
				if len(list) != 1 || list[0].FailedHost != r.host(0) || list[0].SuccessHost != r.host(1) || list[0].Status != 200 ||
					list[0].Error != "error in a 200 answer: InternalError" {
					t.Fatalf("records: %+v", list)
				}
				if owing := r.settledOwing(); len(owing) != 1 {
					t.Fatalf("owed: %+v", owing)
				}
			})
		}
	}
}

// R25: where no backend has done it the client is told so by a status, for it does not look for an error elsewhere.
func TestR25HiddenErrorHasAStatus(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{"InternalError": 500, "AccessDenied": 500, "SlowDown": 503} {
		for name, request := range map[string]string{
			"short": putRequest("/b/k", "content"),
			"large": putRequest("/b/k", strings.Repeat("x", 1<<20)),
			"last":  "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
		} {
			t.Run(code+", "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2)
				for _, s := range r.stores {
					s.Behave(stub.ErrorIn200(code))
				}
				a := r.dial().Do(request)
				wantStatus(t, a, status)
				if !strings.Contains(string(a.Body), "<Code>"+code+"</Code>") {
					t.Errorf("body %q", a.Body)
				}
				r.wantNoRecords()
				if owing := r.settledOwing(); len(owing) != 0 {
					t.Errorf("owed: %+v", owing)
				}
			})
		}
	}
}

// A body that says nothing of the kind is passed on, and one that does not come to its end is no answer.
func TestR5BodyOfAnAnswerThatS3GivesNone(t *testing.T) {
	t.Parallel()
	for name, behaviour := range map[string]stub.Behaviour{
		"with a length": {Body: []byte("<Result/>")},
		"chunked":       {Body: []byte("<Result/>"), Chunked: true},
		"until close":   {Body: []byte("<Result/>"), NoLength: true},
		"long":          {Body: []byte(strings.Repeat("x", 2*maxKeptAnswer))},
		"not XML":       {Body: []byte("<Errors>")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.stores[0].Behave(behaviour)
			a := r.dial().Do(putRequest("/b/k", "content"))
			wantStatus(t, a, 200)
			if string(a.Body) != string(behaviour.Body) {
				t.Errorf("body %.100q", a.Body)
			}
			r.wantNoRecords()
		})
	}
}
